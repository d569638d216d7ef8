import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Kernel tests need a kernel with IPVS and are run by scripts/lab with their own configuration.
    exclude: ['test/kernel/**', 'node_modules/**'],
    testTimeout: 60_000,
  },
});
