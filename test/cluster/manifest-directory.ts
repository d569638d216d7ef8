import { mkdtempSync, rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { ManifestError } from '../../src/cluster/manifest-error.ts';
import { readManifests } from '../../src/cluster/manifests.ts';

/** A directory of manifests that a test writes and reads; sources and messages are without its path. */
export class ManifestDirectory implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'svcplane-manifests-'));
  readonly signal = new AbortController().signal;

  /** Writes a file and reads it as `-f FILE`. */
  async read(name: string, content: string | Buffer) {
    await writeFile(join(this.path, name), content);
    return this.readAll(name);
  }

  async readAll(...names: readonly string[]) {
    const paths = names.map((name) => join(this.path, name));
    const { objects, skipped, rejected } = await readManifests(paths, this.signal);
    const short = (source: string) => source.replace(`${this.path}/`, '');
    return {
      objects: objects.map(({ object }) => object),
      sources: objects.map(({ kind, source }) => `${kind} ${short(source)}`),
      skipped: Object.fromEntries(skipped),
      rejected: rejected.map(({ subject, reason }) => `${short(subject)}: ${reason}`),
    };
  }

  /** The one line that a reading fails with. */
  async failure(promise: Promise<unknown>): Promise<string> {
    const error = await promise.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(ManifestError);
    const message = error instanceof Error ? error.message.replaceAll(`${this.path}/`, '') : '';
    expect(message).not.toContain('\n');
    return message;
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true });
  }
}
