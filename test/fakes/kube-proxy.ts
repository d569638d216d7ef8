import { parseIpsetSave, parseIptablesSave } from '../../src/kube-proxy/iptables-save.ts';
import type { KubeProxyHost, KubeProxyTraces, ReleaseOp } from '../../src/kube-proxy/leftovers.ts';
import type { IpAddress } from '../../src/model/address.ts';
import { hostPrefixLength } from '../../src/model/cidr.ts';
import type { FakeLinkKernel } from './link-kernel.ts';

/** As kube-proxy writes it, as far as it matters here, beside a rule of somebody else. */
const NAT = `*nat
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:OTHERS - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-SERVICES - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -j OTHERS
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-POSTROUTING -j MASQUERADE --random-fully
-A KUBE-SERVICES -m set --match-set KUBE-CLUSTER-IP src,dst -j KUBE-MARK-MASQ
COMMIT
`;

/** What kube-proxy leaves on a host, over links in memory. */
export class FakeKubeProxy implements KubeProxyHost {
  /** What says that it runs; null if nothing does. */
  running: string | null = null;
  /** Told each time that somebody asks whether it runs. */
  onAsked: () => void = () => undefined;
  notes: readonly string[] = [];
  /** As iptables-save prints it. */
  nat = '';
  /** As ipset-save prints it. */
  sets = '';
  /** Operations that are refused, by name. */
  refuses = new Set<ReleaseOp['op']>();
  readonly #links: FakeLinkKernel;

  constructor(links: FakeLinkKernel) {
    this.#links = links;
  }

  /** Makes its link, its rules and its sets. @param frontends as `10.96.0.50,tcp:80` */
  async serve(frontends: readonly string[]): Promise<void> {
    this.nat = NAT;
    const added = frontends.map((frontend) => `add KUBE-CLUSTER-IP ${frontend}\n`);
    this.sets = `create KUBE-CLUSTER-IP hash:ip,port\n${added.join('')}create others hash:ip\n`;
    const index = (await this.#index('kube-ipvs0')) ?? this.#links.foreignLink('kube-ipvs0', 'dummy', false);
    for (const frontend of frontends) {
      const address = frontend.slice(0, frontend.indexOf(',')) as IpAddress;
      const known = (await this.#links.addresses()).some(
        (each) => each.linkIndex === index && each.address === address,
      );
      if (!known) this.#links.foreignAddress(index, address, hostPrefixLength(address));
    }
  }

  async observe(): Promise<KubeProxyTraces> {
    const index = await this.#index('kube-ipvs0');
    const addresses = await this.#links.addresses();
    const of = (isLink: boolean) =>
      new Set(
        addresses.filter((each) => (each.linkIndex === index) === isLink).map(({ address }) => address),
      );
    return {
      link: index === undefined ? null : of(true),
      otherAddresses: of(false),
      iptables: [{ program: 'iptables-nft', tables: parseIptablesSave(this.nat) }],
      sets: parseIpsetSave(this.sets),
      notes: this.notes,
    };
  }

  /** What becomes of connections while somebody waits for them. */
  onWait: () => void = () => undefined;

  async whyRunning(): Promise<string | null> {
    const { running } = this;
    this.onAsked();
    return running;
  }

  async release(op: ReleaseOp): Promise<string | null> {
    if (this.refuses.has(op.op)) return 'no';
    const linkIndex = await this.#index('kube-ipvs0');
    if (op.op === 'restoreIptables') this.#restore(op.input);
    else if (op.op === 'destroySet') {
      if (this.nat.includes(`--match-set ${op.name} `)) return 'Set cannot be destroyed: it is in use';
      this.sets = this.#without(this.sets, new RegExp(`^(create|add) ${op.name} `));
    } else if (linkIndex === undefined) return 'ENODEV';
    else if (op.op === 'deleteLink') await this.#links.change([{ change: 'deleteLink', linkIndex }]);
    else {
      await this.#links.change(
        op.addresses.map((address) => ({ change: 'deleteAddress', linkIndex, address }) as const),
      );
    }
    return null;
  }

  async moveAddresses(from: string, addresses: readonly IpAddress[]): Promise<readonly string[]> {
    const [source, target] = [await this.#index(from), await this.#index('kube-ipvs0')];
    if (source === undefined || target === undefined) return ['no link'];
    const answers = await this.#links.change(
      addresses.flatMap((address) => [
        { change: 'deleteAddress', linkIndex: source, address } as const,
        { change: 'addAddress', linkIndex: target, address } as const,
      ]),
    );
    return answers.flatMap((answer) => (answer.outcome === 'refused' ? [answer.code] : []));
  }

  async untilOpened(): Promise<void> {
    this.onWait();
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  async #index(name: string): Promise<number | undefined> {
    return (await this.#links.link(name))?.index;
  }

  #restore(input: string): void {
    for (const line of input.split('\n')) {
      const [verb, chain] = line.split(' ');
      if (verb === '-D') this.nat = this.nat.replace(`-A ${line.slice(3)}\n`, '');
      if (verb === '-F') this.nat = this.#without(this.nat, new RegExp(`^-A ${chain} `));
      if (verb === '-X') this.nat = this.#without(this.nat, new RegExp(`^:${chain} `));
    }
  }

  #without(text: string, line: RegExp): string {
    return text
      .split('\n')
      .filter((each) => !line.test(each))
      .join('\n');
  }
}
