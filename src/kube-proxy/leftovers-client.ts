import { spawn } from 'node:child_process';
import { readdir, readFile, readlink } from 'node:fs/promises';
import { request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { IpAddress } from '../model/address.ts';
import { unreachable } from '../model/brand.ts';
import { parseIpsetSave, parseIptablesSave, type SavedSet } from './iptables-save.ts';
import type { IptablesProgram, KubeProxyHost, KubeProxyTraces, ReleaseOp } from './leftovers.ts';
import { KUBE_PROXY_LINK } from './names.ts';

type Change = { readonly linkIndex: number } & (
  | { readonly change: 'deleteLink' }
  | { readonly change: 'addAddress' | 'deleteAddress'; readonly address: IpAddress }
);

/** The links of this network namespace, as far as kube-proxy's is concerned. */
export interface ProxyLinks extends AsyncDisposable {
  links(): Promise<
    readonly { readonly index: number; readonly name: string; readonly kind: string | null }[]
  >;
  addresses(): Promise<readonly { readonly linkIndex: number; readonly address: IpAddress }[]>;
  /** At most 256, in order; a refused one does not stop those behind it. */
  change(
    changes: readonly Change[],
  ): Promise<
    readonly ({ readonly outcome: 'ok' } | { readonly outcome: 'refused'; readonly code: string })[]
  >;
}

/** Pairs of a deletion and an addition fit into one call. */
const BATCH = 256;
const HEALTHZ_PORT = 10_256;
const HEALTHZ_TIMEOUT_MS = 1000;
/** Long enough for a handshake that loses two packets, which are sent again after 1 s and 2 s. */
const HANDSHAKE_MS = 3000;
const IPTABLES: readonly (readonly IptablesProgram[])[] = [
  ['iptables-nft', 'iptables-legacy'],
  ['ip6tables-nft', 'ip6tables-legacy'],
];

/**
 * kube-proxy as seen from this host. The rules and sets of xtables are read and changed by the host's own programs:
 * the format of iptables-legacy in the kernel is private to libiptc, and what iptables-nft keeps in nf_tables is in
 * expressions that only it can print. This is for verbs that run once, never for the daemon.
 */
export function openKubeProxyHost(links: ProxyLinks): KubeProxyHost {
  return {
    observe: (signal) => observe(links, signal),
    whyRunning,
    release: (op, signal) => release(links, op, signal),
    moveAddresses: (from, addresses) => moveAddresses(links, from, addresses),
    untilOpened: (signal) => sleep(HANDSHAKE_MS, undefined, { signal }),
    [Symbol.asyncDispose]: () => links[Symbol.asyncDispose](),
  };
}

async function observe(links: ProxyLinks, signal: AbortSignal): Promise<KubeProxyTraces> {
  const index = await proxyLinkIndex(links);
  const link = new Set<IpAddress>();
  const otherAddresses = new Set<IpAddress>();
  for (const { linkIndex, address } of await links.addresses()) {
    (linkIndex === index ? link : otherAddresses).add(address);
  }
  const notes: string[] = [];
  const iptables: KubeProxyTraces['iptables'][number][] = [];
  for (const programs of IPTABLES) iptables.push(...(await saveTables(programs, notes, signal)));
  const sets = await saveSets(notes, signal);
  return { link: index === undefined ? null : link, otherAddresses, iptables, sets, notes };
}

async function proxyLinkIndex(links: ProxyLinks): Promise<number | undefined> {
  const found = (await links.links()).find(({ name, kind }) => name === KUBE_PROXY_LINK && kind === 'dummy');
  return found?.index;
}

async function saveTables(programs: readonly IptablesProgram[], notes: string[], signal: AbortSignal) {
  const saved: KubeProxyTraces['iptables'][number][] = [];
  const missing: string[] = [];
  for (const program of programs) {
    const ended = await run([`${program}-save`], '', signal);
    if (ended === 'missing') missing.push(`${program}-save`);
    else if (ended.code === 0) saved.push({ program, tables: parseIptablesSave(ended.stdout) });
    else notes.push(`${program}-save: ${ended.stderr}`);
  }
  if (missing.length === programs.length) notes.push(`not looked at: no ${missing.join(', no ')}`);
  return saved;
}

async function saveSets(notes: string[], signal: AbortSignal): Promise<readonly SavedSet[]> {
  const ended = await run(['ipset', 'save'], '', signal);
  if (ended !== 'missing' && ended.code === 0) return parseIpsetSave(ended.stdout);
  notes.push(ended === 'missing' ? 'not looked at: no ipset' : `ipset save: ${ended.stderr}`);
  return [];
}

/** Another process has the name only where it is seen: not from a container with processes of its own. */
async function whyRunning(signal: AbortSignal): Promise<string | null> {
  const here = await readlink('/proc/self/ns/net');
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    try {
      const name = (await readFile(`/proc/${pid}/comm`, 'utf8')).trim();
      if (name === 'kube-proxy' && (await readlink(`/proc/${pid}/ns/net`)) === here) return `process ${pid}`;
    } catch {
      // It has ended meanwhile, or is none of ours to look into.
    }
  }
  return (await answersHealthz(signal)) ? `its health check answers at port ${HEALTHZ_PORT}` : null;
}

/** Our own daemon answers there, too, and at a path that kube-proxy does not know. */
function answersHealthz(signal: AbortSignal): Promise<boolean> {
  const options = { host: '127.0.0.1', port: HEALTHZ_PORT, path: '/readyz', timeout: HEALTHZ_TIMEOUT_MS };
  return new Promise((resolve) => {
    const asked = request({ ...options, signal }, (answer) => {
      answer.resume();
      resolve(answer.statusCode === 404);
    });
    asked.once('timeout', () => asked.destroy());
    asked.once('close', () => resolve(false));
    asked.once('error', () => resolve(false));
    asked.end();
  });
}

async function release(links: ProxyLinks, op: ReleaseOp, signal: AbortSignal): Promise<string | null> {
  switch (op.op) {
    case 'restoreIptables':
      return failureOf(await run([`${op.program}-restore`, '--noflush', '--wait', '5'], op.input, signal));
    case 'destroySet':
      return failureOf(await run(['ipset', 'destroy', op.name], '', signal));
    case 'deleteLink':
    case 'deleteAddresses': {
      const linkIndex = await proxyLinkIndex(links);
      if (linkIndex === undefined) return null;
      const changes: readonly Change[] =
        op.op === 'deleteLink'
          ? [{ change: 'deleteLink', linkIndex }]
          : op.addresses.map((address) => ({ change: 'deleteAddress', linkIndex, address }));
      return (await changeAll(links, changes)).join(', ') || null;
    }
    default:
      return unreachable(op);
  }
}

/**
 * One by one, out and in with one system call: kube-proxy takes an address that it sees on its own link and on another
 * for one that is to go from its own, so that none must ever be on both.
 */
async function moveAddresses(links: ProxyLinks, from: string, addresses: readonly IpAddress[]) {
  const known = await links.links();
  const source = known.find(({ name }) => name === from);
  const target = await proxyLinkIndex(links);
  if (!source || target === undefined) return [`no link ${source ? KUBE_PROXY_LINK : from}`];
  return changeAll(
    links,
    addresses.flatMap((address) => [
      { change: 'deleteAddress', linkIndex: source.index, address } as const,
      { change: 'addAddress', linkIndex: target, address } as const,
    ]),
  );
}

/** @returns the errors, by name of the errno */
async function changeAll(links: ProxyLinks, changes: readonly Change[]): Promise<readonly string[]> {
  const codes: string[] = [];
  for (let start = 0; start < changes.length; start += BATCH) {
    for (const answer of await links.change(changes.slice(start, start + BATCH))) {
      if (answer.outcome === 'refused') codes.push(answer.code);
    }
  }
  return codes;
}

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function failureOf(ended: Ended | 'missing'): string | null {
  if (ended === 'missing') return 'the program is not there';
  return ended.code === 0 ? null : ended.stderr || `exit code ${ended.code}`;
}

/** Runs a program of the host to its end; standard error as one line. */
function run(command: readonly string[], input: string, signal: AbortSignal): Promise<Ended | 'missing'> {
  const [file = '', ...args] = command;
  const PATH = `${process.env.PATH ?? ''}:/usr/sbin:/sbin`;
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { env: { ...process.env, PATH, LC_ALL: 'C' }, signal });
    const read = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (text: string) => {
        read[name] += text;
      });
    }
    child.once('error', (error) => {
      if ('code' in error && error.code === 'ENOENT') resolve('missing');
      else reject(error);
    });
    child.once('close', (code) => {
      resolve({ code, stdout: read.stdout, stderr: read.stderr.trim().replaceAll(/\s*\n\s*/g, '; ') });
    });
    // A program that ends early has no use for its input.
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
  });
}
