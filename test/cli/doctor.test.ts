import { describe, expect, it } from 'vitest';
import { diagnose, type HostReport } from '../../src/cli/doctor.ts';
import { CliHarness, HEALTHY_HOST } from './harness.ts';

function findings(change: Partial<HostReport>): string[] {
  return diagnose({ ...HEALTHY_HOST, ...change })
    .filter(({ level }) => level !== 'ok')
    .map(({ level, what, fix }) => `${level}: ${what} | ${fix}`);
}

const SOCKETS: HostReport['sockets'] = {
  mode: 'hostOnly',
  unasked: null,
  abilities: [
    { outcome: 'supported', what: 'bpf(2)', fix: 'run as root' },
    { outcome: 'unsupported', reason: 'x is no bpffs', what: 'bpffs at x', fix: 'mount -t bpf bpf x' },
  ],
  ending: { outcome: 'supported' },
  canTellErrors: true,
};

const ANNOUNCING: NonNullable<HostReport['announcing']> = {
  program: 'keepalived',
  keepalived: { outcome: 'supported', version: '2.2.7' },
  netRaw: { outcome: 'supported' },
  link: { name: 'eth0', state: 'up' },
};

describe('diagnose() finds', () => {
  const rows: { name: string; host: Partial<HostReport>; found: RegExp[] }[] = [
    { name: 'nothing on a healthy host', host: {}, found: [] },
    { name: 'nothing where keepalived can announce', host: { announcing: ANNOUNCING }, found: [] },
    {
      name: 'that there is no keepalived',
      host: { announcing: { ...ANNOUNCING, keepalived: { outcome: 'unsupported', reason: 'ENOENT' } } },
      found: [/^error: announcing: keepalived: unsupported: ENOENT \| apt-get install keepalived, or /],
    },
    {
      name: 'a keepalived that does not answer, as no more than that',
      host: { announcing: { ...ANNOUNCING, keepalived: { outcome: 'unknown', reason: 'killed' } } },
      found: [/^warning: announcing: keepalived: unknown: killed/],
    },
    {
      name: 'the capability that keepalived lacks',
      host: { announcing: { ...ANNOUNCING, netRaw: { outcome: 'unsupported', reason: 'it is lacking' } } },
      found: [/^error: announcing: CAP_NET_RAW: unsupported: it is lacking \| .* the container$/],
    },
    {
      name: 'a link that addresses can’t be announced on',
      host: { announcing: { ...ANNOUNCING, link: { name: 'eth9', state: 'absent' } } },
      found: [/^error: announcing: link eth9 is not there \| set vrrp.interface/],
    },
    {
      name: 'a link that may come up yet',
      host: { announcing: { ...ANNOUNCING, link: { name: 'eth0', state: 'down' } } },
      found: [/^warning: announcing: link eth0 is down \| ip link set eth0 up$/],
    },
    {
      name: 'a kernel without IPVS',
      host: { ipvs: { outcome: 'unsupported', reason: 'ENOENT' } },
      found: [/^error: IPVS over generic netlink: unsupported: ENOENT \| modprobe ip_vs/],
    },
    {
      name: 'a look that failed, as no more than that',
      host: { ipvs: { outcome: 'unknown', reason: 'EACCES' } },
      found: [/^warning: IPVS over generic netlink: unknown: EACCES/],
    },
    {
      name: 'a host without libnftables',
      host: { nftables: { outcome: 'unsupported', reason: 'Cannot load libnftables.so.1' } },
      found: [/^error: nftables through libnftables: unsupported: Cannot load .* \| apt-get install/],
    },
    {
      name: 'a firewall of others that drops what is forwarded',
      host: { forwardDrops: ['ip filter FORWARD'] },
      found: [/^warning: chain ip filter FORWARD drops .* \| let it accept the pod ranges/],
    },
    {
      name: 'bridge ports that send nothing back',
      host: { portsWithoutHairpin: ['veth1', 'veth2'] },
      found: [/^warning: bridge ports that are not in hairpin mode \(2\): veth1, veth2: .* \| hairpinMode/],
    },
    {
      name: 'a missing capability',
      host: { netAdmin: { outcome: 'unsupported', reason: 'the process lacks CAP_NET_ADMIN' } },
      found: [/^error: CAP_NET_ADMIN: .* \| run as root/],
    },
    {
      name: 'a sysctl that apply will set, as no problem',
      host: { sysctls: [{ name: 'net.ipv4.ip_forward', needs: '1', has: '0', onlyForIpv6: false }] },
      found: [],
    },
    {
      name: 'a sysctl that nobody can set from here, with the line to run',
      host: {
        sysctls: [{ name: 'net.ipv4.ip_forward', needs: '1', has: '0', onlyForIpv6: false }],
        sysctlsWritable: { outcome: 'unsupported', reason: 'EROFS' },
      },
      found: [
        /^error: sysctl net.ipv4.ip_forward is 0, needs 1, .*read-only here \| on the host: sysctl -w net.ipv4.ip_forward=1$/,
      ],
    },
    {
      name: 'one that only IPv6 Services need, as no more than a warning',
      host: {
        sysctls: [{ name: 'net.ipv6.conf.all.forwarding', needs: '1', has: '0', onlyForIpv6: true }],
        sysctlsWritable: { outcome: 'unsupported', reason: 'EROFS' },
      },
      found: [/^warning: sysctl net.ipv6.conf.all.forwarding is 0, needs 1 for IPv6 Services, /],
    },
    {
      name: 'kube-proxy and kube-router by their links',
      host: { links: ['lo', 'kube-ipvs0', 'kube-dummy-if'] },
      found: [/^warning: link kube-ipvs0: kube-proxy/, /^warning: link kube-dummy-if: kube-router/],
    },
    {
      name: 'the virtual servers of others, the first five by name',
      host: { foreignVirtualServers: ['a', 'b', 'c', 'd', 'e', 'f'] },
      found: [/^warning: virtual servers that are not ours \(6\): a, b, c, d, e, … \|/],
    },
    {
      name: 'that a route would do for 2,000 addresses',
      host: { boundAddresses: 2000 },
      found: [/clusterIPs: route/],
    },
    {
      name: 'nothing of that where routes are used',
      host: { boundAddresses: 2000, clusterIPs: 'route' },
      found: [],
    },
    {
      name: 'what sockets need, as no more than a warning where it is left to the machine',
      host: { sockets: { ...SOCKETS, mode: 'auto' } },
      found: [/^warning: sockets: bpffs at x: unsupported: x is no bpffs \| mount -t bpf bpf x$/],
    },
    {
      name: 'what sockets need, as an error where the configuration wants it',
      host: { sockets: { ...SOCKETS, mode: 'on' } },
      found: [/^error: sockets: bpffs at x: /],
    },
    {
      name: 'a kernel whose programs can not say why they refuse',
      host: { sockets: { ...SOCKETS, abilities: [], canTellErrors: false } },
      found: [/^warning: sockets: .* gets EPERM, not ECONNREFUSED \| Linux 5.18/],
    },
    {
      name: 'sockets of pods that nobody can end, as no more than a warning',
      host: {
        sockets: {
          ...SOCKETS,
          mode: 'on',
          abilities: [],
          ending: { outcome: 'unsupported', reason: 'those of other network namespaces are not: EPERM' },
        },
      },
      found: [
        /^warning: sockets: UDP sockets are ended .*: unsupported: those of other .*: EPERM \| a kernel built with CONFIG_INET_DIAG_DESTROY; .*CAP_SYS_ADMIN/,
      ],
    },
    {
      name: 'what the ledger had to say',
      host: { ledgerNotes: ['it was broken'] },
      found: [/^warning: it was broken/],
    },
  ];
  for (const { name, host, found } of rows) {
    it(name, () => {
      const actual = findings(host);
      expect(actual).toHaveLength(found.length);
      for (const [i, pattern] of found.entries()) expect(actual[i]).toMatch(pattern);
    });
  }
});

describe('doctor', () => {
  it('exits 1 only where svcplane cannot work', async () => {
    using cli = new CliHarness();
    expect((await cli.run('doctor')).exit).toBe(0);
    cli.host = { ...HEALTHY_HOST, links: ['kube-ipvs0'] };
    expect((await cli.run('doctor')).exit).toBe(0);
    cli.host = { ...HEALTHY_HOST, ipvs: { outcome: 'unsupported', reason: 'ENOENT' } };
    expect(await cli.run('doctor')).toMatchObject({
      exit: 1,
      out: expect.stringContaining('fix: modprobe ip_vs'),
    });
    const { out } = await cli.run('doctor', '-o', 'json');
    expect(JSON.parse(out).findings).toContainEqual(expect.objectContaining({ level: 'error' }));
  });
});
