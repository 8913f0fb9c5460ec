/**
 * Staging: one buffer in which records collect until a native call takes them all.
 *
 * ```
 *  0      start              end          open: an open reservation, if any
 *  | taken | records to submit | reservation |            |
 * ```
 *
 * Nothing here decides when to submit. A reservation that is overtaken by another message keeps the
 * old buffer, and staging goes on in a new one.
 *
 * A thread has few such buffers: a pipe that needs one when there are {@link HOLDERS_MAX} takes
 * that of another which has nothing staged. So thousands of pipes that are silent hold none.
 */

import { markAsUntransferable } from 'node:worker_threads';

import { FastBuffer } from './chunk.js';
import type { Sendable } from './pending.js';
import { HEADER_BYTES, INLINE_MAX, recordBytes } from './record.js';

const NO_BYTES = Buffer.alloc(0);
const NO_WORDS = new Uint32Array(0);

/** Pipes that keep a buffer while they are silent, in no order. */
const HOLDERS_MAX = 64;
const holders: Staging[] = [];
/** Who was looked at last, of `holders`. */
let hand = 0;

export class Staging {
  bytes: Buffer = NO_BYTES;
  start = 0;
  end = 0;
  /** Records since the last submit. */
  records = 0;
  /** Messages between `start` and `end`. */
  private messages = 0;
  private words: Uint32Array = NO_WORDS;
  /** Whose reservation lies behind `end`, if one is open there. */
  private owner: object | null = null;
  /** A user may have kept bytes of the buffer: no other pipe gets it. */
  private isShown = false;
  /** Open reservations that kept an old buffer. */
  private strays = 0;

  get isEmpty(): boolean {
    return this.start === this.end;
  }

  /** How many messages wait here, if none of them was submitted in part. */
  get count(): number {
    return this.messages;
  }

  /** Whether a reservation may be opened here: each stray one costs a buffer. */
  get isReservable(): boolean {
    return this.owner === null && this.strays === 0;
  }

  /** Whether there is room for a record of `size` bytes behind `end`. */
  fits(size: number): boolean {
    return (this.owner === null && this.end + size <= this.bytes.length) || this.arrange(size);
  }

  /** Adds a record; {@link Staging.fits} must have been true for it. */
  put(data: Uint8Array, length: number, channel: number): void {
    const at = this.end;
    this.bytes.set(data, at + HEADER_BYTES);
    this.seal(at, length, channel);
  }

  /**
   * Adds records of `messages` from `at` on, up to the first that does not fit or is not plain
   * small bytes; returns where that is. What changes with each record is kept in locals: this is
   * a quarter faster than as many calls of {@link Staging.put}.
   */
  putRun(messages: readonly Sendable[], at: number, channel: number): number {
    const { bytes, words } = this;
    const room = this.owner === null ? bytes.length : 0;
    let end = this.end;
    let i = at;
    for (; i < messages.length; i++) {
      const data = messages[i];
      if (!(data instanceof Uint8Array)) break;
      const { length } = data;
      const next = end + recordBytes(length);
      if (length === 0 || length > INLINE_MAX || next > room) break;
      bytes.set(data, end + HEADER_BYTES);
      words[end >> 2] = length;
      words[(end >> 2) + 1] = channel;
      end = next;
    }
    this.end = end;
    this.records += i - at;
    this.messages += i - at;
    return i;
  }

  /** As {@link Staging.put}, for a text of at most a third as many characters as there is room. */
  putText(text: string, channel: number): void {
    const at = this.end;
    this.seal(at, this.bytes.write(text, at + HEADER_BYTES, 'utf8'), channel);
  }

  /** Opens a reservation behind `end`, where there must be room; returns where its bytes begin. */
  open(owner: object): number {
    this.owner = owner;
    this.isShown = true;
    return this.end + HEADER_BYTES;
  }

  /** As {@link Staging.open}; returns the bytes. */
  reserve(length: number, owner: object): Buffer {
    const at = this.open(owner);
    return new FastBuffer(this.bytes.buffer as ArrayBuffer, at, length);
  }

  /** Whether the reservation of `owner` lies here. */
  holds(owner: object): boolean {
    return this.owner === owner;
  }

  /** Makes the open reservation a record. */
  commit(length: number, channel: number): void {
    this.owner = null;
    this.seal(this.end, length, channel);
  }

  /** Ends a reservation without a record. */
  forget(owner: object): void {
    if (this.owner === owner) this.owner = null;
    else this.strays--;
  }

  /** Lets the open reservation have this buffer, and goes on in another. */
  stray(owner: object): void {
    if (this.owner !== owner) return;
    const { bytes, start, end } = this;
    this.renew();
    this.bytes.set(bytes.subarray(start, end));
    this.end = end - start;
    this.start = 0;
    this.owner = null;
    this.strays++;
  }

  /** The core has taken `bytes` from the front. */
  taken(bytes: number): void {
    this.records = 0;
    this.start += bytes;
    if (this.start !== this.end) return this.recount();
    this.messages = 0;
    if (this.owner !== null) return;
    this.start = 0;
    this.end = 0;
  }

  /** Bytes of the first message, if there is one. */
  get firstLength(): number {
    return this.words[this.start >> 2] ?? 0;
  }

  /** Forgets the first message. */
  skip(): void {
    const size = recordBytes(this.firstLength);
    this.taken(Math.min(size, this.end - this.start));
  }

  /** Forgets everything. Returns how many messages that were. */
  reset(): number {
    const lost = this.messages;
    this.isShown = false;
    const at = holders.indexOf(this);
    if (at >= 0) holders.splice(at, 1);
    this.bytes = NO_BYTES;
    this.words = NO_WORDS;
    this.start = 0;
    this.end = 0;
    this.records = 0;
    this.messages = 0;
    // A reservation that was open here keeps the old buffer.
    if (this.owner !== null) this.strays++;
    this.owner = null;
    return lost;
  }

  /** Makes what room can be made without a submit. */
  private arrange(size: number): boolean {
    if (this.owner !== null) this.stray(this.owner);
    if (this.end + size <= this.bytes.length) return true;
    if (this.isEmpty) {
      this.renew();
      return true;
    }
    if (this.start === 0 || this.bytes.length === 0) return false;
    this.bytes.copyWithin(0, this.start, this.end);
    this.end -= this.start;
    this.start = 0;
    return this.end + size <= this.bytes.length;
  }

  private seal(at: number, length: number, channel: number): void {
    const words = this.words;
    words[at >> 2] = length;
    words[(at >> 2) + 1] = channel;
    this.end = at + recordBytes(length);
    this.records++;
    this.messages++;
  }

  private renew(): void {
    this.start = 0;
    this.end = 0;
    if (this.bytes.length === 0 && this.takeOver()) return;
    this.isShown = false;
    const memory = new ArrayBuffer(STAGING_BYTES);
    markAsUntransferable(memory);
    this.bytes = Buffer.from(memory);
    this.words = new Uint32Array(memory);
  }

  /** Takes the buffer of a pipe that needs none at present; `false` if there is none to take. */
  private takeOver(): boolean {
    if (holders.length < HOLDERS_MAX) {
      holders.push(this);
      return false;
    }
    for (let looks = 0; looks < HOLDERS_MAX; looks++) {
      hand = (hand + 1) % holders.length;
      const other = holders[hand] as Staging;
      if (!other.isEmpty || other.isShown) continue;
      this.bytes = other.bytes;
      this.words = other.words;
      other.bytes = NO_BYTES;
      other.words = NO_WORDS;
      other.start = 0;
      other.end = 0;
      holders[hand] = this;
      return this.bytes.length > 0;
    }
    // All of them are at work: this one has a buffer beyond, until the pipe is closed.
    return false;
  }

  private recount(): void {
    this.messages = 0;
    for (let at = this.start; at < this.end; this.messages++) {
      at += recordBytes(this.words[at >> 2] as number);
    }
  }
}

const STAGING_BYTES = 64 * 1024;
