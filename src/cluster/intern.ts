import type { EndpointSliceFacts, ServiceFacts } from './facts.ts';

/** What is known can be forgotten at any time: more than this many texts and lists are mostly of objects long gone. */
const MAX_KNOWN = 100_000;

/**
 * One copy of what many facts say alike: names of namespaces, nodes and Services, and hints. Each object that is
 * parsed brings its own, which at 50,000 endpoints are 10 MB.
 */
export class Interner {
  readonly #texts = new Map<string, string>();
  readonly #lists = new Map<string, readonly string[]>();

  slice(slice: EndpointSliceFacts): EndpointSliceFacts {
    return {
      ...slice,
      service: this.#text(slice.service),
      endpoints: slice.endpoints.map((endpoint) => ({
        ...endpoint,
        nodeName: endpoint.nodeName === null ? null : this.#text(endpoint.nodeName),
        nodeHints: this.#list(endpoint.nodeHints),
        zoneHints: this.#list(endpoint.zoneHints),
      })),
    };
  }

  service(service: ServiceFacts): ServiceFacts {
    return { ...service, namespace: this.#text(service.namespace) };
  }

  #text(text: string): string {
    return known(this.#texts, text, text);
  }

  #list(list: readonly string[] | null): readonly string[] | null {
    // Names have no line breaks.
    return list === null ? null : known(this.#lists, list.join('\n'), list);
  }
}

function known<T>(all: Map<string, T>, key: string, value: T): T {
  const present = all.get(key);
  if (present !== undefined) return present;
  if (all.size >= MAX_KNOWN) all.clear();
  all.set(key, value);
  return value;
}
