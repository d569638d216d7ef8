import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { defineConfig } from 'vitest/config';

/** The tests against a real kernel: `scripts/lab -- vitest run --config vitest.kernel.config.ts [FILE]`. */
export default defineConfig({
  // The checkout is read by a machine that must not write to it.
  cacheDir: join(tmpdir(), 'svcplane-vite'),
  test: {
    include: ['test/kernel/**/*.kernel.test.ts'],
    // One after the other, for the kernel's tables are shared; in one process, for starting Node takes seconds
    // where the processor is emulated, and so does Vite's own loading of modules.
    fileParallelism: false,
    isolate: false,
    experimental: { viteModuleRunner: false, nodeLoader: false },
    // The tracer takes five minutes for the whole traffic matrix where the processor is emulated.
    testTimeout: process.env.SVCPLANE_TRAFFIC === 'all' ? 900_000 : 120_000,
    hookTimeout: 120_000,
  },
});
