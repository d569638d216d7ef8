import { cpSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type ApiClient, connectToApi } from './api-client.ts';
import { pathOf } from './binaries.ts';
import { type Daemon, startDaemon } from './daemon.ts';

/** From the documentation range 192.0.2.0/24: an address of the loopback while there is an API server. */
export const ADDRESS = '192.0.2.10';
export const PORT = 6443;
/** It takes 3 s on a good processor, and minutes on an emulated one. */
const READY_MS = 600_000;

export interface ControlPlaneOptions {
  /** Holds all that they write, and tokens.csv and accounts.key, which have to be there. */
  readonly directory: string;
  /** IPv4 first. */
  readonly serviceCidrs: readonly string[];
  readonly authorizationMode: 'AlwaysAllow' | 'RBAC';
  /** Of the administrator, to ask whether it is ready. */
  readonly token: string;
}

/** What may befall an API server. Each resolves when it is done. */
export interface ControlPlane {
  /** Ends kube-apiserver by SIGKILL; etcd lives on. */
  kill(): Promise<void>;
  /** Starts kube-apiserver, and etcd if it does not run, and waits until it is ready. */
  start(): Promise<void>;
  /**
   * Has etcd forget all revisions but the latest: who asks for an earlier one is told 410, unless kube-apiserver
   * remembers it, as it does until it is killed.
   */
  compact(): Promise<void>;
  /** Ends both, keeps a copy of etcd's data, and starts them again. @returns a directory for `restore` */
  backup(): Promise<string>;
  /** Ends both, puts data from `backup` in the place of etcd's, and starts them again: an older revision. */
  restore(backup: string): Promise<void>;
  /** The end of what kube-apiserver has printed. */
  log(): string;
}

/** The processes of a control plane. None runs yet; `ControlPlane.start` starts them. */
export class ControlPlaneProcesses implements ControlPlane, AsyncDisposable {
  readonly #options: ControlPlaneOptions;
  #etcd: Daemon | undefined;
  #api: Daemon | undefined;
  #client: ApiClient | undefined;
  #earlierLog = '';
  #backups = 0;

  constructor(options: ControlPlaneOptions) {
    this.#options = options;
  }

  /** The administrator's; there is one after the first start. */
  get client(): ApiClient {
    if (!this.#client) throw new Error('kube-apiserver has not been started');
    return this.#client;
  }

  get caFile(): string {
    return join(this.#options.directory, 'pki', 'apiserver.crt');
  }

  async start(): Promise<void> {
    this.#etcd ??= await startDaemon(etcdCommand(this.#options.directory));
    if (this.#api) throw new Error('kube-apiserver still runs');
    const api = await startDaemon(apiServerCommand(this.#options));
    this.#api = api;
    const isReady = async () => {
      // kube-apiserver signs the certificate itself: it is there before the port is open.
      this.#client ??= connectIfSigned(this.caFile, this.#options.token);
      return (await this.#client?.request('GET', '/readyz').catch(() => undefined)) === 'ok';
    };
    await api.ready(isReady, READY_MS);
  }

  async kill(): Promise<void> {
    this.#earlierLog = this.log();
    await this.#api?.stop('SIGKILL');
    this.#api = undefined;
  }

  async compact(): Promise<void> {
    // The gateway that etcd has for those without gRPC.
    const post = async (path: string, body: object): Promise<unknown> => {
      const url = `http://${ADDRESS}:2379/v3/kv/${path}`;
      const answer = await fetch(url, { method: 'POST', body: JSON.stringify(body) });
      if (!answer.ok) throw new Error(`etcd refuses ${path}: ${await answer.text()}`);
      return answer.json();
    };
    const range = await post('range', { key: Buffer.from('a').toString('base64') });
    const { revision } = (range as { readonly header: { readonly revision: string } }).header;
    await post('compaction', { revision, physical: true });
  }

  async backup(): Promise<string> {
    const { directory } = this.#options;
    const backup = join(directory, `backup-${this.#backups++}`);
    await this.#whileStopped(() => cpSync(join(directory, 'etcd'), backup, { recursive: true }));
    return backup;
  }

  async restore(backup: string): Promise<void> {
    const data = join(this.#options.directory, 'etcd');
    await this.#whileStopped(() => {
      rmSync(data, { recursive: true });
      cpSync(backup, data, { recursive: true });
    });
  }

  log(): string {
    return this.#earlierLog + (this.#api?.log() ?? '');
  }

  /** Nothing of it is ever read again, so that there is nothing to end in good order. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#client?.[Symbol.dispose]();
    await this.kill();
    await this.#etcd?.stop('SIGKILL');
    this.#etcd = undefined;
  }

  async #whileStopped(change: () => void): Promise<void> {
    await this.kill();
    await this.#etcd?.stop('SIGTERM');
    this.#etcd = undefined;
    change();
    await this.start();
  }
}

function connectIfSigned(caFile: string, token: string): ApiClient | undefined {
  try {
    return connectToApi(`https://${ADDRESS}:${PORT}`, readFileSync(caFile, 'utf8'), token);
  } catch {
    return undefined;
  }
}

function etcdCommand(directory: string): readonly string[] {
  const clients = `http://${ADDRESS}:2379`;
  const peers = `http://${ADDRESS}:2380`;
  return [
    pathOf('etcd'),
    `--data-dir=${join(directory, 'etcd')}`,
    '--unsafe-no-fsync',
    `--listen-client-urls=${clients}`,
    `--advertise-client-urls=${clients}`,
    `--listen-peer-urls=${peers}`,
    `--initial-advertise-peer-urls=${peers}`,
    `--initial-cluster=default=${peers}`,
  ];
}

function apiServerCommand(options: ControlPlaneOptions): readonly string[] {
  const { directory, serviceCidrs, authorizationMode } = options;
  const key = join(directory, 'accounts.key');
  return [
    pathOf('kube-apiserver'),
    `--etcd-servers=http://${ADDRESS}:2379`,
    `--cert-dir=${join(directory, 'pki')}`,
    `--bind-address=${ADDRESS}`,
    `--secure-port=${PORT}`,
    `--service-cluster-ip-range=${serviceCidrs.join(',')}`,
    `--authorization-mode=${authorizationMode}`,
    `--token-auth-file=${join(directory, 'tokens.csv')}`,
    `--service-account-key-file=${key}`,
    `--service-account-signing-key-file=${key}`,
    '--service-account-issuer=https://kubernetes.default.svc',
    // No controller makes the accounts, so pods could not be created.
    '--disable-admission-plugins=ServiceAccount',
    '--allow-privileged',
  ];
}
