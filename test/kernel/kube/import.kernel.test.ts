import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  addIptablesRules,
  FOREIGN,
  FOREIGN_PORT,
  FOREIGN_ROUTES,
  foreignState,
  HOST_PORT,
  makeForeign,
} from '../foreign-setup.ts';
import { HeldConnections } from '../held-connections.ts';
import {
  clusterIPs,
  externalIPs,
  nodeObjectOf,
  objectsOf,
  POD_CIDRS,
  SERVICE_ROUTES,
  TARGET_PORT,
  type TestService,
  vips,
} from '../test-services.ts';
import { FAMILIES } from '../traffic/dual-stack.ts';
import type { Attached, Pod } from '../traffic/lab-plan.ts';
import { type Outcome, type Request, Sockets } from '../traffic/sockets.ts';
import { createLab, type Lab, type LabNode } from '../traffic/topology.ts';
import { type ApiServer, kubeconfigOf, startApiServer } from './api-server.ts';
import { describeWithKube } from './binaries.ts';
import { namespaceOf, wireNodeToApi } from './compare-objects.ts';
import {
  type KubeProxy,
  type KubeProxyOptions,
  kubeProxyConfiguration,
  startKubeProxy,
} from './kube-proxy.ts';

const SVCPLANE = join(import.meta.dirname, '../../../scripts/svcplane');
const SLOW = { timeout: 900_000 } as const;
const TIMEOUT_MS = 10_000;
const PORT = 80;
const SYNC_PERIOD_MS = 5000;
/** The one that kube-proxy itself has. */
const CONFIG = 'kube-proxy.json';

interface Question {
  readonly name: string;
  readonly request: Request & { readonly protocol: 'TCP' };
}

/** What others have on the node. */
interface Others {
  readonly tables: readonly string[];
  readonly rules: readonly string[];
  readonly rows: readonly string[];
}

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

describeWithKube('svcplane import and back', ['kube-apiserver', 'kube-proxy'], () => {
  let parts: AsyncDisposableStack;
  let lab: Lab;
  let node: LabNode;
  let pods: readonly [Pod, Pod, Pod, Pod];
  let clients: readonly Attached[];
  let sockets: Sockets;
  let held: HeldConnections;
  let api: ApiServer;
  let proxy: KubeProxy;
  let options: KubeProxyOptions;
  /** The pod at the other end of each held connection. */
  const heldBy = new Map<string, string>();
  /** Connections that each object of kube-proxy had when it was last looked at. */
  const made = new Map<string, number>();
  /** kube-proxy's table, and those of others. */
  let theirs: readonly string[];
  let foreign: Others;

  beforeAll(async () => {
    parts = new AsyncDisposableStack();
    lab = parts.use(createLab({ nodes: 1, podsPerNode: 4, routes: [...SERVICE_ROUTES, ...FOREIGN_ROUTES] }));
    sockets = parts.use(new Sockets());
    held = parts.use(new HeldConnections());
    const [first] = lab.nodes;
    const [a, b, other, client] = first?.pods ?? [];
    if (!first || !a || !b || !other || !client) throw new RangeError('the lab has no node with four pods');
    node = first;
    pods = [a, b, other, client];
    clients = [lab.outside, node, client];
    for (const family of FAMILIES) {
      for (const pod of [a, b, other]) {
        sockets.serve({ ...pod, address: pod.addresses[family], port: TARGET_PORT, protocol: 'TCP' });
      }
    }
    makeForeign(node, other);
    addIptablesRules(node);
    api = parts.use(await startApiServer());
    wireNodeToApi(node);
    await api.apply([nodeObjectOf(node), ...services().flatMap(objectsOf)]);
    options = {
      namespace: namespaceOf(node),
      nodeName: node.name,
      apiServer: api,
      clusterCIDR: Object.values(POD_CIDRS).join(','),
      config: {
        nodePortAddresses: ['172.20.0.0/24', 'fd00:172:20::/64'],
        ipvs: { excludeCIDRs: ['192.0.2.0/24', '2001:db8:2::/64'], syncPeriod: `${SYNC_PERIOD_MS}ms` },
      },
    };
    proxy = parts.use(await startKubeProxy(options));
    const kubeconfig = join(lab.directory, 'kubeconfig');
    writeFileSync(kubeconfig, kubeconfigOf(api));
    writeFileSync(join(lab.directory, CONFIG), JSON.stringify(kubeProxyConfiguration(options, kubeconfig)));
  }, SLOW.timeout);

  afterAll(() => parts.disposeAsync());

  /** Of both policies: with one kube-proxy marks to masquerade, with the other we mark for clients inside. */
  const services = (): readonly TestService[] => {
    const [a, b] = pods;
    const common = { external: true, endpoints: [a, b] };
    const ports = (nodePort: number) => [{ protocol: 'TCP', port: PORT, nodePort } as const];
    return [
      { ...common, name: 'cluster', number: 11, vip: 11, ports: ports(30_011) },
      {
        ...common,
        name: 'local',
        number: 12,
        vip: 12,
        ports: ports(30_012),
        externalTrafficPolicy: 'Local',
      },
    ];
  };

  const svcplane = (...args: readonly string[]) => svcplaneUnder([], args);

  const svcplaneUnder = (under: readonly string[], args: readonly string[]): Promise<Ended> => {
    const own = ['--config', join(lab.directory, CONFIG), '--state-directory', join(lab.directory, 'state')];
    const command = ['netns', 'exec', node.namespace, ...under, SVCPLANE, ...args, ...own];
    return new Promise((resolve) => {
      execFile('ip', command, (error, stdout, stderr) => {
        resolve({ code: error ? Number(error.code) : 0, stdout, stderr });
      });
    });
  };

  /** Each of these clients to each destination, over both families. */
  const questions = (
    asking: readonly Attached[],
    destinations: readonly {
      readonly name: string;
      readonly at: Attached['addresses'];
      readonly port: number;
    }[],
  ): readonly Question[] =>
    asking.flatMap(({ name: client, namespace }) =>
      FAMILIES.flatMap((family) =>
        destinations.map(({ name, at, port }): Question => {
          const request = { namespace, destination: at[family], port, protocol: 'TCP' } as const;
          return { name: `${client} ${name} ${family}`, request };
        }),
      ),
    );

  const frontends = (name: string, number: number) => [
    { name: `${name} ClusterIP`, at: clusterIPs(number), port: PORT },
    { name: `${name} externalIP`, at: externalIPs(number), port: PORT },
    { name: `${name} VIP`, at: vips(number), port: PORT },
    { name: `${name} NodePort`, at: node.addresses, port: 30_000 + number },
  ];
  const ofCluster = () => questions(clients, frontends('cluster', 11));
  const ofLocal = (asking: readonly Attached[]) => questions(asking, frontends('local', 12));
  const ofForeign = () =>
    questions(clients, [
      { name: 'host port', at: node.addresses, port: HOST_PORT },
      { name: 'virtual server', at: FOREIGN.virtualServer, port: FOREIGN_PORT },
      { name: 'firewall mark', at: FOREIGN.marked, port: FOREIGN_PORT },
    ]);

  /** What ends otherwise than with an answer of a pod that serves there. */
  async function unanswered(asked: readonly Question[], serving: readonly Pod[]): Promise<readonly string[]> {
    const requests = asked.map(({ request }) => request);
    const outcomes = await sockets.exchange(requests, { timeoutMs: TIMEOUT_MS });
    return asked.flatMap(({ name }, i) => {
      const shown = shownOutcome(outcomes[i]);
      return serving.some((pod) => pod.name === shown) ? [] : [`${name}: ${shown}`];
    });
  }

  /** Over held connections: each is with the pod that it was with from the start. */
  async function expectHeld(connections: HeldConnections, owners: Map<string, string>): Promise<void> {
    const [a] = pods;
    const direct = questions([lab.outside], [{ name: 'pod', at: a.addresses, port: TARGET_PORT }]);
    const requests = direct.map(({ request }) => request);
    const serve = () => sockets.exchange(requests, { timeoutMs: TIMEOUT_MS });
    const answers = await connections.ask(TIMEOUT_MS, serve);
    for (const [name, owner] of Object.entries(answers)) {
      if (!owners.has(name) && pods.some((pod) => pod.name === owner)) owners.set(name, owner);
    }
    expect(answers).toEqual(Object.fromEntries(owners));
  }

  async function expectAllToWork(): Promise<void> {
    const [a, b, other] = pods;
    expect(await unanswered([...ofCluster(), ...ofLocal(clients)], [a, b])).toEqual([]);
    expect(await unanswered(ofForeign(), [other])).toEqual([]);
    await expectHeld(held, heldBy);
  }

  /** Asks over all held connections, and opens new ones, until `change` is over. */
  async function during<Result>(change: Promise<Result>): Promise<Result> {
    const state = { over: false };
    const ended = change.finally(() => {
      state.over = true;
    });
    do await expectAllToWork();
    while (!state.over);
    return await ended;
  }

  /** How many connections each virtual server and real server has ever had: one that is made anew begins at 0. */
  function connectionCounts(): ReadonlyMap<string, number> {
    const counts = new Map<string, number>();
    let server = '';
    for (const line of node.run(['ipvsadm', '-Ln', '--stats', '--exact']).split('\n')) {
      const [, kind = '', key = '', count = '0'] = /^ *(TCP|FWM|->) +(\S+(?: IPv6)?) +(\d+)/.exec(line) ?? [];
      if (kind === '' || key === 'RemoteAddress:Port') continue;
      if (kind !== '->') server = `${kind} ${key}`;
      counts.set(kind === '->' ? `${server} -> ${key}` : server, Number(count));
    }
    return counts;
  }

  /** That all that kube-proxy had made is still the same object. */
  function expectSameObjects(): void {
    const now = connectionCounts();
    const anew = [...made].filter(([key, count]) => (now.get(key) ?? -1) < count).map(([key]) => key);
    expect(anew).toEqual([]);
    for (const key of made.keys()) made.set(key, now.get(key) ?? 0);
  }

  const rows = () => node.run(['ipvsadm', '-Sn']).split('\n').filter(Boolean).sort();
  const rowsOfAddresses = () => rows().filter((line) => !/^-[Aa] -f 1[34]\d{8}/.test(line));
  const links = (): readonly string[] =>
    JSON.parse(node.run(['ip', '-j', 'link'])).map(({ ifname }: { ifname: string }) => ifname);
  /** Bound to a link, without what the kernel itself gives it. */
  const addressesOf = (link: string): readonly string[] => {
    const [shown] = JSON.parse(node.run(['ip', '-j', 'address', 'show', link]));
    const found: readonly { local: string }[] = shown.addr_info;
    return found.map(({ local }) => local).filter((local) => !local.startsWith('fe80:'));
  };
  const everything = () => ({
    rows: rows(),
    links: links(),
    bound: addressesOf('kube-ipvs0'),
    rules: node.run(['nft', '-s', 'list', 'ruleset']),
    sets: node.run(['ipset', 'save']).split('\n').sort(),
  });
  /** What others have, whoever serves Services. */
  const others = (): Others => {
    const { tables, iptables } = foreignState(node, () => false);
    return {
      tables: tables.filter((table) => /^table (inet foreign|ip6? hostports) /.test(table)),
      rules: iptables.filter((line) => line.startsWith('-A') && !line.includes('KUBE-')),
      rows: rows().filter((line) => / (192\.0\.2\.8\d|\[2001:db8:2::8\d\]):|-f 1[78]\b/.test(line)),
    };
  };

  it('kube-proxy serves, beside others', SLOW, async () => {
    for (const { name, request } of [...ofCluster(), ...ofLocal([lab.outside]), ...ofForeign()]) {
      held.open({ name, ...request });
    }
    await expectAllToWork();
    expect(heldBy.size).toBe(24 + 8 + 18);
    theirs = rowsOfAddresses();
    expect(theirs.filter((line) => line.startsWith('-A'))).toHaveLength(21);
    // Else that count could tell nothing. The kernel sums up what has been counted every two seconds, if it can.
    const unused = () => [...connectionCounts()].filter(([, count]) => count === 0).map(([key]) => key);
    await expect
      .poll(unused, { timeout: 60_000, interval: 500 })
      .toEqual(['TCP 10.96.0.1:443', 'TCP 10.96.0.1:443 -> 192.0.2.10:6443']);
    for (const [key, count] of connectionCounts()) made.set(key, count);
    foreign = others();
    expect(foreign.rows).toHaveLength(8);
    expect(foreign.rules).toHaveLength(2);
  });

  it('import writes the ledger alone while kube-proxy runs, and releases nothing', SLOW, async () => {
    const before = everything();
    const imported = await during(svcplane('import', '--from', 'kube-proxy'));
    expect(imported.code).toBe(2);
    expect(imported.stdout).toContain('\nImport: 17 equal, 0 altered, 0 theirs, 6 ours, 4 foreign.\n');
    expect(imported.stdout).toContain('\nApplied: 0 added, 17 changed, 0 deleted.\n');
    expect(imported.stderr).toContain(`note: kube-proxy runs here (process ${proxy.pid})`);
    const released = await svcplane('import', '--from', 'kube-proxy', '--release');
    expect(released.code).toBe(1);
    expect(released.stderr).toContain(`while it runs here (process ${proxy.pid})`);
    // From a container with processes of its own, where kube-proxy's is not to be seen.
    const contained = ['unshare', '--pid', '--fork', '--mount-proc'];
    const unseen = await svcplaneUnder(contained, ['import', '--from', 'kube-proxy', '--release']);
    expect(unseen.code).toBe(1);
    expect(unseen.stderr).toContain('while it runs here (its health check answers at port 10256)');
    expect(everything()).toEqual(before);
    expectSameObjects();
  });

  it('import takes over what is there, once kube-proxy is stopped', SLOW, async () => {
    await during(proxy.stop());
    const before = everything();
    const shown = await svcplane('import', '--from', 'kube-proxy', '--release', '--dry-run');
    expect(shown.code).toBe(2);
    expect(everything()).toEqual(before);
    const { code, stdout } = await during(svcplane('import', '--from', 'kube-proxy'));
    expect({ code, stdout }).toMatchObject({ code: 0 });
    // Of IPVS only what kube-proxy never has.
    const written = stdout.split('\n').filter((line) => /^[-+~] \w+(Virtual|Real)Server /.test(line));
    expect(written.filter((line) => !/Server FWM[46] /.test(line))).toEqual([]);
    expect(rowsOfAddresses()).toEqual(theirs);
    expect(links()).toEqual(expect.arrayContaining(['kube-ipvs0', 'svcplane0']));
    expectSameObjects();
    await expectAllToWork();
  });

  it("import --release removes kube-proxy's rules, sets and link, and nothing else", SLOW, async () => {
    const { code, stderr } = await during(svcplane('import', '--from', 'kube-proxy', '--release'));
    expect({ code, stderr }).toMatchObject({ code: 0 });
    for (const program of ['iptables-save', 'ip6tables-save']) {
      expect(node.run([program])).not.toContain('KUBE-');
    }
    expect(node.run(['ipset', 'list', '-n'])).toBe('');
    expect(links()).not.toContain('kube-ipvs0');
    expect(rowsOfAddresses()).toEqual(theirs);
    expect(others()).toEqual(foreign);
    expectSameObjects();
    await expectAllToWork();
  });

  it('apply and import have nothing left to do', SLOW, async () => {
    for (const verb of [['apply'], ['import', '--from', 'kube-proxy', '--release']]) {
      const { code, stdout } = await svcplane(...verb);
      expect({ code, stdout }).toEqual({
        code: 0,
        stdout: expect.stringContaining('Applied: 0 added, 0 changed, 0 deleted.\n'),
      });
    }
    expectSameObjects();
  });

  it('kube-proxy starts again, and gets the node back', SLOW, async () => {
    const early = await svcplane('cleanup', '--hand-back-to', 'kube-proxy');
    expect(early).toMatchObject({ code: 1, stderr: expect.stringContaining('it does not run here') });
    // From inside to frontends of policy Local: these go by firewall marks, of which kube-proxy knows nothing.
    using marked = new HeldConnections();
    const markedBy = new Map<string, string>();
    for (const { name, request } of ofLocal([node]).filter(({ name }) => name.includes(' VIP '))) {
      marked.open({ name, ...request });
    }
    await expectHeld(marked, markedBy);
    expect(markedBy.size).toBe(2);
    proxy = parts.use(await during(startKubeProxy(options)));
    expectSameObjects();
    expect(addressesOf('kube-ipvs0')).toHaveLength(5);
    const { code, stderr } = await during(svcplane('cleanup', '--hand-back-to', 'kube-proxy'));
    expect({ code, stderr }).toMatchObject({ code: 2 });
    // Those that are held, and perhaps some of those that have just been asked over.
    const kept = stderr.match(/^kept: FWM[46] \d+ for \d+ connections?: /gm) ?? [];
    expect(kept.length, stderr).toBeGreaterThanOrEqual(2);
    expect(links()).not.toContain('svcplane0');
    expect(addressesOf('kube-ipvs0')).toHaveLength(13);
    expect(node.run(['nft', 'list', 'tables'])).not.toContain('svcplane');
    await expectHeld(marked, markedBy);
    expectSameObjects();
    await expectAllToWork();
  });

  it('hand-back takes the marks when nobody needs them any more, and kube-proxy goes on', SLOW, async () => {
    const handedBack = () => svcplane('cleanup', '--hand-back-to', 'kube-proxy');
    await expect.poll(async () => (await handedBack()).code, { timeout: 120_000, interval: 5000 }).toBe(0);
    expect(rows()).toEqual(theirs);
    // It would have unbound by now what it takes for somebody else's.
    await during(sleep(2 * SYNC_PERIOD_MS));
    expect(addressesOf('kube-ipvs0')).toHaveLength(13);
    expect(rows()).toEqual(theirs);
    expect(others()).toEqual(foreign);
    expectSameObjects();
    await expectAllToWork();
    expect(JSON.parse(readFileSync(join(lab.directory, 'state', 'ledger.json'), 'utf8'))).toMatchObject({
      virtualServers: {},
      addresses: [],
      links: [],
      sysctls: {},
    });
  });
});

function shownOutcome(outcome: Outcome | undefined): string {
  return outcome?.kind === 'answered' ? outcome.server : (outcome?.kind ?? 'nothing');
}
