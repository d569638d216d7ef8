import { keyOf, type ServiceRow } from '../../../src/dataplane/socklb/rows.ts';
import { parseVirtualServerKey, type RealServerKey } from '../../../src/model/virtual-server.ts';

/** The inverse of serviceText(): `TCP 10.96.0.50:80 random affinity 10800 10.244.1.20:8080 weight 2`. */
export function parseSocketLine(line: string): ServiceRow {
  const [, frontendText = '', algorithm, affinity = '0', rest = ''] =
    /^(\S+ \S+) (random|maglev)(?: affinity (\d+))?(.*)$/.exec(line) ?? [];
  const frontend = endpointOf(frontendText);
  const servers = [...rest.matchAll(/ (\S+:\d+)(?: weight (\d+))?/g)].map(([, text = '', weight = '1']) => {
    const { address, port } = endpointOf(`TCP ${text}`);
    return [text as RealServerKey, { address, port, weight: Number(weight), id: null }] as const;
  });
  return {
    ...frontend,
    key: keyOf(frontend),
    algorithm: algorithm === 'maglev' ? 'maglev' : 'random',
    affinitySeconds: Number(affinity),
    backends: new Map(servers),
    place: null,
    fault: null,
    reason: 'Service web/front port http',
  };
}

function endpointOf(text: string) {
  const identity = parseVirtualServerKey(text);
  if (identity?.kind !== 'address' || identity.protocol === 'SCTP')
    throw new SyntaxError(`no frontend: ${text}`);
  const { address, port, protocol } = identity;
  return { address, port, protocol };
}
