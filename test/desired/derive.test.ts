import { describe, expect, it } from 'vitest';
import { decodeObjects } from '../../src/cluster/decode.ts';
import { parseConfig } from '../../src/config.ts';
import { derive, nodeContext } from '../../src/desired/derive.ts';
import { parseIpAddress } from '../../src/model/address.ts';
import { node, service } from '../objects.ts';

const ips = (...texts: string[]) => texts.map((text) => parseIpAddress(text) ?? expect.unreachable(text));

const SERVICE = service({
  spec: { clusterIPs: ['10.96.0.50', 'fd00::50'], ports: [{ name: 'http', port: 80, nodePort: 30080 }] },
});

interface Case {
  readonly name: string;
  readonly config?: object;
  readonly nodeObject?: readonly string[];
  readonly host?: readonly string[];
  readonly followHost?: boolean;
  readonly nodePorts: readonly string[];
}

function derived({ config = {}, nodeObject, host = [], followHost }: Omit<Case, 'name' | 'nodePorts'>) {
  const parsed = parseConfig(config, 'test');
  const objects = [SERVICE, ...(nodeObject ? [node({ addresses: nodeObject })] : [])];
  const facts = decodeObjects(objects, 'n0');
  const options = {
    ...parsed,
    node: 'n0',
    nodeAddresses: parsed.nodeAddresses.length > 0 ? parsed.nodeAddresses : null,
    hostAddresses: ips(...host),
    ...(followHost === undefined ? {} : { followHost }),
  };
  return derive(facts, nodeContext(facts, options)).desired;
}

function nodePortsOf(desired: ReturnType<typeof derived>): readonly string[] {
  const servers = [...desired.virtualServers.values()].filter(({ exposure }) => exposure === 'NodePort');
  return servers.map(({ address }) => address);
}

describe('nodeContext() chooses the addresses of NodePorts', () => {
  const OBJECT = ['172.16.0.5'];
  const HOST = ['172.16.0.5', '192.168.7.1', '2001:db8::1'];
  const rows: readonly Case[] = [
    { name: "the Node object's", nodeObject: OBJECT, host: HOST, nodePorts: OBJECT },
    { name: "the host's without a Node object", host: HOST, nodePorts: HOST },
    {
      name: "the host's where they are followed",
      nodeObject: OBJECT,
      host: HOST,
      followHost: true,
      nodePorts: HOST,
    },
    {
      name: 'none where the followed host has none',
      nodeObject: OBJECT,
      followHost: true,
      nodePorts: [],
    },
    {
      name: 'the configured ones before all others',
      config: { nodeAddresses: ['172.16.0.9'] },
      nodeObject: OBJECT,
      host: HOST,
      followHost: true,
      nodePorts: ['172.16.0.9'],
    },
    {
      name: 'the configured ones that lie in the ranges',
      config: { nodeAddresses: ['172.16.0.9', '10.0.0.9'], nodePortAddresses: ['172.16.0.0/12'] },
      nodeObject: OBJECT,
      host: HOST,
      nodePorts: ['172.16.0.9'],
    },
    {
      name: 'of Node object and host together, each once, those in the ranges',
      config: { nodePortAddresses: ['172.16.0.0/12', '2001:db8::/32'] },
      nodeObject: ['172.16.0.5', '172.17.0.5'],
      host: HOST,
      nodePorts: ['172.16.0.5', '172.17.0.5', '2001:db8::1'],
    },
    {
      name: "primary: the Node object's, though the host is followed",
      config: { nodePortAddresses: 'primary' },
      nodeObject: OBJECT,
      host: HOST,
      followHost: true,
      nodePorts: OBJECT,
    },
    {
      name: 'primary: the configured ones before those',
      config: { nodePortAddresses: 'primary', nodeAddresses: ['172.16.0.9'] },
      nodeObject: OBJECT,
      nodePorts: ['172.16.0.9'],
    },
    {
      name: 'primary: none where nobody names any',
      config: { nodePortAddresses: 'primary' },
      host: HOST,
      nodePorts: [],
    },
  ];
  it.each(rows)('$name', ({ nodePorts, ...row }) => {
    const desired = derived(row);
    expect(nodePortsOf(desired)).toEqual(nodePorts);
    expect(desired.rejected).toEqual([]);
  });

  it.each([
    { range: '127.0.0.0/8', address: '127.0.0.1' },
    { range: '127.0.0.2/32', address: '127.0.0.1' },
    { range: '::1/128', address: '::1' },
    { range: '0.0.0.0/0', address: '127.0.0.1' },
    { range: '::/0', address: '::1' },
  ])('rejects $range, as far as it is loopback', ({ range, address }) => {
    const host = ['172.16.0.5', '127.0.0.1'];
    const desired = derived({ config: { nodePortAddresses: [range, '172.16.0.0/16'] }, host });
    expect(nodePortsOf(desired)).toEqual(['172.16.0.5']);
    expect(desired.rejected).toEqual([
      {
        subject: `nodePortAddresses ${range}`,
        reason:
          `NodePort on ${address} is not IPVS's to give (the kernel routes no loopback source across links); ` +
          'the socket load balancer serves it',
      },
    ]);
  });

  it('says nothing of loopback where no Service has a NodePort', () => {
    const facts = decodeObjects([service()], 'n0');
    const parsed = parseConfig({ nodePortAddresses: ['127.0.0.0/8'] }, 'test');
    const options = { ...parsed, node: 'n0', nodeAddresses: null, hostAddresses: [] };
    expect(derive(facts, nodeContext(facts, options)).desired.rejected).toEqual([]);
  });
});
