import type { WatchedKind } from './decode-watched.ts';

/** How the objects of a kind are asked for. */
export interface ApiResource {
  readonly path: string;
  /** Selectors: what does not match is not told of, and what no longer matches as if it were deleted. */
  readonly query: Readonly<Record<string, string>>;
  /** Objects per answer of a list. */
  readonly pageSize: number;
  /** Whether there are API servers without this kind. */
  readonly isOptional: boolean;
}

const PAGE_SIZE = 500;
/** A Node has 50 kB, for it lists its images. */
const NODE_PAGE_SIZE = 100;

/** @param nodes whether other Nodes are asked for as well as `nodeName` */
export function resourceOf(kind: WatchedKind, nodeName: string, nodes: 'all' | 'own'): ApiResource {
  switch (kind) {
    case 'Service':
      // Headless ones too: that nothing is done for them is said, which takes to know of them.
      return {
        path: '/api/v1/services',
        query: { labelSelector: '!service.kubernetes.io/service-proxy-name' },
        pageSize: PAGE_SIZE,
        isOptional: false,
      };
    case 'EndpointSlice':
      return {
        path: '/apis/discovery.k8s.io/v1/endpointslices',
        query: { labelSelector: '!service.kubernetes.io/headless' },
        pageSize: PAGE_SIZE,
        isOptional: false,
      };
    case 'Node':
      return {
        path: '/api/v1/nodes',
        query: nodes === 'own' ? { fieldSelector: `metadata.name=${nodeName}` } : {},
        pageSize: NODE_PAGE_SIZE,
        isOptional: false,
      };
    case 'ServiceCIDR':
      return {
        path: '/apis/networking.k8s.io/v1/servicecidrs',
        query: {},
        pageSize: PAGE_SIZE,
        isOptional: true,
      };
  }
}
