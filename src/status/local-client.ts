import { request } from 'node:http';

/** The daemon can't be asked, or can't answer; `message` is one line that says so. */
export class DaemonError extends Error {
  override readonly name = 'DaemonError';
}

/** Whether the daemon is asked to tell or to do something. */
export type AskMethod = 'GET' | 'POST';

/** Longer than a snapshot of 10,000 Services takes on a busy node. */
const TIMEOUT_MS = 30_000;

/**
 * Asks the daemon of this node over its local socket.
 * @param path with its query: `/status?output=text`
 * @returns the body of the answer
 * @throws DaemonError if there is no daemon, this user may not ask it, or it fails
 */
export async function askDaemon(
  socketPath: string,
  method: AskMethod,
  path: string,
  signal: AbortSignal,
): Promise<string> {
  if (socketPath === '')
    throw new DaemonError('Cannot ask the daemon: socket is empty, so it listens at none');
  const both = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]);
  const { status, body } = await new Promise<{ status: number; body: string }>((resolve, reject) => {
    const asked = request({ socketPath, method, path, agent: false, signal: both }, (response) => {
      response
        .toArray()
        .then(
          (chunks) => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() }),
          reject,
        );
    });
    asked.once('error', (error) => reject(new DaemonError(whyNot(socketPath, error), { cause: error })));
    asked.end();
  });
  if (status === 200) return body;
  throw new DaemonError(`Cannot ${method} ${path} of the daemon at ${socketPath}: ${status}: ${body.trim()}`);
}

function whyNot(socketPath: string, error: Error): string {
  const code = 'code' in error ? String(error.code) : error.message;
  const action = `Cannot ask the daemon at ${socketPath}`;
  if (code === 'ENOENT' || code === 'ECONNREFUSED') {
    return `${action}: none is running there (${code}): start svcplane run, or set socket as it has it`;
  }
  if (code === 'EACCES') return `${action}: ${code}: only the user that it runs as may, mostly root`;
  if (code === 'ABORT_ERR') return `${action}: no answer`;
  return `${action}: ${code}`;
}
