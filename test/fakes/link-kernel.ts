import {
  type KernelAddress,
  type KernelAnswer,
  type KernelLink,
  type KernelRoute,
  type LinkChange,
  type LinkKernel,
  MAX_CHANGES,
} from '../../src/dataplane/addresses/kernel.ts';
import { familyOf, type IpAddress } from '../../src/model/address.ts';
import { unreachable } from '../../src/model/brand.ts';
import { hostPrefixLength } from '../../src/model/cidr.ts';

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
  /** How many changes each call asked for. */
  readonly batches: number[] = [];
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

  async change(changes: readonly LinkChange[]): Promise<readonly KernelAnswer[]> {
    if (changes.length > MAX_CHANGES) throw new RangeError(`${changes.length} changes`);
    if (changes.length > 0) this.batches.push(changes.length);
    return changes.map((change) => {
      const text = `${change.change} ${subjectOf(change)}`;
      this.changes.push(text);
      const code = this.faults?.before(text);
      return code === undefined ? this.#execute(change) : refused(code);
    });
  }

  #execute(change: LinkChange): KernelAnswer {
    if (change.change === 'addDummy') return this.#addDummy(change.name);
    const { linkIndex } = change;
    if (change.change === 'deleteRoute') return this.#deleteRoute(linkIndex, change.prefix);
    if (!this.#links.some((link) => link.index === linkIndex)) return refused('ENODEV');
    switch (change.change) {
      case 'setUp':
        this.#links = this.#links.map((link) => (link.index === linkIndex ? { ...link, isUp: true } : link));
        return OK;
      case 'deleteLink':
        return this.#deleteLink(linkIndex);
      case 'addAddress':
        if (this.#find(linkIndex, change.address)) return refused('EEXIST');
        this.foreignAddress(linkIndex, change.address, hostPrefixLength(change.address));
        return OK;
      case 'deleteAddress':
        return this.#deleteAddress(linkIndex, change.address);
      case 'addRoute': {
        const exists = this.#routes.some(({ prefix }) => prefix === change.prefix);
        return this.#refusalOf(change) ?? (exists ? refused('EEXIST') : this.#putRoute(change));
      }
      case 'replaceRoute':
        return this.#refusalOf(change) ?? this.#putRoute(change);
      default:
        return unreachable(change);
    }
  }

  #addDummy(name: string): KernelAnswer {
    if (this.#links.some((link) => link.name === name)) return refused('EEXIST');
    if (!this.hasDummy) return refused('EOPNOTSUPP');
    this.foreignLink(name, 'dummy');
    return OK;
  }

  #deleteLink(linkIndex: number): KernelAnswer {
    this.#links = this.#links.filter((link) => link.index !== linkIndex);
    this.#addresses = this.#addresses.filter((address) => address.linkIndex !== linkIndex);
    this.#routes = this.#routes.filter((route) => route.linkIndex !== linkIndex);
    return OK;
  }

  #deleteAddress(linkIndex: number, address: IpAddress): KernelAnswer {
    const found = this.#find(linkIndex, address);
    if (!found) return refused('EADDRNOTAVAIL');
    this.#addresses = this.#addresses.filter((entry) => entry !== found);
    if (familyOf(address) === 'IPv4') this.#dropRoutesWithoutAddress(linkIndex);
    return OK;
  }

  #deleteRoute(linkIndex: number, prefix: string): KernelAnswer {
    const found = this.#routes.find((route) => route.linkIndex === linkIndex && route.prefix === prefix);
    if (!found) return refused('ESRCH');
    this.#routes = this.#routes.filter((route) => route !== found);
    return OK;
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
    if (!link?.isUp) return refused('ENETDOWN');
    const isLocal = source === null || this.#addresses.some(({ address }) => address === source);
    return isLocal ? undefined : refused('EINVAL');
  }

  #putRoute({ linkIndex, prefix, source }: KernelRoute): KernelAnswer {
    const others = this.#routes.filter((route) => route.prefix !== prefix);
    this.#routes = [...others, { linkIndex, prefix, source }];
    return OK;
  }
}

function subjectOf(change: LinkChange): string | number {
  if ('address' in change) return change.address;
  if ('prefix' in change) return change.prefix;
  return 'name' in change ? change.name : change.linkIndex;
}
