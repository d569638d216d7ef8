import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { node, service, slice } from '../objects.ts';
import { CliHarness } from './harness.ts';

let cli: CliHarness;
let manifests: string;
beforeEach(() => {
  cli = new CliHarness();
  const front = service({
    spec: {
      type: 'LoadBalancer',
      ports: [{ name: 'http', port: 80, protocol: 'TCP', nodePort: 30080 }],
      externalTrafficPolicy: 'Local',
      loadBalancerSourceRanges: ['192.0.2.0/24', '10.244.0.0/16'],
    },
    status: { loadBalancer: { ingress: [{ ip: '203.0.113.9' }] } },
  });
  const endpoints = [
    { address: '10.244.1.20', node: 'n0' },
    { address: '10.244.2.30', node: 'n1' },
  ];
  manifests = cli.file('all.json', [front, slice({ endpoints }), node()]);
});
afterEach(() => cli[Symbol.dispose]());

function explain(source: string, destination: string, port: number | string, ...more: string[]) {
  const connection = ['--src', source, '--dst', destination, '--port', String(port)];
  return cli.run('explain', '-f', manifests, ...connection, ...more);
}

describe('explain of a connection', () => {
  it('says what takes it, where it goes, and why', async () => {
    const { exit, out, err } = await explain('192.0.2.7', '203.0.113.9', 80);
    expect({ exit, err }).toEqual({ exit: 0, err: '' });
    expect(out.split('\n')).toEqual([
      'TCP 192.0.2.7 -> 203.0.113.9:80 on node n0: balanced',
      '  client          outside the pod ranges',
      '  source ranges   inside 192.0.2.0/24',
      '  virtual server  TCP 203.0.113.9:80, rr  (Service web/front port http, LoadBalancer)',
      '  candidates      10.244.1.20:8080 weight 1, source kept  (EndpointSlice web/front-1)',
      '  why             chain keep-prerouting: rule "VIP before host ports IPv4" keeps its destination, so that no other NAT changes it  (Service web/front port http)',
      '                  routing: 203.0.113.9 is bound to svcplane0 for Service web/front',
      '                  IPVS in input: TCP 203.0.113.9:80 takes it  (Service web/front port http)',
      '',
    ]);
  });

  it('says who masquerades', async () => {
    expect((await explain('192.0.2.7', '10.96.0.50', 80)).out).toContain(
      'candidates      10.244.1.20:8080 weight 1, masqueraded: ClusterIP from outside IPv4  (EndpointSlice web/front-1)\n' +
        '                  10.244.2.30:8080 weight 1, masqueraded: ClusterIP from outside IPv4',
    );
  });

  it('says what refuses or drops it', async () => {
    const title = async (source: string, destination: string, port: number) =>
      (await explain(source, destination, port)).out.split('\n')[0];
    expect(await title('198.51.100.1', '203.0.113.9', 80)).toMatch(
      /: dropped: outside loadBalancerSourceRanges IPv4$/,
    );
    expect(await title('192.0.2.7', '203.0.113.9', 81)).toMatch(
      /: refused: port of no Service on a VIP IPv4$/,
    );
    expect(await title('192.0.2.7', '172.16.0.5', 22)).toMatch(
      /: delivered to this node itself, no Service$/,
    );
    expect(await title('192.0.2.7', '192.0.2.9', 80)).toMatch(
      /: passed on to the next hop, no address of this node$/,
    );
  });

  it('takes the node for the client where the source is its address, or one it has for a Service', async () => {
    for (const source of ['172.16.0.5', '203.0.113.9', '127.0.0.1']) {
      expect((await explain(source, '172.16.0.5', 30080)).out).toContain('client          node n0 itself');
    }
    const inside = await explain('172.16.0.5', '172.16.0.5', 30080);
    expect(inside.out).toContain('Service web/front port http, inside clients of TCP 172.16.0.5:30080');
    expect(inside.out).toContain('10.244.2.30:8080 weight 1, source kept');
  });

  it('tells pods by their ranges, and by their link', async () => {
    expect((await explain('10.244.1.9', '203.0.113.9', 80)).out).toContain('pod range of node n0');
    const flags = ['--cluster-cidrs', '10.244.0.0/16'];
    expect((await explain('10.244.2.9', '203.0.113.9', 80, ...flags)).out).toContain(
      'pod range of another node',
    );
    const byLink = ['--detect-local', 'interfacePrefix:veth'];
    const unknown = await explain('192.0.2.7', '203.0.113.9', 80, ...byLink);
    expect(unknown.err).toBe(
      'note: detectLocal is interfacePrefix:veth: name the link with --in-link; without, the client counts as no pod\n',
    );
    const known = await explain('192.0.2.7', '203.0.113.9', 80, ...byLink, '--in-link', 'veth7');
    expect(known.err).toBe('');
    expect(known.out).toContain('outside the pod ranges, by veth7');
    expect(known.out).toContain('10.244.2.30:8080');
  });

  it('-o json has the same as data', async () => {
    const { out } = await explain('192.0.2.7', '203.0.113.9', '80', '--proto', 'TCP', '-o', 'json');
    expect(JSON.parse(out)).toEqual({
      version: 1,
      node: 'n0',
      connection: {
        source: '192.0.2.7',
        destination: '203.0.113.9',
        protocol: 'TCP',
        port: 80,
        fromHost: false,
        incomingLink: null,
        client: 'outside the pod ranges',
      },
      service: 'web/front',
      servicePort: 'http',
      exposure: 'LoadBalancer',
      verdict: 'balanced',
      by: null,
      virtualServer: 'TCP 203.0.113.9:80',
      candidates: [
        {
          key: '10.244.1.20:8080',
          address: '10.244.1.20',
          port: 8080,
          weight: 1,
          masquerade: null,
          stoppedBy: null,
        },
      ],
      draining: [],
      mark: null,
      sourceRange: 'inside',
      admittedBy: '203.0.113.9 . tcp . 80 . 192.0.2.0/24',
      rejected: [],
      steps: expect.arrayContaining(['routing: 203.0.113.9 is bound to svcplane0 for Service web/front']),
    });
  });

  it('says what is not served at the destination', async () => {
    const { out } = await explain('192.0.2.7', '203.0.113.9', 80, '--exclude-cidrs', '203.0.113.0/24');
    expect(out).toContain(': passed on to the next hop');
    expect(out).toContain(
      '  rejected        Service web/front: TCP 203.0.113.9:80: left to others, for it lies in 203.0.113.0/24 of excludeCIDRs\n',
    );
    expect(
      (await explain('192.0.2.7', '203.0.113.99', 80, '--exclude-cidrs', '203.0.113.0/24')).out,
    ).not.toContain('rejected');
  });

  it('writes nothing, and looks at no kernel', async () => {
    await explain('192.0.2.7', '203.0.113.9', 80);
    expect(cli.ipvs.writes + cli.links.changes.length + cli.ledger.writes).toBe(0);
  });

  const A = '192.0.2.7';
  it.each([
    {
      argv: [],
      error: /^svcplane: Explain one of both: a Service as svc\/NAME\[:PORT\], or a connection as --src/,
    },
    { argv: ['svc/front', '--src', A], error: /Explain one of both/ },
    { argv: ['--src', A, '--dst', A], error: /without --src ADDRESS, --dst ADDRESS and --port NUMBER$/ },
    { argv: ['--proto', 'udp'], error: /without --src ADDRESS/ },
    { argv: ['--src', 'web', '--dst', A, '--port', '80'], error: /--src web is not an IP address$/ },
    {
      argv: ['--src', A, '--dst', '10.0.0.0/8', '--port', '80'],
      error: /--dst 10\.0\.0\.0\/8 is not an IP address$/,
    },
    { argv: ['--src', A, '--dst', A, '--port', 'http'], error: /--port http is not a port from 1 to 65535$/ },
    { argv: ['--src', A, '--dst', A, '--port', '0'], error: /--port 0 is not a port/ },
    { argv: ['--src', A, '--dst', A, '--port', '65536'], error: /--port 65536 is not a port/ },
    {
      argv: ['--src', A, '--dst', A, '--port', '80', '--proto', 'icmp'],
      error: /--proto icmp is none of tcp, udp, sctp$/,
    },
    { argv: ['--src', A, '--dst', '2001:db8::1', '--port', '80'], error: /are not of one family$/ },
    {
      argv: ['--src', '172.16.0.5', '--dst', A, '--port', '80', '--in-link', 'eth0'],
      error: /is an address of this node/,
    },
    { argv: ['svc/front', '-o', 'json'], error: /Cannot explain svc\/front as json: only connections/ },
    {
      argv: ['--src', A, '--dst', A, '--port', '80', '-o', 'yaml'],
      error: /--output yaml is none of text, json$/,
    },
  ])('refuses $argv in one line', async ({ argv, error }) => {
    const { exit, out, err } = await cli.run('explain', '-f', manifests, ...argv);
    expect({ exit, out }).toEqual({ exit: 1, out: '' });
    expect(err.trimEnd()).toMatch(error);
    expect(err.trimEnd().split('\n')).toHaveLength(1);
  });
});
