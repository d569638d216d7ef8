import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, rmdirSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BpfLink } from '../../native-bindings/bpf-links.ts';
import { BpfMap } from '../../native-bindings/bpf-maps.ts';
import { loadProgram, shapeOf } from '../../native-bindings/bpf-object.ts';
import { mountFileSystem, unmountFileSystem } from '../../native-bindings/mounts.ts';
import { needsBpf } from './bpf-environment.ts';
import { acceptedBy } from './raw-sockets.ts';
import { type JoinedCgroup, joinNewCgroup, SocklbLab, temporaryDirectory } from './socklb-lab.ts';

const VIP = '10.96.0.10:80';
const BACKENDS = ['127.0.0.1:18081', '127.0.0.1:18082'];

describe('balanced sockets, while the daemon does something else', needsBpf(), () => {
  const bpffs = temporaryDirectory();
  let cgroup: JoinedCgroup | undefined;

  beforeAll(() => {
    mountFileSystem('bpf', bpffs);
    cgroup = joinNewCgroup();
  });

  afterAll(() => {
    cgroup?.[Symbol.dispose]();
    unmountFileSystem(bpffs);
    rmdirSync(bpffs);
  });

  function openLab(): SocklbLab {
    const lab = SocklbLab.open(cgroup?.path ?? '');
    lab.configure({});
    for (const [i, address] of BACKENDS.entries()) lab.putBackend({ id: 10 + i, service: 1, address });
    lab.putService({ frontend: VIP, id: 1, slots: [10, 11] });
    return lab;
  }

  test('pins carry maps and links over a restart, and new programs take over', () => {
    using lab = openLab();
    using server = lab.server('TCP', '127.0.0.1:18081');
    using other = lab.server('TCP', '127.0.0.1:18082');
    const connects = () => {
      using client = lab.socket('TCP');
      return client.connect(VIP) === '' && acceptedBy(server, other).includes(true) && client.peer();
    };
    for (const [name, map] of lab.maps) map.pin(join(bpffs, name));
    for (const [i, { name }] of lab.object.programs.entries()) lab.links[i]?.pin(join(bpffs, name));
    for (const handle of [...lab.links, ...lab.maps.values()]) handle[Symbol.dispose]();
    expect(connects()).toBe(VIP);

    using stack = new DisposableStack();
    const opened = new Map(
      lab.object.maps.map((definition) => {
        const map = BpfMap.openPinned(join(bpffs, definition.name));
        if (map === undefined) throw new Error(`${definition.name} is not pinned`);
        // The lab makes its maps smaller.
        expect(map.shape).toEqual({ ...shapeOf(definition), maxEntries: map.shape.maxEntries });
        return [definition.name, stack.use(map)];
      }),
    );
    expect(opened.get('lb_backend')?.entries().count).toBe(2);
    for (const program of lab.object.programs) {
      using link = BpfLink.openPinned(join(bpffs, program.name));
      using loaded = loadProgram(lab.object, program, (name) => opened.get(name)?.fd ?? -1);
      link?.update(loaded);
      expect(link?.info().programId).toBe(loaded.info().id);
      expect(connects()).toBe(VIP);
    }

    for (const name of readdirSync(bpffs).filter((file) => file.startsWith('lb_'))) {
      unlinkSync(join(bpffs, name));
    }
    expect(connects()).toBe(false);
  });

  test('no connection fails while rows, slots and programs are replaced', async () => {
    using lab = openLab();
    using _one = lab.server('TCP', '127.0.0.1:18081');
    using _two = lab.server('TCP', '127.0.0.1:18082');
    const client = startClient(lab, cgroup?.path ?? '');
    const output: Buffer[] = [];
    client.stdout?.on('data', (data: Buffer) => output.push(data));
    client.stderr?.pipe(process.stderr);
    const ended = once(client, 'exit');
    let generation = 1;
    while (client.exitCode === null) {
      generation++;
      lab.putService({ frontend: VIP, id: 1, generation, slots: [10, 11] });
      // At once, where the daemon waits: whoever has read the old row needs the second look.
      lab
        .map('lb_slot')
        .deleteAll(
          Buffer.concat(
            [0, 1].map((slot) => lab.encode('slot_key', { svc_id: 1, gen: generation - 1, slot })),
          ),
        );
      if (generation % 25 === 0) replacePrograms(lab);
      await setImmediate();
    }
    await ended;
    const { connected, failed } = JSON.parse(Buffer.concat(output).toString());
    expect(failed).toEqual({});
    expect(connected).toBe(CONNECTIONS);
    expect(generation).toBeGreaterThan(50);
  });
});

const CONNECTIONS = 5000;

function replacePrograms(lab: SocklbLab): void {
  for (const [i, program] of lab.object.programs.entries()) {
    using loaded = loadProgram(lab.object, program, (name) => lab.map(name).fd);
    lab.links[i]?.update(loaded);
  }
}

/** Another process of the lab's cgroup and namespace that connects, and says how it went. */
function startClient(lab: SocklbLab, cgroup: string): ChildProcess {
  const module = join(import.meta.dirname, 'raw-sockets.ts');
  const script =
    `import { RawSocket } from '${module}'; const failed = {}; let connected = 0;` +
    `for (let i = 0; i < ${CONNECTIONS}; i++) { using socket = new RawSocket('TCP');` +
    ` const error = socket.connect('${VIP}'); if (error === '') connected++;` +
    ' else failed[error] = (failed[error] ?? 0) + 1; }' +
    ' console.log(JSON.stringify({ connected, failed }));';
  const enter = `echo $$ >'${join(cgroup, 'cgroup.procs')}' && exec nsenter --net=/run/netns/"$0" "$@"`;
  return spawn(
    'sh',
    ['-c', enter, lab.namespace.name, process.execPath, '--input-type=module', '-e', script],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
}
