import { stat } from 'node:fs/promises';
import type { Agent } from 'node:http';
import type { RequestOptions } from 'node:https';
import type { Cluster, User } from '@kubernetes/client-node/dist/config_types.js';
import type { ApiConnectionOptions } from './api-connection.ts';
import { type ExecCredential, ExecPlugin } from './api-exec-client.ts';
import {
  type Loaded,
  loadCredentials,
  messageOf,
  readSource,
  type Source,
  unusable,
} from './api-source-store.ts';
import { equalData } from './equal-data.ts';
import { asObject } from './object-fields.ts';

/** What a request needs to reach the API server as somebody. */
export interface ApiAccess {
  readonly server: URL;
  /** What the server's certificate has to be for, where it is not the host of `server`. */
  readonly tlsServerName: string | null;
  /** Keeps its identity while it says the same: connections that were made with it can be used again. */
  readonly tls: ApiTls;
  readonly headers: Readonly<Record<string, string>>;
  /** Through a proxy. */
  readonly agent: Agent | null;
}

/** As node:tls calls it: PEM texts. */
export interface ApiTls {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly rejectUnauthorized: boolean;
}

/**
 * As long as cloud providers' plugins take that ask a service far away, and no longer than somebody waits who sees
 * nothing happen.
 */
const EXEC_TIMEOUT_MS = 30_000;

/** The credentials of one user, read from files that others may replace at any time. */
export class ApiCredentials implements Disposable {
  readonly #options: ApiConnectionOptions;
  #loaded: Loaded | null = null;
  #stamps = '';
  readonly #plugin: ExecPlugin;
  #tls: ApiTls = { rejectUnauthorized: true };

  constructor(options: ApiConnectionOptions) {
    this.#options = options;
    this.#plugin = new ExecPlugin(options.execTimeoutMs ?? EXEC_TIMEOUT_MS);
  }

  /** Waits for no program any more. */
  [Symbol.dispose](): void {
    this.#plugin[Symbol.dispose]();
  }

  /** Has files read again that seem not to have changed. */
  expectChange(): void {
    this.#stamps = '';
  }

  /** The credentials were refused: has files read again, and programs asked that would not be yet. */
  invalidate(): void {
    this.expectChange();
    this.#plugin.forget();
  }

  /**
   * What the files say now.
   * @throws ApiConfigurationError if they have never been readable: what was once read is used until it is refused
   */
  async current(): Promise<ApiAccess> {
    const loaded = await this.#load();
    const { server, cluster, user } = loaded;
    const tlsServerName = cluster.tlsServerName ?? null;
    const options: RequestOptions = { headers: {} };
    if (user.authProvider || cluster.proxyUrl) await authenticateByLibrary(options, cluster, user);
    const told = user.exec ? await this.#ask(loaded) : null;
    const own = {
      ca: loaded.ca,
      cert: loaded.cert ?? told?.cert ?? options.cert,
      key: loaded.key ?? told?.key ?? options.key,
    };
    const texts = Object.entries(own).flatMap(([field, pem]) => (pem ? [[field, String(pem)]] : []));
    const tls = { ...Object.fromEntries(texts), rejectUnauthorized: !cluster.skipTLSVerify };
    if (!equalData(tls, this.#tls)) this.#tls = tls;
    const bearer = told?.token ? { Authorization: `Bearer ${told.token}` } : {};
    const headers = { ...textHeaders(options.headers), ...bearer, ...headersOf(loaded) };
    const agent = cluster.proxyUrl && typeof options.agent === 'object' ? options.agent : null;
    return { server, tlsServerName, tls: this.#tls, headers, agent };
  }

  async #load(): Promise<Loaded> {
    const before = this.#loaded;
    if (before && this.#stamps !== '' && (await stampsOf(this.#filesOf(before))) === this.#stamps)
      return before;
    try {
      const source = await readSource(this.#options);
      // Stamps before contents: what changes in between is read once more.
      const stamps = await stampsOf(this.#filesOf(source));
      this.#loaded = await loadCredentials(source);
      this.#stamps = stamps;
      return this.#loaded;
    } catch (error) {
      if (before) return before;
      throw error;
    }
  }

  async #ask({ origin, user }: Loaded): Promise<ExecCredential> {
    try {
      return await this.#plugin.credential(asObject(user.exec) ?? {});
    } catch (error) {
      throw unusable(origin, `exec ${user.exec?.command ?? '(none)'}: ${messageOf(error)}`, error);
    }
  }

  #filesOf({ cluster, user, tokenFile }: Source): readonly string[] {
    const files = [this.#options.kubeconfig, cluster.caFile, user.certFile, user.keyFile, tokenFile];
    return files.flatMap((file) => file || []);
  }
}

function headersOf({ user, token }: Loaded): Readonly<Record<string, string>> {
  const headers: Record<string, string> = {};
  if (user.username) {
    const basic = Buffer.from(`${user.username}:${user.password ?? ''}`).toString('base64');
    headers.Authorization = `Basic ${basic}`;
  }
  if (token) headers.Authorization = `Bearer ${token}`;
  if (user.impersonateUser) headers['Impersonate-User'] = user.impersonateUser;
  return headers;
}

/**
 * The ways of authentication that old kubeconfigs have, and proxies: with all of client-node, which loads the generated
 * API, 80 MB of memory and half a second.
 */
async function authenticateByLibrary(options: RequestOptions, cluster: Cluster, user: User): Promise<void> {
  const { KubeConfig } = await import('@kubernetes/client-node/dist/config.js');
  const config = new KubeConfig();
  config.loadFromClusterAndUser(cluster, user);
  await config.applyToHTTPSOptions(options);
}

function textHeaders(headers: RequestOptions['headers']): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(headers ?? {}).map(([name, value]) => [name, String(value)]));
}

/** Equal texts: the same files, unchanged. kubelet replaces files by renaming a link to their directory. */
async function stampsOf(files: readonly string[]): Promise<string> {
  const stamps = files.map(async (file) => {
    const { ino, size, mtimeNs } = await stat(file, { bigint: true });
    return `${file} ${ino} ${size} ${mtimeNs}`;
  });
  // A file that is gone has changed.
  return Promise.all(stamps).then(
    (all) => all.join('\n'),
    () => '',
  );
}
