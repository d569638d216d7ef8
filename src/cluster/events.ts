import { createHash } from 'node:crypto';
import type { Rejected } from '../model/rejected.ts';
import { MATTERS_OF_COURSE } from './decode-service.ts';

/** What an Event is about. A Service has a namespace, a Node has none. */
export type EventSubject =
  | { readonly kind: 'Service'; readonly namespace: string; readonly name: string }
  | { readonly kind: 'Node'; readonly name: string };

/** Something that whoever looks at an object should know. */
export interface Occurrence {
  readonly subject: EventSubject;
  readonly type: 'Normal' | 'Warning';
  /** In camel case, for machines. */
  readonly reason: string;
  /** What was being done, in camel case. */
  readonly action: string;
  /** For people. */
  readonly note: string;
  /** Whether every node would say the same of it, so that once is enough. */
  readonly isShared: boolean;
}

/** An Event as events.k8s.io/v1 has it. */
export interface EventObject {
  readonly apiVersion: 'events.k8s.io/v1';
  readonly kind: 'Event';
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly eventTime: string;
  readonly reportingController: string;
  readonly reportingInstance: string;
  readonly type: string;
  readonly reason: string;
  readonly action: string;
  readonly note: string;
  readonly regarding: {
    readonly apiVersion: 'v1';
    readonly kind: string;
    readonly namespace?: string;
    readonly name: string;
    readonly uid?: string;
  };
}

/** Name of ours in Events, which `kubectl describe` shows as From. */
const CONTROLLER = 'svcplane';

/** Events about what has no namespace are in this one. @see pkg/apis/core/validation/events.go */
const NODE_NAMESPACE = 'default';

/** In bytes; the API server refuses longer ones. @see NoteLengthLimit in pkg/apis/core/validation/events.go */
const MAX_NOTE_BYTES = 1024;

/** An object's name may have 253 characters, and a dot and 16 digits are ours. */
const MAX_NAME_LENGTH = 236;

/** The daemon has been started on this node. */
export function started(node: string): Occurrence {
  const subject = { kind: 'Node', name: node } as const;
  const note = 'svcplane serves Services on this node';
  return { subject, type: 'Normal', reason: 'Starting', action: 'StartSvcplane', note, isShared: false };
}

/**
 * One for each rejected Service and reason, but for matters of course; what is wrong with other objects has nobody to be
 * told.
 */
export function rejectedServices(rejected: readonly Rejected[]): readonly Occurrence[] {
  return rejected.flatMap(({ subject, reason }) => {
    const [, namespace, name] = /^Service ([^/\s]+)\/([^/\s:]+)$/.exec(subject) ?? [];
    if (namespace === undefined || name === undefined || MATTERS_OF_COURSE.has(reason)) return [];
    return {
      subject: { kind: 'Service', namespace, name },
      type: 'Warning',
      reason: 'SvcplaneRejected',
      action: 'SyncServices',
      note: reason,
      isShared: true,
    } as const;
  });
}

/**
 * The guard holds a sync.
 * @param detail what would be deleted, and how to let it: one line
 */
export function guardHeld(node: string, detail: string): Occurrence {
  return warningOfNode(node, 'SvcplaneGuardHeld', 'SyncServices', detail);
}

/** A port of svcplane itself can't be had. @param detail one line that names the address and the problem */
export function portTaken(node: string, port: 'health' | 'metrics', detail: string): Occurrence {
  const reason = port === 'health' ? 'FailedToStartProxierHealthcheck' : 'FailedToStartMetricServer';
  return warningOfNode(node, reason, 'StartSvcplane', detail);
}

/**
 * The healthCheckNodePort of a Service can't be had on this node.
 * @param service as `namespace/name`
 * @param detail one line that names the port and the problem
 */
export function healthCheckPortTaken(service: string, detail: string): Occurrence {
  const [namespace = '', name = ''] = service.split('/');
  return {
    subject: { kind: 'Service', namespace, name },
    type: 'Warning',
    reason: 'FailedToStartServiceHealthcheck',
    action: 'Listen',
    note: detail,
    isShared: false,
  };
}

function warningOfNode(node: string, reason: string, action: string, note: string): Occurrence {
  return { subject: { kind: 'Node', name: node }, type: 'Warning', reason, action, note, isShared: false };
}

/** The same for everything that is the same to whoever looks: it is one Event, however often it occurs. */
export function occurrenceKey({ subject, reason, note }: Occurrence): string {
  return `${subjectKey(subject)} ${reason} ${note}`;
}

/** What a Service or Node may be told by one reason is limited: the same key, the same limit. */
export function limitKey({ subject, reason }: Occurrence): string {
  return `${subjectKey(subject)} ${reason}`;
}

function subjectKey(subject: EventSubject): string {
  return subject.kind === 'Service' ? `Service ${subject.namespace}/${subject.name}` : `Node ${subject.name}`;
}

/**
 * The Event of an occurrence. The name of one that all nodes would tell is the same on all of them, so that the API
 * server takes only the first.
 * @param node which svcplane tells it
 * @param uid of the subject, by which `kubectl describe` looks; "" if unknown. Not used for a Node: there it is the
 *   name, as the kubelet does it
 */
export function eventOf(occurrence: Occurrence, node: string, uid: string, nowMs: number): EventObject {
  const { subject, type, reason, action, isShared } = occurrence;
  const namespace = subject.kind === 'Service' ? subject.namespace : NODE_NAMESPACE;
  const identity = isShared ? [uid] : [node, String(nowMs)];
  const hash = createHash('sha256').update(JSON.stringify([occurrenceKey(occurrence), ...identity]));
  const regarding =
    subject.kind === 'Node'
      ? { kind: 'Node', name: subject.name, uid: subject.name }
      : { ...subject, ...(uid === '' ? {} : { uid }) };
  const prefix = subject.name.slice(0, MAX_NAME_LENGTH).replace(/[^a-z0-9]+$/, '');
  return {
    apiVersion: 'events.k8s.io/v1',
    kind: 'Event',
    metadata: {
      name: `${prefix}.${hash.digest('hex').slice(0, 16)}`,
      namespace,
    },
    eventTime: microTime(nowMs),
    reportingController: CONTROLLER,
    reportingInstance: node.slice(0, 128),
    type,
    reason,
    action,
    note: withinBytes(occurrence.note, MAX_NOTE_BYTES),
    regarding: { apiVersion: 'v1', ...regarding },
  };
}

/** What is changed of an Event that has occurred again. @param count at least 2 */
export function seriesPatch(count: number, nowMs: number): object {
  return { series: { count, lastObservedTime: microTime(nowMs) } };
}

/** Exactly six digits, as Go's MicroTime demands. */
function microTime(ms: number): string {
  return new Date(ms).toISOString().replace('Z', '000Z');
}

function withinBytes(text: string, limit: number): string {
  const bytes = Buffer.from(text);
  if (bytes.length <= limit) return text;
  // An ellipsis takes three bytes, and a letter that is cut in two becomes a replacement of three.
  return `${bytes.toString('utf8', 0, limit - 6).replace(/\ufffd$/, '')}…`;
}
