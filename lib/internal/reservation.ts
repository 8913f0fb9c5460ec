/** Reservations as they are: in staging, in shared memory, or in memory of their own. */

import { BusbarError, errorOf, invalidArgument, show } from '../errors.js';
import type { Reservation } from '../reservation.js';
import { detached } from './bytes.js';
import { FastBuffer } from './chunk.js';
import { confine } from './confined.js';
import type { Outbox } from './outbox.js';
import { Loaned } from './pending.js';
import { INLINE_MAX, recordBytes } from './record.js';
import { checkWait, type WaitOptions } from './wait.js';

/** Opens a reservation of `length` bytes. */
export function reserve(outbox: Outbox, length: number, channel: number): Reservation {
  if (!Number.isInteger(length) || length < 0) {
    throw invalidArgument(`length is ${show(length)}; it must be a number of bytes`);
  }
  outbox.checkOpen();
  outbox.sender.checkLength(length);
  return new OpenReservation(outbox, length, channel);
}

/** Where the bytes of a reservation lie. */
type Place = 'staging' | 'loan' | 'own' | 'settled';

class OpenReservation implements Reservation {
  private readonly outbox: Outbox;
  private readonly length: number;
  private readonly channel: number;
  private place: Place = 'own';
  private view: Buffer;
  private loan = 0;

  constructor(outbox: Outbox, length: number, channel: number) {
    this.outbox = outbox;
    this.length = length;
    this.channel = channel;
    this.view = (length <= INLINE_MAX ? this.openStaged() : this.openLoan()) ?? allocate(length);
  }

  get bytes(): Buffer {
    if (this.place === 'settled') throw settled();
    return this.view;
  }

  commit(length: number = this.length, options?: WaitOptions): Promise<void> {
    try {
      checkWait(options, 'commit()');
      this.check(length);
      if (this.commitStaged(length)) return DONE;
      if (this.place === 'loan') return this.commitLoan(length, options ?? {}) as Promise<void>;
      const bytes = this.view.subarray(0, length);
      this.settle();
      return this.outbox.send(bytes, this.channel, options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  tryCommit(length: number = this.length): boolean {
    this.check(length);
    if (this.commitStaged(length)) return true;
    if (this.place === 'loan') return this.commitLoan(length, null) !== null;
    if (!this.outbox.trySend(this.view.subarray(0, length), this.channel)) return false;
    this.settle();
    return true;
  }

  discard(): void {
    if (this.place !== 'settled') this.settle();
  }

  private openStaged(): Buffer | null {
    const { length } = this;
    const { sender, isReady } = this.outbox;
    if (!isReady || !sender.staging.isReservable) return null;
    if (!sender.makeRoom(recordBytes(length))) return null;
    this.place = 'staging';
    return sender.staging.reserve(length, this);
  }

  private openLoan(): Buffer | null {
    const { port, handle } = this.outbox.sender.host;
    const memory = port.native.loan(handle, this.length);
    if (memory === null) return null;
    if (typeof memory === 'number') throw errorOf(memory, 'reserving');
    this.loan = port.native.lastId();
    this.place = 'loan';
    return new FastBuffer(confine(memory), 0, this.length);
  }

  /** Commits in place, if that is where the bytes still lie and nothing waits in front. */
  private commitStaged(length: number): boolean {
    const { outbox } = this;
    if (this.place !== 'staging') return false;
    if (outbox.isReady && outbox.sender.staging.holds(this)) {
      outbox.sender.commitStaged(length, this.channel);
      this.place = 'settled';
      return true;
    }
    outbox.sender.staging.stray(this);
    return false;
  }

  /** Hands the loan over, waiting if there are terms for that; `null` if it is still open. */
  private commitLoan(length: number, wait: WaitOptions | null): Promise<void> | null {
    const { outbox, channel, loan } = this;
    const { native } = outbox.sender.host.port;
    const loaned = new Loaned(loan, length, this.view, () => native.discard(loan));
    let sent: Promise<void> | null;
    try {
      sent = outbox.sendLoan(loaned, channel, wait);
    } catch (error) {
      this.settle();
      throw error;
    }
    if (sent !== null) this.place = 'settled';
    return sent;
  }

  private check(length: number): void {
    if (this.place === 'settled') throw settled();
    if (!Number.isInteger(length) || length < 0 || length > this.length) {
      const range = `0 to ${this.length}, as reserved`;
      throw invalidArgument(`length is ${show(length)}; it must be ${range}`);
    }
    this.outbox.checkOpen();
    if (this.view.length === this.length) return;
    this.settle();
    throw detached();
  }

  /** Ends it, with the memory given back. */
  private settle(): void {
    const { outbox, place } = this;
    this.place = 'settled';
    if (place === 'loan') outbox.sender.host.port.native.discard(this.loan);
    if (place === 'staging') outbox.sender.staging.forget(this);
  }
}

const DONE: Promise<void> = Promise.resolve();

function allocate(length: number): Buffer {
  return Buffer.allocUnsafeSlow(length);
}

function settled(): BusbarError {
  const message = 'the reservation was committed or discarded already; reserve() another';
  return new BusbarError('ERR_LOAN_EXPIRED', message);
}
