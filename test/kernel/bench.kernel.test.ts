import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Machine, Result } from '../../scripts/bench-files/kube-figures.ts';
import { renderReport } from '../../scripts/bench-files/kube-report.ts';
import { insertReport } from '../../scripts/bench-files/page.ts';
import { renderSockets } from '../../scripts/bench-files/sockets-report.ts';
import { needsBpf } from '../native-bindings/bpf-environment.ts';
import { describeWithKube } from './kube/binaries.ts';
import { run, UNLESS_LEFT_OUT } from './probe.ts';

const BENCH = join(import.meta.dirname, '../../scripts/bench-files/kube.ts');
const SCALE = join(import.meta.dirname, '../../scripts/bench-files/scale.ts');
const SOCKETS = join(import.meta.dirname, '../../scripts/bench-files/sockets.ts');
const PAGE = join(import.meta.dirname, '../../docs/performance.md');
const TIMEOUT_MS = 900_000;

// What it measures is nobody's concern here: only that it can, so that it does not rot.
describeWithKube('scripts/bench', ['kube-apiserver', 'kube-proxy'], () => {
  it(
    '--kube --quick fills every row for svcplane and both modes of kube-proxy',
    () => {
      const directory = mkdtempSync(join(tmpdir(), 'svcplane-bench-'));
      try {
        const node = [process.execPath, '--disable-warning=ExperimentalWarning'];
        run(['env', `SVCPLANE_LAB_OUT=${directory}`, ...node, BENCH, '--quick']);
        const lines = readFileSync(join(directory, 'kube.jsonl'), 'utf8').split('\n').filter(Boolean);
        const machine: Machine = JSON.parse(lines[0] ?? '');
        const results = lines.slice(1).map((line): Result => JSON.parse(line));
        expect(results.map(({ failure }) => failure)).toEqual([undefined, undefined, undefined]);
        const report = renderReport(machine, results);
        const measured = results.map(({ figures }) => Object.keys(figures).sort());
        const [ours = []] = measured;
        // Nobody sees a virtual server of nftables mode before its first sync is over.
        expect(measured).toEqual([ours, ours, ours.filter((name) => name !== 'coldTableMs')]);
        // A heading, its underline and a row for each figure.
        expect(report.split('\n').filter((line) => line.startsWith('| '))).toHaveLength(21);
        expect(insertReport(readFileSync(PAGE, 'utf8'), report)).toContain(report);
      } finally {
        rmSync(directory, { recursive: true, force: true });
      }
    },
    TIMEOUT_MS,
  );

  it(
    '--scale sees every change in the kernels in memory',
    () => {
      const options = ['--services', '20', '--rate', '5', '--seconds', '2'];
      const said = run([process.execPath, '--disable-warning=ExperimentalWarning', SCALE, ...options]);
      expect(said).toMatch(/^10 changes in \d+ s, 0 of them not seen in the kernel$/m);
      expect(said).toMatch(/^memory: [\d.]+ MiB resident/m);
      expect(said).toMatch(/^JavaScript heap at the end: [\d.]+ MiB, of which [\d.]+ MiB are the kernels/m);
    },
    TIMEOUT_MS,
  );
});

describe('scripts/bench --sockets', { ...needsBpf(), ...UNLESS_LEFT_OUT }, () => {
  it(
    '--quick fills every row for every way, and finds no failed connect',
    () => {
      const directory = mkdtempSync(join(tmpdir(), 'svcplane-bench-'));
      try {
        const node = [process.execPath, '--disable-warning=ExperimentalWarning'];
        run(['env', `SVCPLANE_LAB_OUT=${directory}`, ...node, SOCKETS, '--quick']);
        const report = renderSockets(JSON.parse(readFileSync(join(directory, 'sockets.json'), 'utf8')));
        expect(report).toContain('| direct | socket LB | nft DNAT | IPVS | socket LB / nft DNAT |');
        expect(report).not.toContain('NaN');
        expect(report).toContain('no failed connect: met.');
        const page = readFileSync(PAGE, 'utf8');
        for (const options of ['--sockets', '--sockets --lab']) {
          expect(insertReport(page, report, options)).toContain(report);
        }
      } finally {
        rmSync(directory, { recursive: true, force: true });
      }
    },
    TIMEOUT_MS,
  );
});
