import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type NetworkNamespace, run } from '../probe.ts';
import type { ApiClient } from './api-client.ts';
import { ADDRESS, type ControlPlane, ControlPlaneProcesses, PORT } from './control-plane.ts';

export interface ApiServerOptions {
  /** IPv4 first. The first address of each range is the Service `default/kubernetes`. */
  readonly serviceCidrs?: readonly string[];
  /** Users without any right but what the RBAC objects of the test give them. */
  readonly users?: readonly string[];
}

/** Where an API server is, and how to be its administrator. */
export interface ApiAccess {
  /** As `https://192.0.2.10:6443`. */
  readonly server: string;
  readonly token: string;
  /** PEM of what has signed the server's certificate; gone when the server is stopped. */
  readonly caFile: string;
}

/** An empty API server that has just been started, and its administrator's connection to it. */
export interface ApiServer
  extends ApiAccess,
    ControlPlane,
    Omit<ApiClient, typeof Symbol.dispose>,
    AsyncDisposable {
  /** The same access as one of `options.users`. */
  accessOf(user: string): ApiAccess;
  /** Ends it and its etcd, and removes their directory and address; does nothing the second time. */
  stop(): Promise<void>;
}

/**
 * Starts etcd and kube-apiserver in this network namespace, on an address of its loopback: one at a time.
 * Needs root, and up to 10 minutes where the processor is emulated.
 * @throws Error if it does not get ready, with the end of its log
 */
export async function startApiServer(options: ApiServerOptions = {}): Promise<ApiServer> {
  await using started = new AsyncDisposableStack();
  run(['ip', 'address', 'add', `${ADDRESS}/32`, 'dev', 'lo']);
  started.defer(() => void run(['ip', 'address', 'del', `${ADDRESS}/32`, 'dev', 'lo']));
  const directory = mkdtempSync(join(tmpdir(), 'svcplane-kube-'));
  started.defer(() => rmSync(directory, { recursive: true, force: true }));

  const { serviceCidrs = ['10.96.0.0/16', 'fd00:10:96::/112'], users = [] } = options;
  const tokens = writeCredentials(directory, users);
  const token = tokens.administrator;
  const authorizationMode = users.length === 0 ? 'AlwaysAllow' : 'RBAC';
  const processes = started.use(
    new ControlPlaneProcesses({ directory, serviceCidrs, authorizationMode, token }),
  );
  await processes.start();

  const server = `https://${ADDRESS}:${PORT}`;
  const { client, caFile } = processes;
  const { request, apply, dryRun, patchStatus, delete: remove } = client;
  const parts = started.move();
  const stop = () => parts.disposeAsync();
  return {
    request,
    apply,
    dryRun,
    patchStatus,
    delete: remove,
    server,
    caFile,
    token,
    accessOf: (user) => {
      const token = tokens.users.get(user);
      if (token === undefined) throw new TypeError(`no user ${user}`);
      return { server, caFile, token };
    },
    kill: () => processes.kill(),
    start: () => processes.start(),
    compact: () => processes.compact(),
    backup: () => processes.backup(),
    restore: (backup) => processes.restore(backup),
    log: () => processes.log(),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** A kubeconfig for programs on a node, as JSON, which is YAML. */
export function kubeconfigOf({ server, token, caFile }: ApiAccess): string {
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'lab', cluster: { server, 'certificate-authority': caFile } }],
    users: [{ name: 'user', user: { token } }],
    contexts: [{ name: 'lab', context: { cluster: 'lab', user: 'user' } }],
    'current-context': 'lab',
  });
}

/**
 * Lets a node reach the API server of this network namespace, by a wire of its own that gives the node no address
 * more, for NodePorts would be served on it. It goes with the node's namespace.
 * @param nodeAddress an IPv4 address that the node has already
 */
export function wireToApi(node: NetworkNamespace, nodeAddress: string): void {
  const here = `api-${randomBytes(3).toString('hex')}`;
  const there = ['ip', '-n', node.name];
  run(['ip', 'link', 'add', here, 'type', 'veth', 'peer', 'name', 'api', 'netns', node.name]);
  run(['ip', 'link', 'set', here, 'up']);
  run([...there, 'link', 'set', 'api', 'up']);
  // Named neighbours, because a node that serves VIPs may be told to answer ARP for no address of another link.
  const macOf = (ip: readonly string[], link: string): string =>
    JSON.parse(run([...ip, '-j', 'link', 'show', link]))[0].address;
  const ends = [
    { ip: ['ip'], link: here, peer: nodeAddress, mac: macOf(there, 'api') },
    { ip: there, link: 'api', peer: ADDRESS, mac: macOf(['ip'], here) },
  ];
  for (const { ip, link, peer, mac } of ends) {
    run([...ip, 'neighbour', 'add', peer, 'lladdr', mac, 'dev', link, 'nud', 'permanent']);
  }
  // A node before of this address may have been removed, and its link be about to go.
  run(['ip', 'route', 'replace', `${nodeAddress}/32`, 'dev', here]);
  run([...there, 'route', 'add', `${ADDRESS}/32`, 'dev', 'api', 'src', nodeAddress]);
}

/** Writes the tokens of the administrator and of the users, and the key that signs those of service accounts. */
function writeCredentials(directory: string, users: readonly string[]) {
  const newToken = () => randomBytes(16).toString('hex');
  const administrator = newToken();
  const tokens = new Map(users.map((user) => [user, newToken()]));
  const rows = [
    `${administrator},administrator,administrator,"system:masters"`,
    ...[...tokens].map(([user, token]) => `${token},${user},${user}`),
  ];
  writeFileSync(join(directory, 'tokens.csv'), `${rows.join('\n')}\n`);
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  writeFileSync(join(directory, 'accounts.key'), privateKey.export({ type: 'sec1', format: 'pem' }));
  return { administrator, users: tokens };
}
