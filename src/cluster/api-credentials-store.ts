import { stat } from 'node:fs/promises';
import type { Agent } from 'node:http';
import type { RequestOptions } from 'node:https';
// Of client-node only these: config.js, as the whole index, loads the generated API, which is 80 MB of memory and half
// a second, and to our request adds only what `authenticateByLibrary` asks for.
import type { Cluster, User } from '@kubernetes/client-node/dist/config_types.js';
import { ExecAuth } from '@kubernetes/client-node/dist/exec_auth.js';
import type { ApiConnectionOptions } from './api-connection.ts';
import {
  type Loaded,
  loadCredentials,
  messageOf,
  readSource,
  type Source,
  unusable,
} from './api-source-store.ts';
import { equalData } from './equal-data.ts';

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

/** The credentials of one user, read from files that others may replace at any time. */
export class ApiCredentials {
  readonly #options: ApiConnectionOptions;
  #loaded: Loaded | null = null;
  #stamps = '';
  #exec = new ExecAuth();
  #tls: ApiTls = { rejectUnauthorized: true };

  constructor(options: ApiConnectionOptions) {
    this.#options = options;
  }

  /** Has files read again that seem not to have changed. */
  expectChange(): void {
    this.#stamps = '';
  }

  /** The credentials were refused: has files read again, and programs asked that would not be yet. */
  invalidate(): void {
    this.expectChange();
    this.#exec = new ExecAuth();
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
    if (user.exec) await this.#execute(loaded, options);
    const own = { ca: loaded.ca, cert: loaded.cert ?? options.cert, key: loaded.key ?? options.key };
    const texts = Object.entries(own).flatMap(([field, pem]) => (pem ? [[field, String(pem)]] : []));
    const tls = { ...Object.fromEntries(texts), rejectUnauthorized: !cluster.skipTLSVerify };
    if (!equalData(tls, this.#tls)) this.#tls = tls;
    const headers = { ...textHeaders(options.headers), ...headersOf(loaded) };
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

  async #execute({ origin, user }: Loaded, options: RequestOptions): Promise<void> {
    try {
      await this.#exec.applyAuthentication(user, options);
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

/** The ways of authentication that old kubeconfigs have, and proxies: with all of client-node, and what that costs. */
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
