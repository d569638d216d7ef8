import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createNamespace, type NetworkNamespace, run } from '../../kernel/probe.ts';
import { needsBpf } from '../../native-bindings/bpf-environment.ts';
import { SocketGround } from './ground.ts';
import { TrafficProcesses } from './traffic.ts';
import { makeTrouble, type TroubleSize } from './trouble.ts';

const FRONTEND = '10.96.0.50:80';
const ADDRESSES = ['10.244.1.20', '10.244.1.21', '10.244.1.22'];
const PORT = 8080;
/** Four processes are started one after the other, beside one that takes all the time that it can get. */
const TIMEOUT_MS = 600_000;
const isWhole = process.env.SVCPLANE_TROUBLE === 'all';
const SIZE: TroubleSize = isWhole
  ? { changes: 10_000, kills: 10, replacesEvery: 100 }
  : { changes: 120, kills: 2, replacesEvery: 20 };

describe('a client that connects without pause', needsBpf(), () => {
  let ground: SocketGround;
  let namespace: NetworkNamespace;

  beforeAll(() => {
    ground = SocketGround.make();
    namespace = createNamespace('trouble');
    for (const address of ADDRESSES) {
      run(['ip', '-n', namespace.name, 'address', 'add', `${address}/32`, 'dev', 'lo']);
    }
  });

  afterAll(() => {
    namespace?.[Symbol.dispose]();
    ground?.[Symbol.dispose]();
  });

  it(
    'never fails while endpoints change, the daemon is killed and restarted, and programs are replaced',
    async () => {
      await using processes = new TrafficProcesses(null);
      await processes.serve(namespace.name, 'connect', PORT);
      const client = await processes.client();
      const endpoints = ADDRESSES.map((address) => `${address}:${PORT}`);
      const service = { frontend: FRONTEND, endpoints };
      const report = await makeTrouble(client, ground.place('trouble'), namespace.name, service, SIZE);
      console.log(`trouble: ${JSON.stringify(report)}`);
      expect([report.failed, report.leftOver]).toEqual([{}, []]);
      expect(report.changes).toBeGreaterThanOrEqual(SIZE.changes);
      // Each life begins with another version of the programs than the one before had.
      expect(report.replaced).toBeGreaterThan(SIZE.kills);
      expect(report.connects).toBeGreaterThan(SIZE.changes);
    },
    TIMEOUT_MS,
  );
});
