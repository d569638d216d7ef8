import { readdirSync, readFileSync } from 'node:fs';
import { type ByteView, byteViewOf } from '../../src/netlink/bytes.ts';

/** What one ipvsadm command sent and got. Written by scripts/capture-netlink. */
export interface Capture {
  readonly kernel: string;
  readonly command: string;
  readonly exit: number;
  readonly datagrams: readonly {
    readonly direction: 'request' | 'reply';
    readonly hex: string;
  }[];
}

interface GoldenFile {
  readonly kernel: string;
  readonly captures: readonly Omit<Capture, 'kernel'>[];
}

const folder = new URL('../golden/netlink/', import.meta.url);

/** The captures of every kernel. */
export const captures: readonly Capture[] = readdirSync(folder)
  .filter((name) => name.endsWith('.json'))
  .flatMap((name) => {
    const file: GoldenFile = JSON.parse(readFileSync(new URL(name, folder), 'utf8'));
    return file.captures.map((capture) => ({ ...capture, kernel: file.kernel }));
  });

/** The bytes of a capture's datagrams of one direction. */
export function datagramsOf(capture: Capture, direction: 'request' | 'reply'): ByteView[] {
  return capture.datagrams
    .filter((datagram) => datagram.direction === direction)
    .map((datagram) => byteViewOf(new Uint8Array(Buffer.from(datagram.hex, 'hex'))));
}

/** The capture of a command, on every kernel that has it. */
export function capturesOf(command: string): Capture[] {
  return captures.filter((capture) => capture.command === command);
}
