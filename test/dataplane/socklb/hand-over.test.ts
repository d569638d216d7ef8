import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createSocklbDataplane } from '../../../src/dataplane/socklb/index.ts';
import { socketEvents } from '../../../src/dataplane/socklb/statistics.ts';
import { createNamespace, type NetworkNamespace, run } from '../../kernel/probe.ts';
import { needsBpf } from '../../native-bindings/bpf-environment.ts';
import { OPTIONS, wantedOf } from './build.ts';
import { openKernel, SocketGround, syncOnce } from './ground.ts';
import type { HandOverReport } from './hand-over-process.ts';

const VIP = '10.96.0.50';
const ENDPOINT = '127.0.0.1';
const ON = wantedOf([`TCP ${VIP}:80 random ${ENDPOINT}:8080`, `UDP ${VIP}:53 random ${ENDPOINT}:8053`]);
const OFF = wantedOf([], 'off');

/** IPVS is not needed to see who serves: a server at the address of the frontend stands in its place. */
describe('the hand-over between sockets and what is behind the address', needsBpf(), () => {
  let ground: SocketGround;
  let namespace: NetworkNamespace;
  const children: ChildProcess[] = [];

  beforeAll(() => {
    ground = SocketGround.join();
    namespace = createNamespace('hand-over');
    run(['ip', '-n', namespace.name, 'address', 'add', `${VIP}/32`, 'dev', 'lo']);
  });

  afterAll(async () => {
    for (const child of children.filter(({ exitCode, signalCode }) => exitCode === null && !signalCode)) {
      child.kill();
      await once(child, 'exit');
    }
    namespace?.[Symbol.dispose]();
    ground?.[Symbol.dispose]();
  });

  /** In the namespace, and by its parent in the cgroup. */
  async function start(...args: readonly string[]): Promise<ChildProcess> {
    const script = join(import.meta.dirname, 'hand-over-process.ts');
    const child = spawn(
      'nsenter',
      [`--net=/run/netns/${namespace.name}`, process.execPath, script, ...args],
      {
        stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      },
    );
    children.push(child);
    await once(child, 'message');
    return child;
  }

  async function ask(child: ChildProcess, message: 'hold' | 'end'): Promise<HandOverReport> {
    const answer = once(child, 'message');
    child.send(message);
    const [report] = await answer;
    return report;
  }

  it('breaks no open connection and fails no new one, in both directions, time and again', async () => {
    using kernel = openKernel(ground.place('hand-over'));
    const dataplane = createSocklbDataplane({ kernel, nowMs: Date.now }, OPTIONS);
    await Promise.all([
      start('server', 'behind', VIP, '80', '53'),
      start('server', 'endpoint', ENDPOINT, '8080', '8053'),
    ]);
    const client = await start('client', VIP, '80', '53');
    for (const wanted of [ON, OFF, ON]) {
      await syncOnce(dataplane, wanted);
      await ask(client, 'hold');
    }
    // Faster than anybody would switch.
    for (const wanted of [OFF, ON, OFF, ON, OFF]) await syncOnce(dataplane, wanted);
    const { connected, held, asked, failed } = await ask(client, 'end');
    expect(failed).toEqual([]);
    const [tcp, connectedUdp, udp] = [0, 1, 2].map((kind) => held.filter((_, i) => i % 3 === kind));
    // What is connected stays where it is, whoever would serve it now.
    expect(tcp).toEqual([['behind'], ['endpoint'], ['behind'], ['endpoint']]);
    expect(connectedUdp).toEqual(tcp);
    // One that is not connected goes where its next datagram goes; the last may be asked once only.
    for (const answers of udp?.slice(0, -1) ?? []) expect(answers).toEqual(['behind', 'endpoint']);
    expect(Object.keys(connected).sort()).toEqual(['behind', 'endpoint']);
    expect(asked).toBeGreaterThan(held.length);
    expect(socketEvents(kernel.counters()).hit).toBeGreaterThanOrEqual(connected.endpoint ?? 0);
  });
});
