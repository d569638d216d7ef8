import { Option } from 'commander';
import type { ClusterFacts, EndpointSliceFacts, ServiceFacts, ServicePortFacts } from '../cluster/facts.ts';
import type { Derivation } from '../desired/derive.ts';
import {
  type Candidate,
  candidatesOf,
  chooseEndpoints,
  type EndpointChoice,
  isServingWhileTerminating,
} from '../desired/endpoints.ts';
import type { NodeContext } from '../desired/frontends.ts';
import { familyOf, type IpFamily } from '../model/address.ts';
import {
  formatEndpoint,
  type RealServer,
  realServerKey,
  type VirtualServer,
} from '../model/virtual-server.ts';
import { EXIT, type ExitCode, UsageError } from './context.ts';
import { asksForConnection, explainConnection } from './explain-connection.ts';
import { loadDesired } from './load-desired.ts';
import { chosen, configOf, type Invocation, textOption, type Verb } from './verb.ts';

export const explainVerb: Verb = {
  name: 'explain',
  arguments: '[subject]',
  summary:
    'svc/NAME[:PORT]: its virtual servers, its endpoints, which were left out and why; ' +
    'or, with --src, --dst and --port, what happens to one connection',
  exitCodes: '0 done, whatever happens to the connection; 1 error (as when there is no such Service)',
  options: [
    new Option('-n, --namespace <name>', 'namespace of the Service')
      .env('SVCPLANE_NAMESPACE')
      .default('default'),
    // No environment: the kubelet sets SVCPLANE_PORT in the pods beside a Service named svcplane.
    new Option('--src <address>', 'client of the connection'),
    new Option('--dst <address>', 'where it connects to'),
    new Option('--port <n>', 'port it connects to'),
    new Option('--proto <protocol>', 'tcp (default), udp or sctp'),
    new Option('--in-link <name>', 'link it comes in by, where detectLocal tells pods by links'),
    new Option('-o, --output <format>', 'of a connection: text or json'),
  ],
  run: explain,
};

const USAGE =
  'Explain one of both: a Service as svc/NAME[:PORT], or a connection as --src ADDRESS --dst ADDRESS --port NUMBER';

async function explain(invocation: Invocation): Promise<ExitCode> {
  const { context, given, args } = invocation;
  const format = chosen(given, 'output', ['text', 'json'], 'text');
  const ofConnection = asksForConnection(given);
  if (ofConnection === (args[0] !== undefined)) throw new UsageError(USAGE);
  const config = await configOf(invocation);
  if (ofConnection) return explainConnection(context, config, given, format);
  if (format === 'json') throw new UsageError(`Cannot explain ${args[0]} as json: only connections`);
  const match = /^svc\/([^/:]+)(?::(.+))?$/.exec(args[0] ?? '');
  if (!match) throw new UsageError(`Cannot explain ${args[0]}: write svc/NAME or svc/NAME:PORT`);
  const [, name, port] = match;
  const key = `${textOption(given, 'namespace')}/${name}`;
  const { facts, derivation } = await loadDesired(context, config, []);
  const announced = ({ address }: VirtualServer) =>
    context.announcementWords(config, derivation.desired, address);
  const text = explainService(key, port, facts, derivation, announced);
  if (text === undefined) throw new UsageError(`Cannot explain ${key}: no Service of that name was read`);
  await context.out(text);
  return EXIT.done;
}

type WordsOf = (virtualServer: VirtualServer) => readonly string[];

/**
 * Says what a Service means on this node.
 * @param port name or number of a Service port, undefined for all
 * @param announced what is to be said of who announces the address of a virtual server
 * @returns undefined if there is no such Service, not even a rejected one
 */
export function explainService(
  key: string,
  port: string | undefined,
  facts: ClusterFacts,
  { desired, context }: Derivation,
  announced: WordsOf = () => [],
): string | undefined {
  const service = facts.services.get(key);
  const subjects = [`Service ${key}`, ...(facts.slices.get(key) ?? []).map(({ origin }) => origin)];
  const rejected = desired.rejected.filter(({ subject }) => subjects.includes(subject));
  if (!service && rejected.length === 0) return undefined;
  const lines = [`Service ${key} on node ${desired.node}`];
  for (const { subject, reason } of rejected) lines.push(`  rejected: ${subject}: ${reason}`);
  const ports = (service?.ports ?? []).filter(
    (candidate) => port === undefined || candidate.name === port || String(candidate.port) === port,
  );
  if (service && ports.length === 0) throw new UsageError(`Cannot explain ${key}: it has no port ${port}`);
  const virtualServers = [...desired.virtualServers.values()].filter(
    (candidate) => candidate.service === key,
  );
  for (const servicePort of ports) {
    const ofPort = virtualServers.filter((candidate) => candidate.servicePort === servicePort.name);
    lines.push(...explainPort(service, servicePort, ofPort, facts.slices.get(key) ?? [], context, announced));
  }
  return `${lines.join('\n')}\n`;
}

function explainPort(
  service: ServiceFacts | undefined,
  servicePort: ServicePortFacts,
  virtualServers: readonly VirtualServer[],
  slices: readonly EndpointSliceFacts[],
  context: NodeContext,
  announced: WordsOf,
): string[] {
  const name = servicePort.name === '' ? '' : `${servicePort.name} `;
  const lines = ['', `port ${name}${servicePort.port}/${servicePort.protocol}`];
  for (const virtualServer of virtualServers) lines.push(`  ${describe(virtualServer, announced)}`);
  if (virtualServers.length === 0) lines.push('  no virtual server: every address it asks for was refused');
  for (const family of (service?.clusterIPs ?? []).map(familyOf)) {
    lines.push(...explainEndpoints(servicePort, family, slices, context));
  }
  return lines;
}

function describe(virtualServer: VirtualServer, announced: WordsOf): string {
  const { exposure, key, scheduler, persistenceTimeoutSeconds, trafficPolicy, realServers } = virtualServer;
  return [
    `${exposure} ${key} ${scheduler}`,
    ...(persistenceTimeoutSeconds === null ? [] : [`affinity ${persistenceTimeoutSeconds} s`]),
    `policy ${trafficPolicy}`,
    ...placeOf(virtualServer),
    ...announced(virtualServer),
    targetsOf(realServers),
    ...(virtualServer.insideRealServers
      ? [`inside clients ${targetsOf(virtualServer.insideRealServers)}`]
      : []),
  ].join(', ');
}

/** Where an address is that is not bound here. */
function placeOf({ exposure, bindAddress, otherNode }: VirtualServer): string[] {
  if (otherNode !== null) return [`an address of node ${otherNode}, where its packets go`];
  return exposure !== 'NodePort' && !bindAddress ? ['an address of this node, not bound'] : [];
}

function targetsOf(realServers: readonly RealServer[]): string {
  if (realServers.length === 0) return 'no endpoint: connections are refused';
  return `-> ${realServers.map((realServer) => realServerKey(realServer)).join(' ')}`;
}

function explainEndpoints(
  servicePort: ServicePortFacts,
  family: IpFamily,
  slices: readonly EndpointSliceFacts[],
  context: NodeContext,
): string[] {
  const candidates = candidatesOf(slices, servicePort, family, context.node);
  const choice = chooseEndpoints(candidates, context);
  const topology = choice.filter === 'none' ? 'no topology hints in force' : `${choice.filter} in force`;
  const lines = [`  ${family} endpoints (${topology}):`];
  for (const candidate of candidates) {
    const { endpoint, port, origin, local } = candidate;
    const where = local ? 'local' : (endpoint.nodeName ?? 'no node');
    const verdict = verdictOf(candidate, choice);
    lines.push(`    ${formatEndpoint(endpoint.address, port)} ${where}: ${verdict}  (${origin})`);
  }
  if (candidates.length === 0)
    lines.push(`    none: no slice has port "${servicePort.name}" ${servicePort.protocol}`);
  return lines;
}

function verdictOf(candidate: Candidate, choice: EndpointChoice): string {
  const { endpoint, port } = candidate;
  const key = realServerKey({ address: endpoint.address, port });
  const inList = (list: EndpointChoice['cluster']): boolean =>
    list.some((member) => realServerKey(member) === key);
  const used = [
    ...(inList(choice.cluster) ? ['policy Cluster'] : []),
    ...(inList(choice.local) ? ['policy Local'] : []),
  ];
  const state = endpoint.ready ? 'ready' : endpoint.terminating ? 'terminating' : 'not ready';
  if (used.length > 0) {
    const lastOne = endpoint.ready ? '' : ', for none is ready there';
    return `${state}, used for ${used.join(' and ')}${lastOne}`;
  }
  return `${state}, left out: ${whyLeftOut(candidate, choice)}`;
}

function whyLeftOut(candidate: Candidate, choice: EndpointChoice): string {
  const { endpoint } = candidate;
  if (endpoint.ready) return `its ${choice.filter} name others`;
  if (isServingWhileTerminating(candidate)) return 'there are ready endpoints';
  return endpoint.terminating ? 'it no longer serves' : 'it is not ready';
}
