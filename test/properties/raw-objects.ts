/** The API objects the oracle reads, as the API reference has them: any field may be absent or null. */

type Maybe<T> = T | null | undefined;

interface Metadata {
  readonly name: string;
  readonly namespace?: string;
  readonly creationTimestamp?: Maybe<string>;
  readonly labels?: Maybe<Readonly<Record<string, string>>>;
  readonly annotations?: Maybe<Readonly<Record<string, string>>>;
}

interface Named {
  readonly name: string;
}

export interface RawServicePort {
  readonly name?: Maybe<string>;
  readonly protocol?: Maybe<string>;
  readonly port: number;
  readonly targetPort?: Maybe<number | string>;
  readonly nodePort?: Maybe<number>;
}

export interface RawIngress {
  readonly ip?: Maybe<string>;
  readonly hostname?: Maybe<string>;
  readonly ipMode?: Maybe<string>;
}

export interface RawService {
  readonly kind: 'Service';
  readonly metadata: Metadata;
  readonly spec: {
    readonly type?: Maybe<string>;
    readonly clusterIP?: Maybe<string>;
    readonly clusterIPs?: Maybe<readonly string[]>;
    readonly ports?: Maybe<readonly RawServicePort[]>;
    readonly externalIPs?: Maybe<readonly string[]>;
    readonly internalTrafficPolicy?: Maybe<string>;
    readonly externalTrafficPolicy?: Maybe<string>;
    readonly healthCheckNodePort?: Maybe<number>;
    readonly sessionAffinity?: Maybe<string>;
    readonly sessionAffinityConfig?: Maybe<{
      readonly clientIP?: Maybe<{ readonly timeoutSeconds?: Maybe<number> }>;
    }>;
  };
  readonly status?: Maybe<{
    readonly loadBalancer?: Maybe<{ readonly ingress?: Maybe<readonly RawIngress[]> }>;
  }>;
}

export interface RawSliceEndpoint {
  readonly addresses: readonly string[];
  readonly conditions?: Maybe<{
    readonly ready?: Maybe<boolean>;
    readonly serving?: Maybe<boolean>;
    readonly terminating?: Maybe<boolean>;
  }>;
  readonly nodeName?: Maybe<string>;
  readonly hints?: Maybe<{
    readonly forZones?: Maybe<readonly Named[]>;
    readonly forNodes?: Maybe<readonly Named[]>;
  }>;
}

export interface RawSlice {
  readonly kind: 'EndpointSlice';
  readonly metadata: Metadata;
  readonly addressType: string;
  readonly ports?: Maybe<readonly RawPort[]>;
  readonly endpoints?: Maybe<readonly RawSliceEndpoint[]>;
}

export interface RawPort {
  readonly name?: Maybe<string>;
  readonly protocol?: Maybe<string>;
  readonly port?: Maybe<number>;
}

interface RawEndpointAddress {
  readonly ip: string;
  readonly nodeName?: Maybe<string>;
}

export interface RawSubset {
  readonly addresses?: Maybe<readonly RawEndpointAddress[]>;
  readonly notReadyAddresses?: Maybe<readonly RawEndpointAddress[]>;
  readonly ports?: Maybe<readonly RawPort[]>;
}

export interface RawEndpoints {
  readonly kind: 'Endpoints';
  readonly metadata: Metadata;
  readonly subsets?: Maybe<readonly RawSubset[]>;
}

export interface RawNode {
  readonly kind: 'Node';
  readonly metadata: Metadata;
  readonly status?: Maybe<{
    readonly addresses?: Maybe<readonly { readonly type: string; readonly address: string }[]>;
  }>;
}

export interface RawServiceCidr {
  readonly kind: 'ServiceCIDR';
  readonly metadata: Metadata;
  readonly spec: { readonly cidrs: readonly string[] };
}

export type RawApiObject = RawService | RawSlice | RawEndpoints | RawNode | RawServiceCidr;
