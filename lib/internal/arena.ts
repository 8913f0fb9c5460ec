/**
 * Memory for one batch at a time, and views of it. As every batch lies at the front, and most
 * messages of a pipe are of few sizes, the same places are looked at again and again: views of the
 * last batches are used again, which costs a seventh of making one.
 */

import { markAsUntransferable } from 'node:worker_threads';

import { sliceOf } from './chunk.js';

export class Arena {
  readonly bytes: Buffer;
  readonly memory: ArrayBuffer;
  private readonly views: Buffer[] = [];
  /** Where each view begins: asking it costs more than the rest. */
  private readonly offsets = new Uint32Array(VIEWS_MAX);

  constructor() {
    this.memory = new ArrayBuffer(ARENA_BYTES);
    this.bytes = Buffer.from(this.memory);
    markAsUntransferable(this.memory);
  }

  /** Message `i` of a batch, valid until the next one. */
  view(i: number, offset: number, length: number): Buffer {
    const last = this.views[i];
    // A user may have transferred the memory away: then no view has a length.
    if (last !== undefined && last.length === length && this.offsets[i] === offset) return last;
    const view = sliceOf(this.memory, offset, length);
    // In order, so that there are no holes.
    if (i < VIEWS_MAX && i <= this.views.length) {
      this.views[i] = view;
      this.offsets[i] = offset;
    }
    return view;
  }
}

const ARENA_BYTES = 256 * 1024;

/** Views kept for an arena. */
const VIEWS_MAX = 4096;
