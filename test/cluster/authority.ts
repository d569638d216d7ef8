import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** PEM texts. */
export interface Identity {
  readonly cert: string;
  readonly key: string;
}

export interface IssueOptions {
  /** The common name. */
  readonly name: string;
  /** As openssl writes subjectAltName: `IP:127.0.0.1,DNS:kubernetes.default.svc`. */
  readonly names?: string;
}

/** What clusters have to sign certificates with, made by openssl. */
export interface Authority {
  /** PEM of its own certificate. */
  readonly ca: string;
  issue(options: IssueOptions): Identity;
}

const EC = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];

export function createAuthority(name: string): Authority {
  const made = openssl({ name }, []);
  return {
    ca: made.cert,
    issue: (options) =>
      openssl(options, ['-CA', 'ca.crt', '-CAkey', 'ca.key'], { 'ca.crt': made.cert, 'ca.key': made.key }),
  };
}

function openssl(
  { name, names }: IssueOptions,
  args: readonly string[],
  inputs: Readonly<Record<string, string>> = {},
): Identity {
  const directory = mkdtempSync(join(tmpdir(), 'svcplane-authority-'));
  try {
    for (const [file, text] of Object.entries(inputs)) writeFileSync(join(directory, file), text);
    const extensions = names === undefined ? [] : ['-addext', `subjectAltName=${names}`];
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        ...EC,
        ...args,
        '-subj',
        `/CN=${name}`,
        ...extensions,
        '-keyout',
        'key',
        '-out',
        'cert',
      ],
      { cwd: directory, stdio: 'pipe' },
    );
    const read = (file: string) => readFileSync(join(directory, file), 'utf8');
    return { cert: read('cert'), key: read('key') };
  } finally {
    rmSync(directory, { recursive: true });
  }
}
