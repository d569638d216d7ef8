import type { EndpointPortFacts, EndpointSliceFacts, ServiceFacts } from './facts.ts';

/** What is known can be forgotten at any time: more than this many texts and lists are mostly of objects long gone. */
const MAX_KNOWN = 100_000;

/**
 * One copy of what many facts say alike: names of namespaces, nodes and Services, ports and hints. Each object that is
 * parsed brings its own, which at 50,000 endpoints are 10 MB. Lists are copied, for one that was built up has room for
 * 16 entries more: 130 bytes that facts would keep for ever.
 */
export class Interner {
  readonly #texts = new Map<string, string>();
  readonly #lists = new Map<string, readonly string[]>();
  readonly #ports = new Map<string, readonly EndpointPortFacts[]>();

  slice(slice: EndpointSliceFacts): EndpointSliceFacts {
    return {
      ...slice,
      service: this.#text(slice.service),
      ports: known(this.#ports, textOf(slice.ports), slice.ports.slice()),
      endpoints: slice.endpoints.map((endpoint) => ({
        ...endpoint,
        nodeName: endpoint.nodeName === null ? null : this.#text(endpoint.nodeName),
        nodeHints: this.#list(endpoint.nodeHints),
        zoneHints: this.#list(endpoint.zoneHints),
      })),
    };
  }

  service(service: ServiceFacts): ServiceFacts {
    return {
      ...service,
      namespace: this.#text(service.namespace),
      clusterIPs: service.clusterIPs.slice(),
      ports: service.ports.slice(),
    };
  }

  #text(text: string): string {
    return known(this.#texts, text, text);
  }

  #list(list: readonly string[] | null): readonly string[] | null {
    // Names have no line breaks.
    return list === null ? null : known(this.#lists, list.join('\n'), list);
  }
}

/** Names have neither blanks nor line breaks. */
function textOf(ports: readonly EndpointPortFacts[]): string {
  return ports.map(({ name, protocol, port }) => `${name} ${protocol} ${port}`).join('\n');
}

function known<T>(all: Map<string, T>, key: string, value: T): T {
  const present = all.get(key);
  if (present !== undefined) return present;
  if (all.size >= MAX_KNOWN) all.clear();
  all.set(key, value);
  return value;
}
