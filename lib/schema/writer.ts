/** Where an archive is written: a part of somebody's memory, or memory that grows. */

import { BusbarError } from '../errors.js';

export class Writer {
  /** The memory being written, and a view of all of it. */
  bytes: Uint8Array = new Uint8Array(0);
  view: DataView = new DataView(new ArrayBuffer(0));
  /** Where the archive begins in it. */
  base = 0;
  /** Bytes of the archive so far. */
  length = 0;
  private limit = 0;
  private mayGrow = false;

  /** Begins an archive at `offset` of memory that stays as it is. */
  begin(target: Uint8Array, offset: number): void {
    if (this.bytes !== target || this.view.byteLength !== target.length) {
      this.bytes = target;
      this.view = new DataView(target.buffer, target.byteOffset, target.length);
    }
    this.base = offset;
    this.length = 0;
    this.limit = target.length - offset;
    this.mayGrow = false;
  }

  /** Begins an archive in memory of its own. */
  beginOwn(): void {
    this.begin(new Uint8Array(OWN_BYTES), 0);
    this.mayGrow = true;
  }

  /** Adds `size` zeroed bytes at a multiple of `align`; returns where they are. */
  take(size: number, align: number): number {
    const at = (this.length + align - 1) & -align;
    const end = at + size;
    if (end > this.limit) this.extend(end);
    this.bytes.fill(0, this.base + this.length, this.base + end);
    this.length = end;
    return at;
  }

  private extend(end: number): void {
    if (!this.mayGrow || end > ARCHIVE_BYTES_MAX) {
      const message = `the value takes ${end} bytes or more, and there are ${this.limit}`;
      throw new BusbarError('ERR_BUFFER_TOO_SMALL', message);
    }
    const { bytes, length } = this;
    this.begin(new Uint8Array(Math.max(2 * bytes.length, end)), 0);
    this.bytes.set(bytes.subarray(0, length));
    this.length = length;
    this.mayGrow = true;
  }
}

const OWN_BYTES = 512;

/** What a relative pointer of 32 bits reaches across. */
const ARCHIVE_BYTES_MAX = 2 ** 31 - 1;
