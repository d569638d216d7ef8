import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { drainKey, EMPTY_LEDGER, type Ledger, type LedgerOrigin } from '../../src/dataplane/ledger.ts';
import { formatLedger, parseLedger } from '../../src/dataplane/ledger-file.ts';
import {
  currentKernel,
  LedgerReadError,
  LedgerWriteError,
  lockNode,
  NodeLockedError,
  openLedgerStore,
} from '../../src/dataplane/ledger-store.ts';
import { type IpAddress, parseIpAddress } from '../../src/model/address.ts';
import { parsePort } from '../../src/model/port.ts';
import { realServerKey, virtualServerKey } from '../../src/model/virtual-server.ts';

const KERNEL = { bootId: 'boot-1', networkNamespace: 'net:[1]' };

let directory: string;
let path: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'svcplane-ledger-'));
  path = join(directory, 'ledger.json');
});

afterEach(() => rmSync(directory, { recursive: true }));

const ip = (text: string): IpAddress => {
  const address = parseIpAddress(text);
  if (!address) throw new RangeError(text);
  return address;
};

const PORT = parsePort(80) ?? expect.unreachable();
const KEY = virtualServerKey({ kind: 'address', address: ip('10.96.0.50'), port: PORT, protocol: 'TCP' });

const MARK = virtualServerKey({ kind: 'firewallMark', family: 'IPv4', firewallMark: 17 });
const ORIGIN: LedgerOrigin = {
  service: 'web/front',
  servicePort: '',
  exposure: 'LoadBalancer',
  frontend: null,
  drainTimeoutSeconds: null,
};

const REAL = realServerKey({ address: ip('10.244.1.20'), port: 8080 });
const DRAIN = drainKey(KEY, REAL);

const LEDGER: Ledger = {
  virtualServers: new Map([
    [MARK, { ...ORIGIN, frontend: KEY }],
    [KEY, { ...ORIGIN, drainTimeoutSeconds: 90 }],
  ]),
  drains: new Map([
    [DRAIN, { startedAtMs: 1_700_000_000_000, timeoutSeconds: 90 }],
    [drainKey(MARK, REAL), { startedAtMs: 1_700_000_000_001, timeoutSeconds: null }],
  ]),
  staleFlows: new Set([KEY]),
  addresses: new Set([ip('10.96.0.50'), ip('fd00::50')]),
  routes: new Set(['10.96.0.0/16']),
  links: new Set(['svcplane0']),
  sysctls: new Map([['net.ipv4.vs.conntrack', { before: '0', set: '1' }]]),
  syncDaemons: new Map([['backup', { interface: 'eth0', id: 83, linkIndex: 2 }]]),
};

const holding = (address: string) => (ledger: Ledger) => ({ ...ledger, addresses: new Set([ip(address)]) });

describe('openLedgerStore()', () => {
  test('reads back what another process wrote, all fields', () => {
    openLedgerStore(directory, KERNEL).update(() => LEDGER);
    const store = openLedgerStore(directory, KERNEL);
    expect(store.read()).toEqual(LEDGER);
    expect(store.notes).toEqual([]);
  });

  test('reads what was written before there were firewall marks, stale flows, timeouts of Services and daemons', () => {
    const { frontend: _, drainTimeoutSeconds: __, ...origin } = ORIGIN;
    const {
      staleFlows: ___,
      syncDaemons: ____,
      ...old
    } = JSON.parse(formatLedger({ ...KERNEL, ledger: EMPTY_LEDGER }));
    const text = JSON.stringify({ ...old, virtualServers: { [KEY]: origin }, drains: { [DRAIN]: 7 } });
    expect(parseLedger(text).ledger).toEqual({
      ...EMPTY_LEDGER,
      virtualServers: new Map([[KEY, ORIGIN]]),
      drains: new Map([[DRAIN, { startedAtMs: 7, timeoutSeconds: null }]]),
    });
  });

  test('reads as empty where there is no directory, and makes none', () => {
    const missing = join(directory, 'not', 'there');
    const store = openLedgerStore(missing, KERNEL);
    expect(store.read()).toBe(EMPTY_LEDGER);
    expect(store.notes).toEqual([]);
    expect(existsSync(join(directory, 'not'))).toBe(false);
  });

  test('makes the directory at the first update', () => {
    const missing = join(directory, 'not', 'there');
    openLedgerStore(missing, KERNEL).update(holding('10.96.0.1'));
    expect(openLedgerStore(missing, KERNEL).read().addresses).toEqual(new Set(['10.96.0.1']));
  });

  test('writes nothing if the change returns its argument', () => {
    openLedgerStore(join(directory, 'sub'), KERNEL).update((ledger) => ledger);
    expect(readdirSync(directory)).toEqual([]);
  });

  test.each([
    { name: 'boot', kernel: { ...KERNEL, bootId: 'boot-2' }, note: /of another boot \(boot-1\)/ },
    {
      name: 'network namespace',
      kernel: { ...KERNEL, networkNamespace: 'net:[2]' },
      note: /of another network namespace \(net:\[1\]\)/,
    },
  ])('reads as empty what was written in another $name, and says so', ({ kernel, note }) => {
    openLedgerStore(directory, KERNEL).update(() => LEDGER);
    const store = openLedgerStore(directory, kernel);
    expect(store.read()).toBe(EMPTY_LEDGER);
    expect(store.notes).toEqual([expect.stringMatching(note)]);
    store.update(holding('10.96.0.9'));
    expect(openLedgerStore(directory, kernel).read().addresses).toEqual(new Set(['10.96.0.9']));
  });

  test('keeps the ledger of another network namespace aside', () => {
    openLedgerStore(directory, KERNEL).update(() => LEDGER);
    openLedgerStore(directory, { ...KERNEL, networkNamespace: 'net:[2]' }).update(holding('10.96.0.9'));
    const kept = parseLedger(readFileSync(`${path}.other-1`, 'utf8'));
    expect(kept).toMatchObject({ networkNamespace: 'net:[1]', ledger: LEDGER });
  });

  test('refuses a file that is there and cannot be read: what is ours would count as foreign', () => {
    mkdirSync(path);
    expect(() => openLedgerStore(directory, KERNEL)).toThrow(LedgerReadError);
    expect(() => openLedgerStore(directory, KERNEL)).toThrow(`Cannot read the ledger ${path}: EISDIR: `);
  });

  test.each([
    {
      name: 'half a document',
      text: formatLedger({ ...KERNEL, ledger: LEDGER }).slice(0, 200),
      note: /JSON/,
    },
    { name: 'nothing', text: '', note: /JSON/ },
    {
      name: 'a wrong address',
      text: formatLedger({ ...KERNEL, ledger: LEDGER }).replace('"fd00::50"', '"fd00::g"'),
      note: /addresses\.1: "fd00::g" is no IP address/,
    },
    {
      name: 'a frontend that is a mark',
      text: formatLedger({ ...KERNEL, ledger: LEDGER }).replace(
        `"frontend": "${KEY}"`,
        '"frontend": "FWM4 17"',
      ),
      note: /frontend: "FWM4 17" is no frontend/,
    },
    { name: 'a later version', text: '{"version": 2}', note: /version/ },
  ])('reads $name as empty, with a note, and keeps the file aside at the first update', ({ text, note }) => {
    writeFileSync(path, text);
    writeFileSync(`${path}.broken-1`, 'an older one');
    const store = openLedgerStore(directory, KERNEL);
    expect(store.read()).toBe(EMPTY_LEDGER);
    expect(store.notes).toEqual([expect.stringMatching(note)]);
    expect(store.notes[0]).not.toContain('\n');
    expect(readdirSync(directory)).toEqual(['ledger.json', 'ledger.json.broken-1']);
    store.update(holding('10.96.0.1'));
    store.update(holding('10.96.0.2'));
    expect(readFileSync(`${path}.broken-2`, 'utf8')).toBe(text);
    expect(readFileSync(`${path}.broken-1`, 'utf8')).toBe('an older one');
    expect(readdirSync(directory)).toEqual(['ledger.json', 'ledger.json.broken-1', 'ledger.json.broken-2']);
    expect(openLedgerStore(directory, KERNEL).read().addresses).toEqual(new Set(['10.96.0.2']));
  });

  test('takes the old ledger if the writer was killed before its rename, and overwrites what it left', () => {
    openLedgerStore(directory, KERNEL).update(() => LEDGER);
    writeFileSync(`${path}.tmp`, '{"version": 1, "boo');
    const store = openLedgerStore(directory, KERNEL);
    expect(store.read()).toEqual(LEDGER);
    store.update(holding('10.96.0.1'));
    expect(readdirSync(directory)).toEqual(['ledger.json']);
    expect(openLedgerStore(directory, KERNEL).read().addresses).toEqual(new Set(['10.96.0.1']));
  });

  test('throws one error that says what, where and the fix, and keeps the old ledger', () => {
    const file = join(directory, 'file');
    writeFileSync(file, '');
    const store = openLedgerStore(join(file, 'state'), KERNEL);
    const write = () => store.update(holding('10.96.0.1'));
    expect(write).toThrow(LedgerWriteError);
    expect(write).toThrow(`Cannot write the ledger ${file}/state/ledger.json: ENOTDIR: `);
    expect(write).toThrow('--state-directory');
    expect(store.read()).toBe(EMPTY_LEDGER);
  });
});

describe('formatLedger()', () => {
  test('gives the same text whatever the order of entries, which parseLedger() reads back', () => {
    const pairs = fc.uniqueArray(
      fc.tuple(fc.stringMatching(/^net\.[a-z_.]{1,12}$/), fc.string(), fc.string()),
      {
        selector: ([key]) => key,
      },
    );
    fc.assert(
      fc.property(pairs, (rows) => {
        const ledgerOf = (entries: typeof rows): Ledger => ({
          ...EMPTY_LEDGER,
          sysctls: new Map(entries.map(([key, before, set]) => [key, { before, set }])),
          links: new Set(entries.map(([key]) => key)),
        });
        const text = formatLedger({ ...KERNEL, ledger: ledgerOf(rows) });
        expect(formatLedger({ ...KERNEL, ledger: ledgerOf(rows.toReversed()) })).toBe(text);
        expect(parseLedger(text).ledger).toEqual(ledgerOf(rows));
      }),
    );
  });
});

describe('lockNode()', () => {
  const scope = `net:[test-${process.pid}]`;
  const holder = (): string =>
    `const { lockNode } = await import(${JSON.stringify(new URL('../../src/dataplane/ledger-store.ts', import.meta.url))});` +
    `globalThis.lock = await lockNode(${JSON.stringify(scope)}); console.log('locked');`;

  test('refuses a second holder in one clear line, and frees it when disposed', async () => {
    const first = await lockNode(scope);
    await expect(lockNode(scope)).rejects.toThrow(NodeLockedError);
    await expect(lockNode(scope)).rejects.toThrow(/^Cannot change this node: another svcplane .*ss -xlp.*$/);
    await first[Symbol.asyncDispose]();
    await first[Symbol.asyncDispose]();
    await using second = await lockNode(scope);
    expect(second).toBeDefined();
  });

  test('is freed by the kernel when its holder is killed', async () => {
    const child = spawn(process.execPath, [
      '--input-type=module',
      '-e',
      `${holder()} setInterval(() => {}, 1000);`,
    ]);
    await once(child.stdout, 'data');
    await expect(lockNode(scope)).rejects.toThrow(NodeLockedError);
    child.kill('SIGKILL');
    await once(child, 'exit');
    await using lock = await lockNode(scope);
    expect(lock).toBeDefined();
  });

  test('does not keep its process alive', async () => {
    const child = spawn(process.execPath, ['--input-type=module', '-e', holder()]);
    const [code] = await once(child, 'exit');
    expect(code).toBe(0);
  });
});

describe('currentKernel()', () => {
  test('names this boot and this network namespace', () => {
    expect(currentKernel().bootId).toMatch(/^[0-9a-f-]{36}$/);
    expect(currentKernel().networkNamespace).toMatch(/^net:\[\d+\]$/);
  });
});
