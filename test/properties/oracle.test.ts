import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { desiredOf } from '../derive.ts';
import { type ObjectsCase, objectsCase } from './arbitrary-objects.ts';
import { type OracleState, oracle } from './oracle.ts';

/** Enough to meet every rule often; more by hand: `ORACLE_RUNS=50000 npx vitest run test/properties/oracle`. */
const RUNS = Number(process.env.ORACLE_RUNS ?? 4000);

describe('derive() and the oracle', () => {
  it('agree on every virtual server and bound address of odd but valid objects', () => {
    fc.assert(
      fc.property(objectsCase, (objectsAndOptions) => {
        expect(productState(objectsAndOptions)).toEqual(
          oracle(objectsAndOptions.objects, objectsAndOptions.options),
        );
      }),
      { numRuns: RUNS },
    );
  }, 900_000);
});

/** What the product derives, in the oracle's words. */
function productState({ objects, options }: ObjectsCase): OracleState {
  const { node: _node, nodePortAddresses, ...rest } = options;
  const isPrimary = nodePortAddresses.includes('primary');
  const config = { ...rest, nodePortAddresses: isPrimary ? 'primary' : nodePortAddresses };
  const raw = objects.map((object) => ({ ...object }));
  const virtualServers = [...desiredOf(raw, config).virtualServers.values()];
  const rows = virtualServers.map((server) => ({
    address: server.address,
    port: server.port,
    protocol: server.protocol,
    scheduler: server.scheduler,
    persistenceTimeoutSeconds: server.persistenceTimeoutSeconds,
    exposure: server.exposure,
    service: server.service,
    servicePort: server.servicePort,
    realServers: rendered(server.realServers),
    insideRealServers: server.insideRealServers && rendered(server.insideRealServers),
  }));
  const keyOf = ({ protocol, address, port }: (typeof rows)[number]) => `${protocol} ${address} ${port}`;
  const bound = virtualServers.filter(({ bindAddress }) => bindAddress).map(({ address }) => address);
  return {
    rows: rows.sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1)),
    bound: [...new Set<string>(bound)].sort(),
  };
}

function rendered(
  realServers: readonly { readonly address: string; readonly port: number; readonly weight: number }[],
): string[] {
  return realServers.map(({ address, port, weight }) => `${address} ${port} ${weight}`).sort();
}
