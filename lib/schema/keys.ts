/**
 * Keys of maps: their hash as rkyv's `FxHasher64` computes it of what Rust's `Hash` feeds it, and
 * their order as Rust's `Ord` has it. Both are built from functions for the parts of a key.
 */

import { isDeepStrictEqual } from 'node:util';

/** Feeds a key to a hasher. */
export type HashKey<T = never> = (h: FxHasher, key: T) => void;

/** Negative, 0 or positive, as for sorting. */
export type CompareKeys<T = never> = (a: T, b: T) => number;

/** What maps need to know about a kind of key. */
export interface KeyRules<T = never> {
  readonly hash: HashKey<T>;
  readonly compare: CompareKeys<T>;
  /** Whether keys that say the same are one key of a JavaScript `Map`. */
  readonly isPrimitive?: true;
}

const SEED_LOW = 0x2722_0a95;
const SEED_HIGH = 0x517c_c1b7;

/** `FxHasher64` in 32-bit arithmetic, since bigints would cost a hundred times more. */
export class FxHasher {
  /** Low 32 bits of the hash, signed. */
  low = 0;
  /** High 32 bits, signed. */
  high = 0;

  reset(): void {
    this.low = 0;
    this.high = 0;
  }

  /** `hash = (hash.rotate_left(5) ^ word) * SEED` */
  word(low: number, high: number): void {
    const a = ((this.low << 5) | (this.high >>> 27)) ^ low;
    const b = ((this.high << 5) | (this.low >>> 27)) ^ high;
    this.low = Math.imul(a, SEED_LOW);
    this.high = (multiplyHigh(a, SEED_LOW) + Math.imul(a, SEED_HIGH) + Math.imul(b, SEED_LOW)) | 0;
  }

  bytes(bytes: Uint8Array): void {
    const { length } = bytes;
    const d = new DataView(bytes.buffer, bytes.byteOffset, length);
    let at = 0;
    for (; at + 8 <= length; at += 8) this.word(d.getInt32(at, true), d.getInt32(at + 4, true));
    if ((length & 4) !== 0) {
      this.word(d.getInt32(at, true), 0);
      at += 4;
    }
    if ((length & 2) !== 0) {
      this.word(d.getUint16(at, true), 0);
      at += 2;
    }
    if ((length & 1) !== 0) this.word(d.getUint8(at), 0);
  }

  /** The hash modulo a number below 2^24. */
  modulo(divisor: number): number {
    if (divisor >= 2 ** 24) {
      const hash = (BigInt(this.high >>> 0) << 32n) | BigInt(this.low >>> 0);
      return Number(hash % BigInt(divisor));
    }
    const carry = ((this.high >>> 0) % divisor) * (2 ** 32 % divisor);
    return (carry + ((this.low >>> 0) % divisor)) % divisor;
  }
}

/** The high 32 bits of the product of two unsigned 32-bit numbers. */
function multiplyHigh(a: number, b: number): number {
  const [aLow, aHigh, bLow, bHigh] = [a & 0xffff, a >>> 16, b & 0xffff, b >>> 16];
  const middle = aHigh * bLow + Math.floor((aLow * bLow) / 0x1_0000);
  const cross = aLow * bHigh + (middle % 0x1_0000);
  return (aHigh * bHigh + Math.floor(middle / 0x1_0000) + Math.floor(cross / 0x1_0000)) | 0;
}

function natural<T extends number | bigint | boolean>(a: T, b: T): number {
  return a < b ? -1 : Number(a > b);
}

/** Integers of at most 32 bits; of signed ones Rust hashes the unsigned bits of their own width. */
export function small(bits: number): KeyRules<number> {
  const mask = bits === 32 ? -1 : (1 << bits) - 1;
  return { hash: (h, key) => h.word(key & mask, 0), compare: natural, isPrimitive: true };
}

/** 64-bit integers, as numbers or bigints. */
export const long: KeyRules<number | bigint> = {
  hash(h, key) {
    const bits = BigInt.asUintN(64, BigInt(key));
    h.word(Number(bits & 0xffff_ffffn) | 0, Number(bits >> 32n) | 0);
  },
  compare: natural,
  isPrimitive: true,
};

/** 128-bit integers. */
export const huge: KeyRules<bigint> = {
  hash(h, key) {
    long.hash(h, BigInt.asUintN(64, key));
    long.hash(h, BigInt.asUintN(64, key >> 64n));
  },
  compare: natural,
  isPrimitive: true,
};

/** Booleans. */
export const bool: KeyRules<boolean> = {
  hash: (h, key) => h.word(key ? 1 : 0, 0),
  compare: natural,
  isPrimitive: true,
};

/** Characters. */
export const char: KeyRules<string> = {
  hash: (h, key) => h.word(key.codePointAt(0) ?? 0, 0),
  compare: (a, b) => (a.codePointAt(0) ?? 0) - (b.codePointAt(0) ?? 0),
  isPrimitive: true,
};

/** `()` */
export const unit: KeyRules<null> = { hash: () => undefined, compare: () => 0 };

/** What the writer does not have of a key: it is only compared, with what is asked for. */
export const constant: KeyRules<unknown> = {
  hash: () => undefined,
  compare: (a, b) => (isDeepStrictEqual(a ?? null, b ?? null) ? 0 : 1),
};

/** Strings: ordered by their UTF-8, which is not the order of JavaScript. */
export const string: KeyRules<string> = {
  hash(h, key) {
    h.bytes(Buffer.from(key));
    h.word(0xff, 0);
  },
  compare: (a, b) => (a === b ? 0 : Buffer.compare(Buffer.from(a), Buffer.from(b))),
  isPrimitive: true,
};

/** Bytes of any length. */
export const bytes: KeyRules<ArrayLike<number>> = {
  hash(h, key) {
    h.word(key.length, 0);
    h.bytes(Uint8Array.from(key));
  },
  compare: (a, b) => Buffer.compare(Uint8Array.from(a), Uint8Array.from(b)),
};

/** Lists and arrays; Rust feeds integers of a slice as one run of bytes, `width` each. */
export function list<T>(elem: KeyRules<T>, width: number): KeyRules<ArrayLike<T>> {
  return {
    hash(h, key) {
      h.word(key.length, 0);
      if (width === 0) {
        for (const one of Array.from(key)) elem.hash(h, one);
        return;
      }
      const run = Buffer.alloc(key.length * width);
      for (const [index, one] of Array.from(key as ArrayLike<number | bigint>).entries()) {
        const bits = BigInt.asUintN(width * 8, BigInt(one));
        const hex = bits.toString(16).padStart(width * 2, '0');
        run.set([...Buffer.from(hex, 'hex')].toReversed(), index * width);
      }
      h.bytes(run);
    },
    compare(a, b) {
      const shorter = Math.min(a.length, b.length);
      for (let index = 0; index < shorter; index++) {
        const order = elem.compare(a[index] as T, b[index] as T);
        if (order !== 0) return order;
      }
      return a.length - b.length;
    },
  };
}

/** Options: nothing, which `undefined` is as well as `null`, comes first. */
export function option<T>(elem: KeyRules<T>, nested: boolean): KeyRules<T | null | undefined> {
  const inner = (key: T): T => (nested ? (key as { some: T }).some : key);
  const isNone = (key: unknown): key is null | undefined => key === null || key === undefined;
  return {
    hash(h, key) {
      h.word(isNone(key) ? 0 : 1, 0);
      if (!isNone(key)) elem.hash(h, inner(key));
    },
    compare(a, b) {
      if (isNone(a) || isNone(b)) return Number(!isNone(a)) - Number(!isNone(b));
      return elem.compare(inner(a), inner(b));
    },
  };
}

/** Tuples and structs: part by part. */
export function parts(
  rules: readonly (readonly [name: string, rules: KeyRules<unknown>])[],
): KeyRules<Readonly<Record<string, unknown>>> {
  return {
    hash(h, key) {
      for (const [name, rule] of rules) rule.hash(h, key[name]);
    },
    compare(a, b) {
      for (const [name, rule] of rules) {
        const order = rule.compare(a[name], b[name]);
        if (order !== 0) return order;
      }
      return 0;
    },
  };
}

/** Enums: in the order of their tags, then by what the variant holds. */
export function variants(
  rules: readonly (readonly [name: string, tag: number, rules: KeyRules<unknown>])[],
): KeyRules<string | { readonly kind: string; readonly value?: unknown }> {
  const find = (key: string | { readonly kind: string }): number =>
    rules.findIndex(([name]) => name === (typeof key === 'string' ? key : key.kind));
  const held = (key: unknown): unknown => (key as { value?: unknown }).value;
  return {
    hash(h, key) {
      const [, tag, rule] = rules[find(key)] ?? [];
      // As derived by Rust: where there is only one variant, there is nothing to tell apart.
      if (rules.length > 1) h.word(tag ?? 0, 0);
      if (typeof key !== 'string') rule?.hash(h, held(key));
    },
    compare(a, b) {
      const [i, j] = [find(a), find(b)];
      // Another version may lack the variant that unknown ones are read as.
      const order = (rules[i]?.[1] ?? -1) - (rules[j]?.[1] ?? -1);
      if (order !== 0 || typeof a === 'string') return order;
      return rules[i]?.[2].compare(held(a), held(b)) ?? 0;
    },
  };
}
