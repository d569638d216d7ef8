import * as v from 'valibot';
import { familyOf, parseIpAddress } from './model/address.ts';
import { parseAddressRange } from './model/address-range.ts';
import { type Cidr, parseCidr } from './model/cidr.ts';
import { isMarkBase } from './model/firewall-mark.ts';
import { parsePort } from './model/port.ts';
import { parseScheduler } from './model/scheduler.ts';

/** A text that one of the model's parsers must accept. */
function parsed<T>(parse: (text: string) => T | undefined, expectation: string) {
  return v.pipe(
    v.string(),
    v.rawTransform<string, T>(({ dataset, addIssue, NEVER }) => {
      const value = parse(dataset.value);
      if (value !== undefined) return value;
      addIssue({ message: `"${dataset.value}" is not ${expectation}` });
      return NEVER;
    }),
  );
}

export const address = parsed(parseIpAddress, 'an IP address');
export const cidr = parsed(parseCidr, 'a CIDR, such as 10.96.0.0/16');
export const addressRange = parsed(
  parseAddressRange,
  'a CIDR without host bits, FIRST-LAST of one family, or an address',
);
export const scheduler = parsed(parseScheduler, 'an IPVS scheduler');

/** Other services' interfaces: we never touch them, so that both can run on one node during a migration. */
const FOREIGN_INTERFACES: readonly string[] = ['kube-ipvs0', 'kube-dummy-if'];

export const interfaceName = v.pipe(
  v.string(),
  v.regex(/^[^\s/:]{1,15}$/, 'must be a link name of 1 to 15 characters without blanks, / or :'),
  v.check((name) => !FOREIGN_INTERFACES.includes(name), 'is the interface of another service proxy'),
);

export const seconds = v.pipe(
  v.number(),
  v.integer('must be a whole number'),
  v.minValue(0, 'must not be negative'),
);
export const policies = v.picklist(['allowAll', 'allowList', 'deny']);
export const detectLocal = v.pipe(
  v.string(),
  v.regex(
    /^(clusterCIDR|nodeCIDR|interfacePrefix:.+|bridge:.+)$/,
    'must be clusterCIDR, nodeCIDR, interfacePrefix:NAME or bridge:NAME',
  ),
);

/** `primary`, also in kube-proxy's way as the only item of the list, or ranges. */
export const primaryOrRanges = v.pipe(
  v.union([v.string(), v.array(v.string())]),
  v.rawTransform<string | string[], 'primary' | Cidr[]>(({ dataset, addIssue, NEVER }) => {
    const items = [dataset.value].flat();
    if (items.length === 1 && items[0] === 'primary') return 'primary';
    const ranges = items.map((item) => parseCidr(item));
    const bad = items.find((_, i) => ranges[i] === undefined);
    if (bad === undefined) return ranges.flatMap((range) => range ?? []);
    addIssue({ message: `"${bad}" is not a CIDR, nor is the whole primary` });
    return NEVER;
  }),
);

/** 0 in the upper byte is what every packet has that nobody marked. */
export const markBase = v.pipe(
  v.number(),
  v.integer('must be a whole number'),
  v.check(isMarkBase, 'must be 0x01000000 to 0xff000000 in steps of 0x01000000'),
);

export const tableName = v.pipe(
  v.string(),
  v.regex(/^[a-z][\w-]{0,63}$/i, 'must be letters, digits, _ and -'),
);

export const bit = v.pipe(v.number(), v.integer('must be a whole number'), v.minValue(0), v.maxValue(31));

export const count = v.pipe(
  v.number(),
  v.integer('must be a whole number'),
  v.minValue(0, 'must not be negative'),
);

/** Over 1 is no share, and then nothing would ever be held. */
export const share = v.pipe(
  v.number(),
  v.minValue(0, ({ received }) => `is ${received}, expected at least 0`),
  v.maxValue(1, ({ received }) => `is ${received}, expected at most 1`),
);

/**
 * Where to listen: `IP:PORT`, `[IPv6]:PORT`, or an address alone, as kube-proxy takes it; "" for nowhere.
 * @param defaultPort of an address alone
 */
export function bindAddress(defaultPort: number) {
  return parsed((text) => {
    if (text === '') return '';
    const [, bracketed, plain, port = String(defaultPort)] = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d{1,5}))?$/.exec(
      text,
    ) ?? [undefined, undefined, text];
    const ip = parseIpAddress(bracketed ?? plain);
    const number = parsePort(Number(port));
    if (ip === undefined || number === undefined) return undefined;
    return familyOf(ip) === 'IPv6' ? `[${ip}]:${number}` : `${ip}:${number}`;
  }, 'an address and port to listen at, such as 0.0.0.0:10256');
}

/** The URL of an API server without a path, or "" for none. */
export const apiServer = parsed((text) => {
  if (text === '') return '';
  const url = URL.parse(text);
  if (!url || !/^https?:$/.test(url.protocol) || url.pathname !== '/' || url.search || url.hash)
    return undefined;
  return url.username || url.password ? undefined : url.origin;
}, 'the URL of an API server, such as https://192.0.2.10:6443');
