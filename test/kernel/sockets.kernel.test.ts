import { readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { acceptedBy, RawSocket } from '../native-bindings/raw-sockets.ts';
import { service, slice } from '../objects.ts';
import { holds } from './assertions.ts';
import { atCgroupRoot } from './cgroup-root.ts';
import { type Daemon, startDaemon, until } from './daemon.ts';
import { createHost, type Host, UNHURRIED } from './host.ts';
import {
  connect,
  createNamespace,
  describeWithIpvs,
  isEmulated,
  type NetworkNamespace,
  run,
} from './probe.ts';
import { within } from './traffic/raw-socket.ts';

const VIP = '10.96.0.50';
const WIDE_VIP = '10.96.0.60';
const PODS = ['10.244.1.20', '10.244.1.21'] as const;
/** Of clients that come from elsewhere: their own rules lead it to the frontend, which no program of sockets sees. */
const ELSEWHERE = '192.0.2.1';
const CONFIG = 'audit: { intervalSeconds: 0 }\nsocketLoadBalancer: { mode: "on" }\n';
/** More than 57,344 endpoints of frontends: some ports are left over. */
const WIDE = { ports: 96, endpoints: 600 };
const UNLESS_EMULATED = isEmulated
  ? { skip: true, meta: { skipReason: 'the processor is emulated: 57,600 endpoints take many minutes' } }
  : {};
/** A second's worth, in questions: a busy machine may take longer for them. */
const [ATTEMPTS, PATIENCE_MS] = [5, 200];

/** A file in place of another at once. @param wide whether there is a Service that the maps have no room for */
function putManifests(host: Host, pods: readonly string[], wide = false): string {
  const ports = [
    { name: 'http', port: 80, targetPort: 8080, protocol: 'TCP' },
    { name: 'dns', port: 53, targetPort: 5353, protocol: 'UDP' },
  ];
  const slicePorts = ports.map(({ name, targetPort, protocol }) => ({ name, port: targetPort, protocol }));
  const endpoints = pods.map((address) => ({ address }));
  const items = [
    service({ spec: { ports } }),
    slice({ ports: slicePorts, endpoints }),
    ...(wide ? wideObjects() : []),
  ];
  const written = host.file('.new', JSON.stringify({ kind: 'List', apiVersion: 'v1', items }));
  const path = join(host.directory, 'all.json');
  renameSync(written, path);
  return path;
}

function wideObjects() {
  const ports = Array.from({ length: WIDE.ports }, (_, i) => ({
    name: `p${i}`,
    port: 1000 + i,
    protocol: 'TCP',
  }));
  // The first is the one that is asked.
  const addresses = Array.from({ length: WIDE.endpoints - 1 }, (_, i) => `10.245.${i >> 8}.${i & 255}`);
  const endpoints = [PODS[0], ...addresses].map((address) => ({ address }));
  return [
    service({ name: 'wide', spec: { clusterIP: WIDE_VIP, ports } }),
    slice({
      name: 'wide-1',
      service: 'wide',
      ports: ports.map((port) => ({ ...port, port: 8080 })),
      endpoints,
    }),
  ];
}

describeWithIpvs('svcplane run with sockets at the root of all cgroups', () => {
  describe('and IPVS behind', { ...UNHURRIED, ...atCgroupRoot() }, () => {
    let host: Host;
    let away: NetworkNamespace;
    let daemon: Daemon;
    const stack = new DisposableStack();

    beforeAll(async () => {
      host = stack.use(createHost('sockets', 'nsenter'));
      away = stack.use(createNamespace('away'));
      for (const pod of PODS) host.run(['ip', 'address', 'add', `${pod}/32`, 'dev', 'lo']);
      connect(
        { namespace: host.namespace, interface: 'eth0', addresses: ['172.30.0.1/24'] },
        { namespace: away, interface: 'eth0', addresses: ['172.30.0.2/24'] },
      );
      away.run(['ip', 'route', 'add', 'default', 'via', '172.30.0.1']);
      const rule = `ip daddr ${ELSEWHERE} dnat to ${VIP}`;
      away.run(
        ['nft', '-f', '-'],
        `table ip t { chain output { type nat hook output priority -100; ${rule}; }; }\n`,
      );
      daemon = await startDaemon(host, putManifests(host, PODS), CONFIG);
    }, UNHURRIED.timeout);

    afterAll(async () => {
      await daemon?.stop();
      await host?.svcplane(['cleanup', '--config', join(host.directory, 'run.yaml')]);
      stack.dispose();
    }, UNHURRIED.timeout);

    const socket = (protocol: 'TCP' | 'UDP', at = host.namespace) =>
      within(at.name, () => new RawSocket(protocol));
    const server = (protocol: 'TCP' | 'UDP', pod: string) =>
      socket(protocol).bind(`${pod}:${protocol === 'TCP' ? 8080 : 5353}`, protocol === 'TCP');
    const metric = (name: string) => {
      const metrics = run([
        'nsenter',
        `--net=/run/netns/${host.namespace.name}`,
        'curl',
        '-s',
        '127.0.0.1:10249/metrics',
      ]);
      return Number(
        metrics
          .split('\n')
          .find((line) => line.startsWith(`${name} `))
          ?.split(' ')[1],
      );
    };
    /** Connections to a frontend that IPVS knows; its statistics are two seconds late. */
    const tracked = (frontend: string) =>
      host
        .run(['ipvsadm', '-Lnc'])
        .split('\n')
        .filter((line) => line.includes(` ${frontend} `)).length;

    /** Puts other files, and waits until they have led to a sync; none where nothing has changed. */
    const follow = async (put: () => string) => {
      const path = join(host.directory, 'all.json');
      const [syncs, before] = [changesFollowed(), readFileSync(path, 'utf8')];
      put();
      if (readFileSync(path, 'utf8') !== before) await until(() => changesFollowed() > syncs);
    };
    const changesFollowed = () => daemon.said().split('(files changed)\n').length;

    it('connects sockets past IPVS, which serves what has none here', () => {
      using one = server('TCP', PODS[0]);
      using two = server('TCP', PODS[1]);
      const accepted = () => acceptedBy(one, two).filter(Boolean).length;
      const before = metric('svcplane_socket_events_total{event="hit"}');
      for (let i = 0; i < 10; i++) {
        using client = socket('TCP');
        expect([client.connect(`${VIP}:80`), client.peer(), accepted()]).toEqual(['', `${VIP}:80`, 1]);
      }
      expect(metric('svcplane_socket_events_total{event="hit"}')).toBe(before + 10);
      expect(tracked(`${VIP}:80`)).toBe(0);
      using client = socket('TCP', away);
      expect([client.connect(`${ELSEWHERE}:80`), accepted()]).toEqual(['', 1]);
      expect(metric('svcplane_socket_events_total{event="hit"}')).toBe(before + 10);
      expect(tracked(`${VIP}:80`)).toBe(1);
    });

    it('are balanced as svcplane says, which an assertion of scripts/test-kind finds out', () => {
      using _one = server('TCP', PODS[0]);
      using _two = server('TCP', PODS[1]);
      const balanced = (functions?: string) => holds(host, `balanced_as_said "$1" ${VIP}:80`, functions);
      const says = (words: string) => `svcplane_on() { echo 'sockets  ${words}'; }`;
      // A client from elsewhere comes by IPVS.
      const asks = `ask_from() { nsenter --net=/run/netns/${away.name} bash -c ': <>/dev/tcp/${ELSEWHERE}/80'; }`;
      expect(balanced()).toBe(true);
      expect(balanced(says('off, left to IPVS: off'))).toBe(false);
      expect(balanced(asks)).toBe(false);
      expect(balanced(`${asks}\n${says('off, left to IPVS: off')}`)).toBe(true);
    });

    it('mounts the bpffs that is missing, where it is to change something', () => {
      // Elsewhere, for here the daemon has the lock. What is pinned goes with the mount.
      const hidden = (verb: string) =>
        run([
          'nsenter',
          `--net=/run/netns/${away.name}`,
          'unshare',
          '--mount',
          'sh',
          '-c',
          'umount /sys/fs/bpf && { "$@" 2>&1 || true; } && stat -f -c %T /sys/fs/bpf',
          'sh',
          'scripts/svcplane',
          verb,
          ...['--config', join(host.directory, 'run.yaml'), '-f', join(host.directory, 'all.json')],
          ...['--state-directory', join(host.directory, 'elsewhere')],
        ]);
      expect(hidden('plan')).toMatch(/all sockets are left to IPVS: .*bpffs.*\nsysfs\n$/s);
      expect(hidden('apply')).toMatch(/bpf_fs\n$/);
    });

    it.each([
      { of: 'the node', at: () => host.namespace },
      { of: 'another network namespace, as a pod has it', at: () => away },
    ])('lets a resolver of $of with one connected socket go on when its endpoint dies', async ({ at }) => {
      await follow(() => putManifests(host, PODS));
      const servers = new Map(PODS.map((pod) => [pod, server('UDP', pod)]));
      const connected = () => {
        const client = socket('UDP', at());
        expect(client.connect(`${VIP}:53`)).toBe('');
        return client;
      };
      let resolver = connected();
      const answered = () => PODS.find((pod) => servers.get(pod)?.receive());
      expect(resolver.send('query')).toBe('');
      const dead = answered();
      if (dead === undefined) throw new Error('nobody was asked');
      servers.get(dead)?.[Symbol.dispose]();
      servers.delete(dead);
      const living = PODS.filter((pod) => pod !== dead);
      await follow(() => putManifests(host, living));
      let [attempts, failures] = [0, 0];
      let by: string | undefined;
      for (; attempts < ATTEMPTS && by === undefined; attempts++) {
        if (attempts > 0) await setTimeout(PATIENCE_MS);
        if (resolver.send('query') === '') by = answered();
        else {
          // Whatever it hears, it takes another socket for the next query, as resolvers do.
          failures += 1;
          resolver[Symbol.dispose]();
          resolver = connected();
        }
      }
      console.log(`resolver: ${attempts} queries, ${failures} of them failed`);
      for (const each of [resolver, ...servers.values()]) each[Symbol.dispose]();
      expect([by, failures <= 1]).toEqual([...living, true]);
    });

    it(
      'refuses what the maps have no room for, in words and as a metric, and IPVS serves it',
      UNLESS_EMULATED,
      async () => {
        putManifests(host, PODS, true);
        const left = () => metric('svcplane_socket_frontends{by="ipvs"}');
        await until(() => left() > 0);
        const full =
          /TCP 10\.96\.0\.60:(\d+) of web\/wide: left to IPVS, .* one too many for the 57344 backends/;
        await until(() => full.test(daemon.said()));
        const [, port] = full.exec(daemon.said()) ?? [];
        expect(left()).toBe(1);
        expect(metric('svcplane_rejected_objects')).toBeGreaterThanOrEqual(1);
        using one = server('TCP', PODS[0]);
        const before = metric('svcplane_socket_events_total{event="hit"}');
        using client = socket('TCP');
        expect(client.connect(`${WIDE_VIP}:${port}`)).toBe('');
        expect(metric('svcplane_socket_events_total{event="hit"}')).toBe(before);
        expect(tracked(`${WIDE_VIP}:${port}`)).toBe(1);
        one.accept();
      },
    );
  });
});
