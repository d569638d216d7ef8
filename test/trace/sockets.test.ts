import { describe, expect, it } from 'vitest';
import { traceSocket } from '../../src/trace/sockets.ts';
import { wantedOf } from '../dataplane/socklb/build.ts';
import { connectionOf } from './build.ts';

const LINES = [
  'TCP 10.96.0.50:80 random 10.244.1.20:8080 10.244.1.21:8080 weight 0',
  'TCP 10.96.0.51:80 random',
];

describe('traceSocket()', () => {
  it.each([
    {
      name: 'balances a frontend, but not to weight 0',
      to: '10.96.0.50:80',
      verdict: 'balanced 10.244.1.20:8080',
    },
    { name: 'refuses at one without endpoints', to: '10.96.0.51:80', verdict: 'refused' },
    { name: 'leaves other ports alone', to: '10.96.0.50:81', verdict: 'passed' },
    { name: 'leaves other protocols alone', to: '10.96.0.50:80', protocol: 'UDP', verdict: 'passed' },
    { name: 'leaves SCTP alone', to: '10.96.0.50:80', protocol: 'SCTP', verdict: 'passed' },
    { name: 'leaves all alone while off', to: '10.96.0.50:80', mode: 'off', verdict: 'passed' },
    { name: 'serves the node with hostOnly', to: '10.96.0.51:80', mode: 'hostOnly', verdict: 'refused' },
    {
      name: 'leaves pods alone with hostOnly',
      to: '10.96.0.51:80',
      mode: 'hostOnly',
      isPod: true,
      verdict: 'passed',
    },
  ] as const)('$name', ({ to, verdict, ...rest }) => {
    const {
      protocol = 'TCP',
      mode = 'on',
      isPod = false,
    } = { protocol: undefined, mode: undefined, isPod: false, ...rest };
    const traced = traceSocket(wantedOf(LINES, mode), connectionOf(`${protocol} 10.0.0.1 -> ${to}`), isPod);
    expect([traced.verdict, ...traced.candidates].join(' ')).toBe(verdict);
  });

  it('leaves all alone while programs are not attached', () => {
    const rows = { ...wantedOf(LINES), programs: 'absent' } as const;
    expect(traceSocket(rows, connectionOf('TCP 10.0.0.1 -> 10.96.0.50:80'), false).verdict).toBe('passed');
  });
});
