import { EMPTY_LEDGER, type Ledger, type LedgerAccess } from '../../src/dataplane/ledger.ts';

/** A ledger in memory, as durable as the object. */
export class MemoryLedger implements LedgerAccess {
  /** How often it has been written. */
  writes = 0;
  /** Whether the next update throws, as a full disk does. */
  full = false;
  #ledger: Ledger;

  constructor(ledger: Ledger = EMPTY_LEDGER) {
    this.#ledger = ledger;
  }

  read(): Ledger {
    return this.#ledger;
  }

  check(): void {
    if (this.full) throw new Error('Cannot write ledger: ENOSPC');
  }

  update(change: (ledger: Ledger) => Ledger): void {
    const changed = change(this.#ledger);
    if (changed === this.#ledger) return;
    if (this.full) throw new Error('Cannot write ledger: ENOSPC');
    this.writes += 1;
    this.#ledger = changed;
  }
}
