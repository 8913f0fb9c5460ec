/** Payloads that can be recognised, and reproducible chance. */

import type { ExecutionContext } from 'ava';

/** Asserts that bytes are equal; quick for large ones, where `t.deepEqual` is not. */
export function sameBytes(
  t: ExecutionContext<unknown>,
  actual: Buffer,
  expected: Buffer,
  what: string = 'the bytes',
): void {
  if (actual.equals(expected)) {
    t.pass();
    return;
  }
  const at = expected.findIndex((byte, i) => actual[i] !== byte);
  t.fail(`${what} differ from byte ${at} on; ${actual.length} instead of ${expected.length} bytes`);
}

/** Numbers from 0 (included) to 1 (excluded), the same for the same seed (mulberry32). */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A seed for this run; a failing test prints it, and `BUSBAR_SEED` repeats it. */
export function seedOfRun(): number {
  return Number(process.env['BUSBAR_SEED'] ?? Date.now() % 1_000_000);
}

/** `length` bytes that depend on `seed` and on their place. */
export function pattern(length: number, seed: number): Buffer {
  const bytes = Buffer.allocUnsafeSlow(length);
  // A period that is prime to every block size shows pages and blocks that changed places.
  const period = PATTERN.subarray(seed % 251, (seed % 251) + 509);
  for (let at = 0; at < length; at += period.length) period.copy(bytes, at);
  return bytes;
}

/** A size up to `max`, small ones as likely as large ones. */
export function randomSize(next: () => number, max: number): number {
  return Math.floor((max + 1) ** next()) - 1;
}

const PATTERN = Buffer.from(Array.from({ length: 760 }, (_, i) => (i * i * 31 + i * 7) & 255));
