/** How long things took, by powers of two of a microsecond. */

import type { Latency } from '../metrics.js';

export class Histogram {
  /** The first is for up to 1 µs, the second for up to 2 µs, …, the last for all above. */
  private readonly counts = new Float64Array(BUCKETS + 1);
  private count = 0;
  private sumMs = 0;

  /** One thing has taken `ms` milliseconds. */
  record(ms: number): void {
    const bucket = Math.max(0, Math.ceil(Math.log2(ms * 1000)));
    const at = Math.min(bucket, BUCKETS);
    this.counts[at] = (this.counts[at] as number) + 1;
    this.count++;
    this.sumMs += ms;
  }

  /** What was recorded so far. */
  snapshot(): Latency {
    const buckets = Array.from({ length: BUCKETS }, (_, i) => {
      const count = this.counts.subarray(0, i + 1).reduce((sum, n) => sum + n, 0);
      return { upToSeconds: 2 ** i / 1e6, count };
    });
    return { count: this.count, sumSeconds: this.sumMs / 1000, buckets };
  }
}

/** Up to 2²⁶ µs: about a minute. */
const BUCKETS = 27;
