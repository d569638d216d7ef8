import { describe, expect, it } from 'vitest';
import { servedFrontends } from '../../../src/dataplane/ipvs/served.ts';
import { real, row, rows } from './build.ts';

const WEB = 'TCP 10.96.0.50:80';
const LOCAL = 'TCP 203.0.113.9:80';
const MARK = 'FWM4 1392508929';
const A = '10.1.0.1:80';
const B = '10.1.0.2:80';

describe('servedFrontends()', () => {
  const observed = rows([
    row(WEB, { realServers: [real(B), real(A, { weight: 3 })] }),
    row(LOCAL, { realServers: [real(A, { weight: 0, activeConnections: 1 })] }),
    row(MARK, { frontend: LOCAL, realServers: [real(B)] }),
    row('TCP 10.96.0.51:80', { realServers: [real(A, { weight: 0 })] }),
    row('TCP 10.96.0.52:80', { owner: 'foreign', realServers: [real(A)] }),
    row('TCP 10.96.0.53:80'),
  ]);
  const served = servedFrontends(observed);

  it('are those of ours that send new clients somewhere, be it only those inside', () => {
    const has = [...observed.virtualServers.keys()].filter((key) => served.has(key));
    expect(has).toEqual([WEB, LOCAL]);
  });

  it('have the endpoints that take new clients, sorted, and apart those of inside clients', () => {
    const of = (frontend: string) => {
      const [key] = [...observed.virtualServers.keys()].filter((each) => each === frontend);
      const { realServers, inside } = served.endpoints(key ?? expect.unreachable());
      const texts = (each: typeof inside) =>
        each.map(({ address, port, weight }) => `${address}:${port} ${weight}`);
      return [texts(realServers), texts(inside)];
    };
    expect(of(WEB)).toEqual([['10.1.0.1:80 3', '10.1.0.2:80 1'], []]);
    expect(of(LOCAL)).toEqual([[], ['10.1.0.2:80 1']]);
  });
});
