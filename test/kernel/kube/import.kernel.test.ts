import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { FOREIGN, FOREIGN_PORT, HOST_PORT } from '../foreign-setup.ts';
import { HeldConnections } from '../held-connections.ts';
import { clusterIPs, externalIPs, TARGET_PORT, vips } from '../test-services.ts';
import { FAMILIES } from '../traffic/dual-stack.ts';
import type { Attached, Pod } from '../traffic/lab-plan.ts';
import type { Outcome, Request, Sockets } from '../traffic/sockets.ts';
import type { Lab, LabNode } from '../traffic/topology.ts';
import { describeWithKube } from './binaries.ts';
import { type KubeProxy, type KubeProxyOptions, startKubeProxy } from './kube-proxy.ts';
import { CONFIG, PORT, SYNC_PERIOD_MS, startProxiedNode } from './proxied-node.ts';
import {
  addressesOn,
  connectionCounts,
  everythingOf,
  linksOf,
  type Others,
  othersOf,
  rowsOf,
  rowsOfAddresses,
} from './proxied-state.ts';

const SVCPLANE = join(import.meta.dirname, '../../../scripts/svcplane');
const SLOW = { timeout: 900_000 } as const;
const TIMEOUT_MS = 10_000;

interface Question {
  readonly name: string;
  readonly request: Request & { readonly protocol: 'TCP' };
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
    const started = parts.use(await startProxiedNode());
    ({ lab, node, pods, clients, sockets, held, proxy, options } = started);
  }, SLOW.timeout);

  afterAll(() => parts.disposeAsync());

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

  /** That all that kube-proxy had made is still the same object. */
  function expectSameObjects(): void {
    const now = connectionCounts(node);
    const anew = [...made].filter(([key, count]) => (now.get(key) ?? -1) < count).map(([key]) => key);
    expect(anew).toEqual([]);
    for (const key of made.keys()) made.set(key, now.get(key) ?? 0);
  }

  it('kube-proxy serves, beside others', SLOW, async () => {
    for (const { name, request } of [...ofCluster(), ...ofLocal([lab.outside]), ...ofForeign()]) {
      held.open({ name, ...request });
    }
    await expectAllToWork();
    expect(heldBy.size).toBe(24 + 8 + 18);
    theirs = rowsOfAddresses(node);
    expect(theirs.filter((line) => line.startsWith('-A'))).toHaveLength(21);
    // Else that count could tell nothing. The kernel sums up what has been counted every two seconds, if it can.
    const unused = () => [...connectionCounts(node)].filter(([, count]) => count === 0).map(([key]) => key);
    await expect
      .poll(unused, { timeout: 60_000, interval: 500 })
      .toEqual(['TCP 10.96.0.1:443', 'TCP 10.96.0.1:443 -> 192.0.2.10:6443']);
    for (const [key, count] of connectionCounts(node)) made.set(key, count);
    foreign = othersOf(node);
    expect(foreign.rows).toHaveLength(8);
    expect(foreign.rules).toHaveLength(2);
  });

  it('import writes the ledger alone while kube-proxy runs, and releases nothing', SLOW, async () => {
    const before = everythingOf(node);
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
    expect(everythingOf(node)).toEqual(before);
    expectSameObjects();
  });

  it('import takes over what is there, once kube-proxy is stopped', SLOW, async () => {
    await during(proxy.stop());
    const before = everythingOf(node);
    const shown = await svcplane('import', '--from', 'kube-proxy', '--release', '--dry-run');
    expect(shown.code).toBe(2);
    expect(everythingOf(node)).toEqual(before);
    const { code, stdout } = await during(svcplane('import', '--from', 'kube-proxy'));
    expect({ code, stdout }).toMatchObject({ code: 0 });
    // Of IPVS only what kube-proxy never has.
    const written = stdout.split('\n').filter((line) => /^[-+~] \w+(Virtual|Real)Server /.test(line));
    expect(written.filter((line) => !/Server FWM[46] /.test(line))).toEqual([]);
    expect(rowsOfAddresses(node)).toEqual(theirs);
    expect(linksOf(node)).toEqual(expect.arrayContaining(['kube-ipvs0', 'svcplane0']));
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
    expect(linksOf(node)).not.toContain('kube-ipvs0');
    expect(rowsOfAddresses(node)).toEqual(theirs);
    expect(othersOf(node)).toEqual(foreign);
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
    expect(addressesOn(node, 'kube-ipvs0')).toHaveLength(5);
    const { code, stderr } = await during(svcplane('cleanup', '--hand-back-to', 'kube-proxy'));
    expect({ code, stderr }).toMatchObject({ code: 2 });
    // Those that are held, and perhaps some of those that have just been asked over.
    const kept = stderr.match(/^kept: FWM[46] \d+ for \d+ connections?: /gm) ?? [];
    expect(kept.length, stderr).toBeGreaterThanOrEqual(2);
    expect(linksOf(node)).not.toContain('svcplane0');
    expect(addressesOn(node, 'kube-ipvs0')).toHaveLength(13);
    expect(node.run(['nft', 'list', 'tables'])).not.toContain('svcplane');
    await expectHeld(marked, markedBy);
    expectSameObjects();
    await expectAllToWork();
  });

  it('hand-back takes the marks when nobody needs them any more, and kube-proxy goes on', SLOW, async () => {
    const handedBack = () => svcplane('cleanup', '--hand-back-to', 'kube-proxy');
    await expect.poll(async () => (await handedBack()).code, { timeout: 120_000, interval: 5000 }).toBe(0);
    expect(rowsOf(node)).toEqual(theirs);
    // It would have unbound by now what it takes for somebody else's.
    await during(sleep(2 * SYNC_PERIOD_MS));
    expect(addressesOn(node, 'kube-ipvs0')).toHaveLength(13);
    expect(rowsOf(node)).toEqual(theirs);
    expect(othersOf(node)).toEqual(foreign);
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
