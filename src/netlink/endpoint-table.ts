/** An address with a port, as packets have them. */
export interface RawEndpoint {
  /** 4 or 16 bytes, network byte order. */
  readonly address: Uint8Array;
  /** Host byte order. */
  readonly port: number;
}

const PORT_BYTES = 2;

/**
 * Finds endpoints of one family in the bytes of a message without making an object: a hash table with open
 * addressing over bytes.
 */
export class EndpointTable {
  readonly #addressBytes: number;
  /** Addresses, each with its port behind it, by index. */
  readonly #entries: Uint8Array;
  /** Index of the entry plus 1; 0 is a free slot. A power of two of them, at most half taken. */
  readonly #slots: Uint32Array;

  /**
   * @param addressBytes 4 or 16
   * @throws RangeError if an address has another length
   */
  constructor(endpoints: readonly RawEndpoint[], addressBytes: number) {
    this.#addressBytes = addressBytes;
    const entryBytes = addressBytes + PORT_BYTES;
    this.#entries = new Uint8Array(endpoints.length * entryBytes);
    this.#slots = new Uint32Array(2 ** Math.ceil(Math.log2(2 * endpoints.length + 1)));
    for (const [i, { address, port }] of endpoints.entries()) {
      if (address.length !== addressBytes) throw new RangeError(`an address of ${address.length} bytes`);
      const at = i * entryBytes;
      this.#entries.set(address, at);
      this.#entries[at + addressBytes] = port >> 8;
      this.#entries[at + addressBytes + 1] = port & 0xff;
      this.#insert(i, at);
    }
  }

  /** The index of the endpoint whose address is at one offset and whose port at another; -1 if there is none. */
  find(bytes: Uint8Array, addressAt: number, portAt: number): number {
    const mask = this.#slots.length - 1;
    for (let slot = this.#hash(bytes, addressAt, portAt) & mask; ; slot = (slot + 1) & mask) {
      const index = (this.#slots[slot] ?? 0) - 1;
      if (index < 0 || this.#equals(index, bytes, addressAt, portAt)) return index;
    }
  }

  #insert(index: number, at: number): void {
    const mask = this.#slots.length - 1;
    let slot = this.#hash(this.#entries, at, at + this.#addressBytes) & mask;
    while (this.#slots[slot] !== 0) slot = (slot + 1) & mask;
    this.#slots[slot] = index + 1;
  }

  #equals(index: number, bytes: Uint8Array, addressAt: number, portAt: number): boolean {
    const at = index * (this.#addressBytes + PORT_BYTES);
    for (let i = 0; i < this.#addressBytes; i++) {
      if (this.#entries[at + i] !== bytes[addressAt + i]) return false;
    }
    const port = at + this.#addressBytes;
    return this.#entries[port] === bytes[portAt] && this.#entries[port + 1] === bytes[portAt + 1];
  }

  /** 32-bit FNV-1a. @see RFC 9923 */
  #hash(bytes: Uint8Array, addressAt: number, portAt: number): number {
    let hash = 0x811c9dc5;
    for (let i = 0; i < this.#addressBytes; i++) {
      hash = Math.imul(hash ^ (bytes[addressAt + i] ?? 0), 0x01000193);
    }
    for (let i = 0; i < PORT_BYTES; i++) hash = Math.imul(hash ^ (bytes[portAt + i] ?? 0), 0x01000193);
    // The lower bits alone are weak where addresses count up.
    return (hash ^ (hash >>> 15)) >>> 0;
  }
}
