import { type ChildProcess, spawn } from 'node:child_process';
import { asObject, listIn, objectIn, type RawObject, textIn } from './object-fields.ts';

/** What a credential plugin has said. */
export interface ExecCredential {
  readonly token: string | null;
  /** PEM texts; null without. */
  readonly cert: string | null;
  readonly key: string | null;
  /** Wall clock, ms since the epoch: from then on it has to be asked again; null if never. */
  readonly expiresAtMs: number | null;
}

/** What a plugin may print, in characters: many times what a credential has, and no more than memory can bear. */
const MAX_OUTPUT = 1 << 20;

/**
 * The program that a kubeconfig names to be asked for credentials, as client-go asks it. What it said is kept until it
 * expires; those who ask while it runs wait for the same answer.
 * @see https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
 */
export class ExecPlugin implements Disposable {
  readonly #timeoutMs: number;
  #answer: { readonly of: string; readonly credential: ExecCredential } | null = null;
  #running: { readonly of: string; readonly ended: Promise<ExecCredential> } | null = null;
  readonly #processes = new Set<ChildProcess>();

  /** @param timeoutMs after so long it is killed: a request must not hang as long as its plugin does */
  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
  }

  /** It is asked again, though what it said has not expired. */
  forget(): void {
    this.#answer = null;
  }

  /**
   * @param exec the field `exec` of a kubeconfig's user
   * @throws Error that says what is wrong with it, or with what it printed
   */
  async credential(exec: RawObject): Promise<ExecCredential> {
    const of = JSON.stringify(exec);
    const known = this.#answer?.of === of ? this.#answer.credential : null;
    if (known && (known.expiresAtMs === null || known.expiresAtMs > Date.now())) return known;
    if (this.#running?.of === of) return this.#running.ended;
    const ended = this.#ask(exec).finally(() => {
      if (this.#running?.ended === ended) this.#running = null;
    });
    this.#running = { of, ended };
    const credential = await ended;
    this.#answer = { of, credential };
    return credential;
  }

  /** Kills it, if it runs. */
  [Symbol.dispose](): void {
    for (const child of this.#processes) kill(child);
  }

  async #ask(exec: RawObject): Promise<ExecCredential> {
    const command = textIn(exec, 'command');
    if (command === undefined) throw new Error('No command is named');
    const args = listIn(exec, 'args').map(String);
    const child = spawn(command, args, { env: environmentOf(exec), stdio: ['ignore', 'pipe', 'pipe'] });
    this.#processes.add(child);
    try {
      return credentialIn(await this.#outputOf(child));
    } finally {
      this.#processes.delete(child);
    }
  }

  #outputOf(child: ChildProcess): Promise<string> {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const read = { stdout: '', stderr: '' };
    const giveUp = (problem: string) => {
      // First, for that it has been killed is not what is wrong.
      reject(new Error(problem));
      kill(child);
    };
    for (const name of ['stdout', 'stderr'] as const) {
      child[name]?.setEncoding('utf8').on('data', (text: string) => {
        read[name] += text;
        if (read[name].length > MAX_OUTPUT) giveUp(`more than ${MAX_OUTPUT} characters of ${name}`);
      });
    }
    const timer = setTimeout(() => giveUp(`no answer within ${this.#timeoutMs / 1000} s`), this.#timeoutMs);
    child.once('error', reject);
    child.once('close', (code, signal) => {
      if (code === 0) resolve(read.stdout);
      else reject(new Error(read.stderr.trim() || `ended with ${signal ?? `exit code ${code}`}`));
    });
    return promise.finally(() => clearTimeout(timer));
  }
}

/** Whoever it has started may live on, and hold its output open: nobody waits for that. */
function kill(child: ChildProcess): void {
  child.kill('SIGKILL');
  child.stdout?.destroy();
  child.stderr?.destroy();
}

function environmentOf(exec: RawObject): NodeJS.ProcessEnv {
  const env = { ...process.env };
  for (const entry of listIn(exec, 'env')) {
    const { name, value } = asObject(entry) ?? {};
    if (typeof name === 'string') env[name] = String(value ?? '');
  }
  const info = { apiVersion: exec.apiVersion, kind: 'ExecCredential', spec: { interactive: false } };
  return { ...env, KUBERNETES_EXEC_INFO: JSON.stringify(info) };
}

function credentialIn(text: string): ExecCredential {
  const status = objectIn(asObject(JSON.parse(text)) ?? {}, 'status');
  const token = textIn(status, 'token') ?? null;
  const cert = textIn(status, 'clientCertificateData') ?? null;
  const key = textIn(status, 'clientKeyData') ?? null;
  if (token === null && (cert === null || key === null))
    throw new Error('the plugin has printed no credential');
  const expiresAtMs = Date.parse(textIn(status, 'expirationTimestamp') ?? '');
  return { token, cert, key, expiresAtMs: Number.isNaN(expiresAtMs) ? null : expiresAtMs };
}
