import { expect, vi } from 'vitest';
import { service, slice } from '../objects.ts';
import { CliHarness, type Output } from './harness.ts';

export const A = { address: '10.244.1.20', node: 'n0' };
export const B = { address: '10.244.2.30', node: 'n1' };
export const SERVICE = service({ spec: { ports: [{ name: 'http', port: 80, nodePort: 30080 }] } });

/** Answers nowhere. */
export const QUIET = 'healthzBindAddress: ""\nmetricsBindAddress: ""\nsocket: ""\n';

/** `svcplane run` with one Service of two endpoints, in a file that may change. Disposing of it ends the run. */
export class RunSetup implements AsyncDisposable {
  readonly cli = new CliHarness();
  readonly stop = new AbortController();
  readonly manifests: string;
  /** Of the run that was started last. */
  ended: Promise<Output> | undefined;

  constructor() {
    this.cli.signal = this.stop.signal;
    this.manifests = this.cli.file('all.json', [SERVICE, slice({ endpoints: [A, B] })]);
  }

  /** Starts it; audits and polls are hours away. */
  run(...flags: readonly string[]): Promise<Output> {
    const config = this.cli.file('config.yaml', `${QUIET}audit: { intervalSeconds: 36000 }`);
    return this.runWith('--config', config, ...flags);
  }

  /** Starts it with these flags, and the files, alone. */
  runWith(...flags: readonly string[]): Promise<Output> {
    this.ended = this.cli.run('run', '-f', this.manifests, ...flags);
    return this.ended;
  }

  /** Waits until it has said this. */
  said(text: string): Promise<void> {
    return vi.waitFor(() => expect(this.cli.err).toContain(text), 10_000);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stop.abort();
    await this.ended;
    this.cli[Symbol.dispose]();
  }
}
