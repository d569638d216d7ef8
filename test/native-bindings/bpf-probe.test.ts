import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  probeBatches,
  probeBpf,
  probeLinks,
  probeSetRetval,
  probeSockAddrPrograms,
  probeSocketStorage,
} from '../../native-bindings/bpf-probe.ts';
import { probeEndingUdpSockets } from '../../native-bindings/socket-diagnosis-probe.ts';
import { needsBpf } from './bpf-environment.ts';

const PROBES = {
  probeBpf,
  probeSockAddrPrograms,
  probeSetRetval,
  probeSocketStorage,
  probeBatches,
  probeLinks,
  probeEndingUdpSockets,
};

/** What all probes say in a process that has only these capabilities. */
function probesWith(capabilities: readonly string[]): Readonly<Record<string, unknown>> {
  const directory = join(import.meta.dirname, '../../native-bindings');
  const names = Object.keys(PROBES).join(', ');
  const script =
    `import * as a from '${directory}/bpf-probe.ts'; import * as b from '${directory}/socket-diagnosis-probe.ts';` +
    `const { ${names} } = { ...a, ...b }; const all = { ${names} };` +
    'console.log(JSON.stringify(Object.fromEntries(Object.entries(all).map(([n, p]) => [n, p()]))));';
  const kept = ['-all', ...capabilities.map((name) => `+${name}`)].join(',');
  const drop = ['--bounding-set', kept, '--inh-caps', kept];
  const { stdout, stderr } = spawnSync(
    'setpriv',
    [...drop, process.execPath, '--input-type=module', '-e', script],
    { encoding: 'utf8' },
  );
  if (stdout === '') throw new Error(stderr);
  return JSON.parse(stdout);
}

describe('probes of BPF', needsBpf(), () => {
  test.each(Object.entries(PROBES))('%s() is conclusive where there is the privilege', (_, probe) => {
    expect(['supported', 'unsupported']).toContain(probe().outcome);
  });

  test.each([
    { held: [], reason: 'the process lacks CAP_BPF and CAP_NET_ADMIN' },
    { held: ['net_admin'], reason: 'the process lacks CAP_BPF' },
    { held: ['bpf'], reason: 'the process lacks CAP_NET_ADMIN' },
  ])('name what is missing with $held, and conclude nothing else of the kernel', ({ held, reason }) => {
    const { probeBpf: first, probeEndingUdpSockets: _, ...features } = probesWith(held);
    expect(first).toEqual({ outcome: 'unsupported', reason });
    for (const [name, probe] of Object.entries(features)) {
      // Links are looked for before privileges are.
      expect([name, probe]).not.toEqual([name, expect.objectContaining({ outcome: 'unsupported' })]);
    }
  });

  test('are all supported with CAP_BPF and CAP_NET_ADMIN alone, where they are with all', () => {
    const all = Object.fromEntries(Object.entries(PROBES).map(([name, probe]) => [name, probe().outcome]));
    const few = Object.fromEntries(
      Object.entries(probesWith(['bpf', 'net_admin'])).map(([name, probe]) => [
        name,
        probe && typeof probe === 'object' && 'outcome' in probe ? probe.outcome : probe,
      ]),
    );
    expect(few).toEqual(all);
  });
});
