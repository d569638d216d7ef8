import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { KernelRequest } from '../../../src/dataplane/ipvs/kernel.ts';
import {
  decodeConfig,
  decodeIdentity,
  decodeRealServer,
  encodeRequest,
} from '../../../src/dataplane/ipvs/wire.ts';
import { ByteWriter, byteViewOf } from '../../../src/netlink/bytes.ts';
import { encodeGenlRequest } from '../../../src/netlink/genl.ts';
import { decodeDestination, decodeService } from '../../../src/netlink/ipvs-messages.ts';
import { decodeMessages } from '../../../src/netlink/message.ts';
import { config, identity, real, scheduler } from './build.ts';

/** The request as the kernel would send it back: decoded from its own bytes. */
function sentBack(request: KernelRequest) {
  const writer = new ByteWriter(4096);
  encodeGenlRequest(writer, { type: 0x20, flags: 1, sequence: 1 }, encodeRequest(request));
  const [message] = decodeMessages(byteViewOf(writer.written()));
  return message ?? expect.unreachable();
}

const identities = fc
  .constantFrom('TCP 10.96.0.50:80', 'UDP [fd00::50]:53', 'SCTP 192.0.2.7:0', 'FWM4 17', 'FWM6 4294967295')
  .map(identity);

const persistence = fc.oneof(
  fc.constant({ persistenceTimeoutSeconds: null, netmask: null }),
  fc.record({
    persistenceTimeoutSeconds: fc.integer({ min: 1, max: 86_400 }),
    netmask: fc.constantFrom(null, '64'),
  }),
);

const configs = fc
  .record({ persistence, flags: fc.constantFrom(0, 0x4, 0x8, 0x3c), engine: fc.constantFrom(null, 'sip') })
  .map(({ persistence: given, flags, engine }) =>
    config({ ...given, flags, persistenceEngine: engine, scheduler: scheduler('mh') }),
  );

describe('encodeRequest()', () => {
  it('says of a virtual server what is decoded from it', () => {
    fc.assert(
      fc.property(identities, configs, (id, given) => {
        const ipv4 = id.kind === 'address' ? !id.address.includes(':') : id.family === 'IPv4';
        const netmask = ipv4 && given.netmask !== null ? '255.255.192.0' : given.netmask;
        const request = { command: 'newService', identity: id, config: { ...given, netmask } } as const;
        const service = decodeService(sentBack(request));
        expect(decodeIdentity(service)).toEqual(id);
        expect(decodeConfig(service)).toEqual(request.config);
      }),
    );
  });

  it.each([
    real('10.1.0.1:80', { weight: 65_535, upperThreshold: 9, lowerThreshold: 3 }),
    real('[fd00::1]:443', { weight: 0, forwarding: 'direct' }),
    real('10.1.0.1:80', { forwarding: 'local' }),
    real('10.1.0.1:80', { forwarding: 'bypass' }),
    real('10.1.0.1:80', { forwarding: 'tunnel' }),
    real('10.1.0.1:80', { forwarding: 'tunnel', tunnel: { type: 'gue', port: 6080, checksum: 'remcsum' } }),
    real('10.1.0.1:80', { forwarding: 'tunnel', tunnel: { type: 'gre', port: 0, checksum: 'csum' } }),
  ])('says of real server %# what is decoded from it', ({ config: realServer }) => {
    const request = { command: 'setDest', identity: identity('TCP 10.96.0.50:80'), realServer } as const;
    expect(decodeRealServer(decodeDestination(sentBack(request), 2)).config).toEqual(realServer);
  });
});

describe('decodeConfig()', () => {
  it('tells nothing that counts for persistent virtual servers of one that is not', () => {
    const service = { family: 2, fwmark: 1, scheduler: 'rr', flags: 0, timeoutSeconds: 300, netmask: 0 };
    expect(decodeConfig(service)).toEqual(config());
  });
});

describe('decodeIdentity()', () => {
  it('knows no protocol but those of Services', () => {
    const esp = { family: 2, protocol: 50, address: Uint8Array.of(10, 0, 0, 1), port: 0 };
    expect(decodeIdentity(esp)).toBeUndefined();
  });
});
