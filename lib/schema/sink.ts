/**
 * Where archives are written: a position in memory, and the numbers remembered between the two
 * phases of writing a value (what is out of line first, the value itself afterwards).
 *
 * Positions count in the memory's own coordinates; alignment counts from the archive's start.
 */

import { ARCHIVE_BYTES_MAX } from './layout.js';
import { bad } from './numbers.js';
import { ALL_EMPTIES_MAX, enterWritten, written } from './region.js';

/** Thrown when the memory is full; whoever started the writing catches it. */
export const OVERFLOW: Error = new Error('the target is full');

const SCRATCH_BYTES = 64 * 1024;
/** Scratch memory larger than this is given back after use. */
const SCRATCH_BYTES_KEPT = 4 * 1024 * 1024;
const SLOTS = 1024;

/** See the module's description. Fields are public for generated code, which is its only user. */
export class Sink {
  d: DataView;
  b: Buffer;
  /** Start of the archive. */
  base = 0;
  /** Next byte to write. */
  w = 0;
  /** End of the memory. */
  end = 0;
  /** What phase one remembers. */
  r: Int32Array = new Int32Array(SLOTS);
  /** Next slot to remember something in. */
  rp = 0;
  /** Next slot to recall. */
  ri = 0;
  /** Elements of lists that take no bytes. */
  empties = 0;
  /** Whether a value is being written: a getter of it may write another one. */
  busy = false;

  #scratch: Buffer = Buffer.from(new ArrayBuffer(SCRATCH_BYTES));
  #scratchView: DataView = new DataView(this.#scratch.buffer);

  constructor() {
    this.b = this.#scratch;
    this.d = this.#scratchView;
  }

  /** Writes into `target` from `offset` on; where that is in the coordinates of memory. */
  into(target: Uint8Array, offset: number): number {
    enterWritten(target);
    const start = written.start + offset;
    const { d } = written;
    if (this.d !== d) {
      this.d = d;
      this.b = written.b;
    }
    this.base = start;
    this.w = start;
    this.end = Math.min(written.start + target.length, start + ARCHIVE_BYTES_MAX);
    this.rp = 0;
    this.ri = 0;
    this.empties = 0;
    this.busy = true;
    return start;
  }

  /** Writes into memory of its own. */
  intoScratch(): void {
    this.b = this.#scratch;
    this.d = this.#scratchView;
    this.base = 0;
    this.w = 0;
    this.end = this.#scratch.length;
    this.rp = 0;
    this.ri = 0;
    this.empties = 0;
    this.busy = true;
  }

  /** Doubles the own memory; what was written is lost. */
  grow(): void {
    this.#resize(this.#scratch.length * 2);
  }

  /** Ends a use. */
  release(): void {
    this.busy = false;
    if (this.#scratch.length > SCRATCH_BYTES_KEPT) this.#resize(SCRATCH_BYTES);
    if (this.r.length > SCRATCH_BYTES_KEPT / 4) this.r = new Int32Array(SLOTS);
  }

  /** Makes room for `slots` more to remember. */
  reserve(slots: number): void {
    const needed = this.rp + slots;
    if (needed <= this.r.length) return;
    const larger = new Int32Array(Math.max(needed, this.r.length * 2));
    larger.set(this.r);
    this.r = larger;
  }

  /** Room for `size` bytes at a multiple of `align`, where writing goes on behind; where it is. */
  take(size: number, align: number): number {
    const { w } = this;
    const p = this.base + ((w - this.base + align - 1) & -align);
    if (p + size > this.end) throw OVERFLOW;
    for (let at = w; at < p; at++) this.b[at] = 0;
    this.w = p + size;
    return p;
  }

  /** Counts elements of no bytes, of which readers take only so many. */
  addEmpties(count: number): void {
    this.empties += count;
    if (this.empties <= ALL_EMPTIES_MAX) return;
    bad(this.empties, `at most ${ALL_EMPTIES_MAX} values that take no bytes, in all lists`);
  }

  /** Remembers one number. */
  push(value: number): void {
    this.r[this.rp++] = value;
  }

  /**
   * Throws unless phase two of a value recalled what phase one remembered of it, from `base` on: a
   * getter may have said something else the second time.
   */
  done(): void {
    if (this.ri !== this.rp) bad('another value', 'the same each time that it is read');
  }

  /** Remembers a position and a length. */
  push2(position: number, length: number): void {
    const { r, rp } = this;
    r[rp] = position - this.base;
    r[rp + 1] = length;
    this.rp = rp + 2;
  }

  #resize(bytes: number): void {
    this.#scratch = Buffer.from(new ArrayBuffer(bytes));
    this.#scratchView = new DataView(this.#scratch.buffer);
  }
}

const shared = new Sink();

/** A sink that nobody uses now. */
export function freeSink(): Sink {
  return shared.busy ? new Sink() : shared;
}

/** Writes a value with everything out of line; the last thing written is its root. */
export type WriteRoot<T> = (s: Sink, value: T) => void;

/** Writes a value into the sink's own memory, which grows as needed. */
export function writeScratch<T>(s: Sink, write: WriteRoot<T>, value: T): void {
  for (;;) {
    s.intoScratch();
    try {
      return write(s, value);
    } catch (error) {
      if (error !== OVERFLOW || s.end > ARCHIVE_BYTES_MAX / 2) throw error;
      s.grow();
    }
  }
}
