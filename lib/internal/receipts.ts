/**
 * What the program has got of a reliable pipe: how each message is called, and which of them the
 * program is done with, which the core is told once a turn.
 *
 * The core knows messages by their place among all that it has given out. Which place a message
 * has is counted here, so that messages of other pipes, and those whose name nobody wants, cost
 * nothing.
 */

import type { Flushable, Port } from './port.js';

/** Who says that the program is done with a message. */
export type Done = 'in order' | 'each' | 'nobody';

export class Receipts implements Flushable {
  dirty = false;
  private readonly port: Port;
  private readonly handle: number;
  private readonly by: Done;
  /** Messages taken out of the core. */
  private fetched = 0;
  /** Those before this one are done with, and the core knows of those before that one. */
  private processed = 0;
  private told = 0;
  /** Places of single ones that are done with. */
  private acks: number[] = [];
  private session: string | null = null;

  constructor(port: Port, handle: number, by: Done) {
    this.port = port;
    this.handle = handle;
    this.by = by;
  }

  /** So many messages were taken out of the core. */
  count(messages: number): void {
    if (messages > 0) this.fetched += messages;
  }

  /** The program is done with all messages but `left`, which it has not got yet. */
  done(left: number): void {
    const processed = this.got(left);
    // Also where nobody asks: the core need not know the names of these any more.
    if (this.by === 'each' || processed <= this.processed) return;
    this.processed = processed;
    if (!this.dirty) this.port.touch(this);
  }

  /** The program is done with one message. */
  ack(place: number): void {
    if (this.by === 'nobody' || place < this.processed) return;
    this.acks.push(place);
    if (!this.dirty) this.port.touch(this);
  }

  /** Messages that the program has got, if it has not got `left`. */
  got(left: number): number {
    return this.fetched - left;
  }

  /** The place of the message with so many behind it. */
  placeOf(behind: number): number {
    return this.fetched - 1 - behind;
  }

  /** The receipt of the message at a place; `null` if it came outside the session. */
  at(place: number, channel: number): Receipt | null {
    const seq = this.port.native.seqOf(this.handle, place);
    if (seq < 0) return null;
    this.session ??= this.port.native.sessionOf(this.handle);
    return new Receipt(this, place, `${this.session}/${channel}`, seq);
  }

  endTurn(): void {
    const { native } = this.port;
    // The pipe may be over, which is told elsewhere.
    if (this.told !== this.processed) {
      this.told = this.processed;
      native.processed(this.handle, this.told);
    }
    if (this.acks.length === 0) return;
    const acks = this.acks.sort((a, b) => a - b);
    this.acks = [];
    let start = 0;
    for (let end = 1; end <= acks.length; end++) {
      const last = acks[end - 1] as number;
      if (end < acks.length && (acks[end] as number) <= last + 1) continue;
      native.acknowledge(this.handle, acks[start] as number, last + 1);
      start = end;
    }
  }
}

/** One message of a session. */
export class Receipt {
  private readonly receipts: Receipts;
  private readonly place: number;
  private readonly channel: string;
  private readonly seq: number;
  private isDone = false;

  constructor(receipts: Receipts, place: number, channel: string, seq: number) {
    this.receipts = receipts;
    this.place = place;
    this.channel = channel;
    this.seq = seq;
  }

  get id(): string {
    return `${this.channel}/${this.seq}`;
  }

  ack(): void {
    if (this.isDone) return;
    this.isDone = true;
    this.receipts.ack(this.place);
  }
}
