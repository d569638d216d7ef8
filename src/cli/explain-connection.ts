import type { Config } from '../config.ts';
import { familyOf, type IpAddress, parseIpAddress } from '../model/address.ts';
import { type Cidr, cidrContains, specialAddress } from '../model/cidr.ts';
import type { DesiredState } from '../model/desired-state.ts';
import { type Port, type Protocol, parsePort, parseProtocol } from '../model/port.ts';
import { compareRejected, type Rejected } from '../model/rejected.ts';
import { formatEndpoint, parseVirtualServerKey, type VirtualServerKey } from '../model/virtual-server.ts';
import { type Candidate, type Connection, type Trace, type TraceRows, trace } from '../trace/trace.ts';
import { type CliContext, EXIT, type ExitCode, UsageError } from './context.ts';
import { loadDesired } from './load-desired.ts';
import type { GivenOptions } from './settings.ts';
import { textOption } from './verb.ts';

/** Whether a connection is asked for: any of its flags. */
export function asksForConnection(given: GivenOptions): boolean {
  return ['src', 'dst', 'port', 'proto', 'inLink'].some((name) => given[name] !== undefined);
}

/** What the command line says of a connection. */
interface Asked {
  readonly source: IpAddress;
  readonly destination: IpAddress;
  readonly protocol: Protocol;
  readonly port: Port;
  readonly incomingLink: string | undefined;
}

/** A connection with what came of it. */
interface Explained {
  readonly connection: Connection;
  readonly client: string;
  readonly trace: Trace;
  readonly rows: TraceRows;
  readonly desired: DesiredState;
  /** What is not served at the destination. */
  readonly rejected: readonly Rejected[];
}

/** Says what happens to one connection on a node that is as the manifests want it. */
export async function explainConnection(
  context: CliContext,
  config: Config,
  given: GivenOptions,
  format: 'text' | 'json',
): Promise<ExitCode> {
  const asked = parseAsked(given);
  const { derivation } = await loadDesired(context, config, []);
  const { desired } = derivation;
  const fromHost = isOfHost(asked.source, desired);
  if (fromHost && asked.incomingLink !== undefined) {
    throw new UsageError(
      `--in-link ${asked.incomingLink}: ${asked.source} is an address of this node, so the connection comes in by no link`,
    );
  }
  const byLink = /^(interfacePrefix|bridge):/.test(config.detectLocal);
  if (byLink && !fromHost && asked.incomingLink === undefined) {
    context.err(
      `note: detectLocal is ${config.detectLocal}: name the link with --in-link; without, the client counts as no pod\n`,
    );
  }
  const rows = context.traceRows(config, desired);
  const connection = { ...asked, fromHost };
  const client = clientOf(connection, desired);
  const rejected = [...desired.rejected, ...context.projectSnapshot(config, desired).rejected]
    .filter(({ reason }) => names(reason, connection.destination))
    .sort(compareRejected);
  const explained = { connection, client, trace: trace(rows, connection), rows, desired, rejected };
  await context.out(format === 'json' ? renderJson(explained) : renderText(explained));
  return EXIT.done;
}

function parseAsked(given: GivenOptions): Asked {
  const need = (name: string): string => {
    const value = textOption(given, name);
    if (value !== undefined) return value;
    throw new UsageError(
      'Cannot explain a connection without --src ADDRESS, --dst ADDRESS and --port NUMBER',
    );
  };
  const address = (name: string): IpAddress => {
    const text = need(name);
    const parsed = parseIpAddress(text);
    if (!parsed) throw new UsageError(`--${name} ${text} is not an IP address`);
    return parsed;
  };
  const source = address('src');
  const destination = address('dst');
  if (familyOf(source) !== familyOf(destination)) {
    throw new UsageError(`--src ${source} and --dst ${destination} are not of one family`);
  }
  const portText = need('port');
  const port = /^\d{1,5}$/.test(portText) ? parsePort(Number(portText)) : undefined;
  if (port === undefined) throw new UsageError(`--port ${portText} is not a port from 1 to 65535`);
  const protocolText = textOption(given, 'proto') ?? 'tcp';
  const protocol = parseProtocol(protocolText.toUpperCase());
  if (!protocol) throw new UsageError(`--proto ${protocolText} is none of tcp, udp, sctp`);
  return { source, destination, protocol, port, incomingLink: textOption(given, 'inLink') };
}

/** Whether a sentence has the address as a word of its own, a port behind it or not. */
function names(sentence: string, address: IpAddress): boolean {
  const words = sentence.match(/[0-9a-f:.]*[0-9a-f]/g) ?? [];
  return words.some((word) => word === address || word.replace(/:\d+$/, '') === address);
}

/** The node may also send from an address that it has for a Service. */
function isOfHost(source: IpAddress, { nodeAddresses, virtualServers }: DesiredState): boolean {
  if (nodeAddresses.includes(source) || specialAddress(source) === 'loopback') return true;
  return [...virtualServers.values()].some(({ address, bindAddress }) => bindAddress && address === source);
}

function clientOf({ source, fromHost, incomingLink }: Connection, { node, podRanges }: DesiredState): string {
  const within = (ranges: readonly Cidr[]): boolean => ranges.some((range) => cidrContains(range, source));
  const by = incomingLink === undefined ? '' : `, by ${incomingLink}`;
  if (fromHost) return `node ${node} itself`;
  if (within(podRanges.node)) return `pod range of node ${node}${by}`;
  return within(podRanges.cluster) ? `pod range of another node${by}` : `outside the pod ranges${by}`;
}

function renderJson({ connection, client, trace: traced, desired, rows, rejected }: Explained): string {
  const { incomingLink = null, ...rest } = connection;
  const { service = null, servicePort = null, exposure = null } = originOf(traced.virtualServer, rows) ?? {};
  const document = {
    version: 1,
    node: desired.node,
    connection: { ...rest, incomingLink, client },
    service,
    servicePort,
    exposure,
    ...traced,
    rejected,
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}

function originOf(key: VirtualServerKey | null, { ipvs }: TraceRows) {
  return key === null ? null : (ipvs.virtualServers.get(key)?.origin ?? null);
}

function renderText(explained: Explained): string {
  const { connection, client, trace: traced, rows, desired, rejected } = explained;
  const { protocol, source, destination, port } = connection;
  const parts: readonly (readonly [string, readonly string[]])[] = [
    ['client', [client]],
    ['source ranges', sourceRangesLines(traced)],
    ['virtual server', virtualServerLines(traced, rows)],
    ['candidates', traced.candidates.map((candidate) => candidateLine(candidate, traced, rows))],
    ['draining', traced.draining],
    ['rejected', rejected.map(({ subject, reason }) => `${subject}: ${reason}`)],
    ['why', traced.steps],
  ];
  const lines = parts.flatMap(([name, values]) =>
    values.map((value, i) => `  ${(i === 0 ? name : '').padEnd(WIDTH)}${value}`),
  );
  const title = `${protocol} ${source} -> ${formatEndpoint(destination, port)} on node ${desired.node}`;
  return `${[`${title}: ${verdictText(traced)}`, ...lines].join('\n')}\n`;
}

/** Of the longest name and two blanks. */
const WIDTH = 'virtual server  '.length;

function verdictText({ verdict, by, candidates }: Trace): string {
  switch (verdict) {
    case 'balanced':
      return candidates.length === 1 ? 'balanced' : `balanced over ${candidates.length} real servers`;
    case 'passed':
      return 'passed on to the next hop, no address of this node';
    case 'delivered':
      return 'delivered to this node itself, no Service';
    default:
      return `${verdict}: ${by}`;
  }
}

function sourceRangesLines({ sourceRange, admittedBy }: Trace): readonly string[] {
  if (sourceRange === 'none') return [];
  return [admittedBy === null ? 'outside all of them' : `inside ${admittedBy.split(' . ').at(-1)}`];
}

function virtualServerLines({ virtualServer }: Trace, rows: TraceRows): readonly string[] {
  const row = virtualServer === null ? undefined : rows.ipvs.virtualServers.get(virtualServer);
  if (!row) return [];
  const { scheduler, persistenceTimeoutSeconds: affinity } = row.config;
  const how = [row.key, scheduler, ...(affinity === null ? [] : [`affinity ${affinity} s`])].join(', ');
  const isMark = parseVirtualServerKey(row.key)?.kind === 'firewallMark';
  const why = [row.reason, ...(row.origin && !isMark ? [row.origin.exposure] : [])].join(', ');
  return [`${how}  (${why})`];
}

function candidateLine(candidate: Candidate, { virtualServer }: Trace, rows: TraceRows): string {
  const { key, address, port, weight, masquerade, stoppedBy } = candidate;
  const row = virtualServer === null ? undefined : rows.ipvs.virtualServers.get(virtualServer);
  const source = masquerade === null ? 'source kept' : `masqueraded: ${masquerade}`;
  const end = stoppedBy === null ? '' : `, stopped: ${stoppedBy}`;
  const reason = row?.realServers.get(key)?.reason ?? '';
  return `${formatEndpoint(address, port)} weight ${weight}, ${source}${end}${reason === '' ? '' : `  (${reason})`}`;
}
