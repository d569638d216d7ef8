import type {
  KernelAddress,
  KernelAnswer,
  KernelLink,
  KernelRoute,
  LinkKernel,
} from '../../src/dataplane/addresses/kernel.ts';
import { hostPrefixLength } from '../../src/dataplane/addresses/rows.ts';
import { familyOf, type IpAddress } from '../../src/model/address.ts';

/** What a change meets before the kernel sees it. */
export interface LinkKernelFaults {
  /** An errno name refuses the change, undefined lets it through. A throw is a crash before it. */
  before(change: string): string | undefined;
}

const OK: KernelAnswer = { outcome: 'ok' };
const refused = (code: string): KernelAnswer => ({ outcome: 'refused', code });

/** Links, addresses and local routes of one network namespace, by the kernel's rules. */
export class FakeLinkKernel implements LinkKernel {
  /** Changes asked for, refused ones included. */
  readonly changes: string[] = [];
  faults: LinkKernelFaults | undefined;
  /** False: like a kernel without the dummy module. */
  hasDummy = true;
  #links: KernelLink[] = [];
  #addresses: KernelAddress[] = [];
  #routes: KernelRoute[] = [];
  #nextIndex = 1;

  constructor() {
    const lo = this.foreignLink('lo', null);
    this.foreignAddress(lo, '127.0.0.1' as IpAddress, 8);
  }

  /** A link that somebody else makes. @returns its index */
  foreignLink(name: string, kind: string | null, isUp = true): number {
    const index = this.#nextIndex++;
    this.#links.push({ index, name, kind, isUp });
    return index;
  }

  /** An address that somebody else adds. */
  foreignAddress(linkIndex: number, address: IpAddress, prefixLength: number): void {
    this.#addresses.push({ linkIndex, address, prefixLength });
  }

  /** A route that somebody else adds. */
  foreignRoute(route: KernelRoute): void {
    this.#routes.push(route);
  }

  async links(): Promise<readonly KernelLink[]> {
    return [...this.#links];
  }

  async link(name: string): Promise<KernelLink | undefined> {
    return this.#links.find((link) => link.name === name);
  }

  async addresses(): Promise<readonly KernelAddress[]> {
    return [...this.#addresses];
  }

  async localRoutes(): Promise<readonly KernelRoute[]> {
    return [...this.#routes];
  }

  addDummy(name: string): Promise<KernelAnswer> {
    return this.#change(`addDummy ${name}`, () => {
      if (this.#links.some((link) => link.name === name)) return refused('EEXIST');
      if (!this.hasDummy) return refused('EOPNOTSUPP');
      this.foreignLink(name, 'dummy');
      return OK;
    });
  }

  setUp(linkIndex: number): Promise<KernelAnswer> {
    return this.#change(`setUp ${linkIndex}`, () => {
      if (!this.#has(linkIndex)) return refused('ENODEV');
      this.#links = this.#links.map((link) => (link.index === linkIndex ? { ...link, isUp: true } : link));
      return OK;
    });
  }

  deleteLink(linkIndex: number): Promise<KernelAnswer> {
    return this.#change(`deleteLink ${linkIndex}`, () => {
      if (!this.#has(linkIndex)) return refused('ENODEV');
      this.#links = this.#links.filter((link) => link.index !== linkIndex);
      this.#addresses = this.#addresses.filter((address) => address.linkIndex !== linkIndex);
      this.#routes = this.#routes.filter((route) => route.linkIndex !== linkIndex);
      return OK;
    });
  }

  addAddress(linkIndex: number, address: IpAddress): Promise<KernelAnswer> {
    return this.#change(`addAddress ${address}`, () => {
      if (!this.#has(linkIndex)) return refused('ENODEV');
      if (this.#find(linkIndex, address)) return refused('EEXIST');
      this.foreignAddress(linkIndex, address, hostPrefixLength(address));
      return OK;
    });
  }

  deleteAddress(linkIndex: number, address: IpAddress): Promise<KernelAnswer> {
    return this.#change(`deleteAddress ${address}`, () => {
      if (!this.#has(linkIndex)) return refused('ENODEV');
      const found = this.#find(linkIndex, address);
      if (!found) return refused('EADDRNOTAVAIL');
      this.#addresses = this.#addresses.filter((entry) => entry !== found);
      if (familyOf(address) === 'IPv4') this.#dropRoutesWithoutAddress(linkIndex);
      return OK;
    });
  }

  addRoute(route: KernelRoute): Promise<KernelAnswer> {
    return this.#change(`addRoute ${route.prefix}`, () => {
      const exists = this.#routes.some(({ prefix }) => prefix === route.prefix);
      return this.#refusalOf(route) ?? (exists ? refused('EEXIST') : this.#putRoute(route));
    });
  }

  replaceRoute(route: KernelRoute): Promise<KernelAnswer> {
    return this.#change(
      `replaceRoute ${route.prefix}`,
      () => this.#refusalOf(route) ?? this.#putRoute(route),
    );
  }

  deleteRoute(linkIndex: number, prefix: string): Promise<KernelAnswer> {
    return this.#change(`deleteRoute ${prefix}`, () => {
      const found = this.#routes.find((route) => route.linkIndex === linkIndex && route.prefix === prefix);
      if (!found) return refused('ESRCH');
      this.#routes = this.#routes.filter((route) => route !== found);
      return OK;
    });
  }

  async #change(text: string, effect: () => KernelAnswer): Promise<KernelAnswer> {
    this.changes.push(text);
    const code = this.faults?.before(text);
    return code === undefined ? effect() : refused(code);
  }

  #has(linkIndex: number): boolean {
    return this.#links.some((link) => link.index === linkIndex);
  }

  #find(linkIndex: number, address: IpAddress): KernelAddress | undefined {
    const length = hostPrefixLength(address);
    return this.#addresses.find(
      (entry) => entry.linkIndex === linkIndex && entry.address === address && entry.prefixLength === length,
    );
  }

  /** net/ipv4/fib_frontend.c fib_inetaddr_event: with the last IPv4 address go all IPv4 routes of the link. */
  #dropRoutesWithoutAddress(linkIndex: number): void {
    const left = this.#addresses.some(
      (entry) => entry.linkIndex === linkIndex && familyOf(entry.address) === 'IPv4',
    );
    if (left) return;
    this.#routes = this.#routes.filter(
      (route) => route.linkIndex !== linkIndex || route.prefix.includes(':'),
    );
  }

  #refusalOf({ linkIndex, source }: KernelRoute): KernelAnswer | undefined {
    const link = this.#links.find(({ index }) => index === linkIndex);
    if (!link) return refused('ENODEV');
    if (!link.isUp) return refused('ENETDOWN');
    const isLocal = source === null || this.#addresses.some(({ address }) => address === source);
    return isLocal ? undefined : refused('EINVAL');
  }

  #putRoute(route: KernelRoute): KernelAnswer {
    this.#routes = [...this.#routes.filter(({ prefix }) => prefix !== route.prefix), route];
    return OK;
  }
}
