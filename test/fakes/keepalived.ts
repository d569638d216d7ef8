import type { Keepalived } from '../../src/dataplane/vrrp/kernel.ts';

/** A keepalived in memory that reads all of its configuration when it is loaded. */
export class FakeKeepalived implements Keepalived {
  readonly present = new Map<string, string>();
  /** What it does; undefined while it does not run. */
  loaded: ReadonlyMap<string, string> | undefined;
  /** What it finds wrong with any configuration. */
  objection: string | undefined;
  loads = 0;

  async files(): Promise<ReadonlyMap<string, string>> {
    return new Map(this.present);
  }

  async write(file: string, text: string): Promise<void> {
    this.present.set(file, text);
  }

  async remove(file: string): Promise<void> {
    this.present.delete(file);
  }

  async isRunning(): Promise<boolean> {
    return this.loaded !== undefined;
  }

  async complaint(): Promise<string | undefined> {
    return this.objection;
  }

  async load(): Promise<void> {
    this.loads += 1;
    this.loaded = new Map([...this.present].filter(([file]) => file.endsWith('.conf')));
  }

  states() {
    return new Map();
  }

  async stop(): Promise<void> {
    this.loaded = undefined;
  }
}
