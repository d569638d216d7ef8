import type { IpAddress } from '../../model/address.ts';
import { unreachable } from '../../model/brand.ts';
import { formatEndpoint } from '../../model/virtual-server.ts';
import type { Operation, OpOf } from '../dataplane.ts';
import type { FrontendKey } from './layout.ts';
import type { LeftElement } from './remains.ts';
import { keyOf, type ServicePlace, type SocketAlgorithm, type SocketSwitch, switchText } from './rows.ts';

/** A backend as it is to be. */
export interface PlannedBackend {
  readonly id: number;
  readonly address: IpAddress;
  /** Host order. */
  readonly port: number;
  /** How many slots lead to it; 0: it takes no new connections. */
  readonly weight: number;
  /** Whether its element has to be written: it is new, or begins or ends to take connections. */
  readonly isWritten: boolean;
}

/** A frontend as it is to be, with its place. */
export interface PlannedService extends ServicePlace {
  readonly algorithm: SocketAlgorithm;
  /** 0 without affinity. */
  readonly affinitySeconds: number;
  /** By address, then port; slots are given in this order. */
  readonly backends: readonly PlannedBackend[];
}

/**
 * Every change this dataplane makes, by name, with its arguments. A frontend is written from its backends to itself:
 * whoever finds it finds all of it.
 */
export interface SocklbOps {
  addSocketService: { readonly frontend: FrontendKey; readonly service: PlannedService };
  setSocketService: {
    readonly frontend: FrontendKey;
    readonly service: PlannedService;
    /** What the frontend does not lead to any more. */
    readonly leaves: readonly LeftElement[];
  };
  deleteSocketService: { readonly frontend: FrontendKey; readonly leaves: readonly LeftElement[] };
  /** One of lb_svc that no Service can have. @property key its bytes in hexadecimal */
  deleteSocketEntry: { readonly key: string };
  deleteSocketSlots: {
    readonly serviceId: number;
    readonly generation: number;
    readonly slots: readonly number[];
  };
  deleteSocketTable: { readonly serviceId: number };
  /** Ends the UDP sockets that are connected to a backend, then deletes it. @property port host order */
  endSockets: { readonly id: number; readonly address: IpAddress; readonly port: number };
  deleteSocketBackend: { readonly id: number };
  setSocketMode: SocketSwitch;
  addSocketPrograms: object;
  /** The maps go with them. */
  deleteSocketPrograms: object;
}

export type SocklbOp = OpOf<SocklbOps>;

/** The operation of one name. */
export type SocklbOpNamed<Name extends keyof SocklbOps> = Extract<SocklbOp, { readonly op: Name }>;

/** An operation's name with its arguments: all that decides what it does. */
export type SocklbChange = {
  [Name in keyof SocklbOps]: { readonly op: Name } & SocklbOps[Name];
}[keyof SocklbOps];

/** Adds what is shown of a change. */
export function operation(change: SocklbChange, reason: string, detail = detailOf(change)): SocklbOp {
  return { ...change, subject: subjectOf(change), detail, reason };
}

function subjectOf(change: SocklbChange): Operation['subject'] {
  switch (change.op) {
    case 'addSocketService':
    case 'setSocketService':
    case 'deleteSocketService':
      return `socket ${keyOf(change.frontend)}`;
    case 'deleteSocketEntry':
      return `socket entry ${change.key}`;
    case 'deleteSocketSlots':
      return `socket slots ${change.serviceId}/${change.generation}`;
    case 'deleteSocketTable':
      return `socket table ${change.serviceId}`;
    case 'endSockets':
      return `sockets of backend ${change.id}`;
    case 'deleteSocketBackend':
      return `socket backend ${change.id}`;
    case 'setSocketMode':
      return 'socket balancer';
    case 'addSocketPrograms':
    case 'deleteSocketPrograms':
      return 'socket programs';
    default:
      return unreachable(change);
  }
}

function detailOf(change: SocklbChange): Operation['detail'] {
  switch (change.op) {
    case 'addSocketService':
    case 'setSocketService':
      return serviceDetail(change.service);
    case 'setSocketMode':
      return switchText(change.flags);
    default:
      return '';
  }
}

function serviceDetail({ algorithm, affinitySeconds, backends }: PlannedService): string {
  const servers = backends.map(
    ({ address, port, weight }) =>
      `${formatEndpoint(address, port)}${weight === 1 ? '' : ` weight ${weight}`}`,
  );
  return [
    algorithm,
    ...(affinitySeconds > 0 ? [`affinity ${affinitySeconds}`] : []),
    servers.length === 0 ? 'refuses' : servers.join(', '),
  ].join(' ');
}
