/**
 * Values to archives, byte for byte as rkyv 0.8 writes them.
 *
 * An archive is written depth first: what a value points to comes before the value itself, fields
 * and elements in their order, the outermost value last. So each kind has two steps: `before`
 * writes what lies elsewhere and tells where, `put` writes the value at its place.
 */

import { invalidArgument, show } from '../errors.js';
import type { Scalar, Shape } from './descriptor.js';
import type { Laid, LaidEnum, LaidField, LaidType } from './layout.js';
import { getterOf } from './record.js';
import { utf8Bytes, writeUtf8 } from './text.js';
import type { Writer } from './writer.js';

/** Where the parts of a value are that lie elsewhere: a position, or several. */
type Elsewhere = number | readonly Elsewhere[];

/** How one kind of value is written. */
export interface Encoder {
  /** Whether its values point to nothing. */
  readonly isFlat: boolean;
  /** Writes what the value points to. */
  before(writer: Writer, value: unknown): Elsewhere;
  /** Writes the value at `at` of the archive. */
  put(writer: Writer, at: number, value: unknown, elsewhere: Elsewhere): void;
}

type Types = ReadonlyMap<string, LaidType>;

/** Makes encoders of the types of one descriptor. */
export class Encoders {
  private readonly types: Types;
  private readonly made = new Map<string, Encoder>();

  constructor(types: Types) {
    this.types = types;
  }

  /** The encoder of a user type. */
  type(name: string): Encoder {
    const known = this.made.get(name);
    if (known !== undefined) return known;
    // A type may be needed for its own parts.
    const late: Encoder = { isFlat: false, before: () => 0, put: () => {} };
    this.made.set(name, late);
    const type = this.types.get(name) as LaidType;
    const made =
      type.kind === 'enum' ? this.enum(type) : this.fields(type.fields, type.shape, name);
    return Object.assign(late, made);
  }

  private place(place: Laid, path: string): Encoder {
    const { kind } = place;
    const scalar = scalars[kind as Scalar] as PutScalar | undefined;
    if (scalar !== undefined) {
      const put: Encoder['put'] = (writer, at, value) => scalar(writer, at, value, path);
      return { isFlat: true, before: nothingBefore, put };
    }
    switch (kind) {
      case 'unit':
        return { isFlat: true, before: nothingBefore, put: () => {} };
      case 'string':
        return text(path);
      case 'boxstr':
        return boxedText(path);
      case 'vec':
      case 'boxslice':
        return this.list(place.elem as Laid, path);
      case 'box':
        return this.box(place.elem as Laid, path);
      case 'option':
        return this.option(place.elem as Laid, path);
      case 'array':
        return this.array(place, path);
      case 'tuple':
        return this.fields(place.elems as readonly LaidField[], 'tuple', path);
      default:
        return this.type(place.type as string);
    }
  }

  private fields(fields: readonly LaidField[], shape: Shape, path: string): Encoder {
    const parts = fields.map((field) => {
      const encoder = this.place(field, `${path}.${field.name}`);
      return { read: getterOf(field.name), offset: field.offset, encoder };
    });
    const pointing = parts.filter(({ encoder }) => !encoder.isFlat);
    const check = shape === 'tuple' ? tupleOf(parts.length, path) : recordAt(path);
    return {
      isFlat: false,
      before(writer, value) {
        const record = check(value);
        if (pointing.length === 0) return 0;
        const elsewhere: Elsewhere[] = [];
        for (const { read, encoder } of pointing) {
          elsewhere.push(encoder.before(writer, read(record)));
        }
        return elsewhere;
      },
      put(writer, at, value, elsewhere) {
        const record = value as Record<string, unknown>;
        let next = 0;
        for (const { read, offset, encoder } of parts) {
          const where = encoder.isFlat ? 0 : (elsewhere as readonly Elsewhere[])[next++];
          encoder.put(writer, at + offset, read(record), where as Elsewhere);
        }
      },
    };
  }

  private enum(type: LaidEnum): Encoder {
    const isPlain = type.variants.every(({ shape }) => shape === 'unit');
    const variants = new Map(
      type.variants.map(({ name, tag, shape, fields }) => {
        return [name, { tag, encoder: this.fields(fields, shape, `${type.name}.${name}`) }];
      }),
    );
    const variantOf = (value: unknown): { tag: number; encoder: Encoder } => {
      const kind = isPlain ? value : (value as KindAndValue | null)?.kind;
      const variant = variants.get(kind as string);
      if (variant !== undefined) return variant;
      const names = [...variants.keys()].join(', ');
      throw invalidArgument(`${type.name} is ${show(kind)}; it must be one of ${names}`);
    };
    const innerOf = (value: unknown): unknown => (value as KindAndValue).value ?? EMPTY;
    return {
      isFlat: isPlain,
      before(writer, value) {
        const { encoder } = variantOf(value);
        return isPlain ? 0 : encoder.before(writer, innerOf(value));
      },
      put(writer, at, value, elsewhere) {
        const { tag, encoder } = variantOf(value);
        writer.view.setUint8(writer.base + at, tag);
        if (!isPlain) encoder.put(writer, at, innerOf(value), elsewhere);
      },
    };
  }

  private option(elem: Laid, path: string): Encoder {
    const encoder = this.place(elem, path);
    // A null of its own would be lost in an option of options.
    const wraps = elem.kind === 'option' || elem.kind === 'unit';
    const unwrap = (value: unknown): unknown => (wraps ? (value as { some: unknown }).some : value);
    return {
      isFlat: encoder.isFlat,
      before(writer, value) {
        return value === null ? 0 : encoder.before(writer, unwrap(value));
      },
      put(writer, at, value, elsewhere) {
        if (value === null) return;
        writer.view.setUint8(writer.base + at, 1);
        encoder.put(writer, at + elem.offset, unwrap(value), elsewhere);
      },
    };
  }

  private box(elem: Laid, path: string): Encoder {
    const encoder = this.place(elem, path);
    const measure = (): Measure => this.measure(elem);
    return {
      isFlat: false,
      before(writer, value) {
        const elsewhere = encoder.before(writer, value);
        const { size, align } = measure();
        const at = writer.take(size, align);
        encoder.put(writer, at, value, elsewhere);
        return at;
      },
      put: (writer, at, _, where) => putPointer(writer, at, where as number),
    };
  }

  private list(elem: Laid, path: string): Encoder {
    const encoder = this.place(elem, `${path}[]`);
    const measure = (): Measure => this.measure(elem);
    const isBytes = elem.kind === 'u8';
    return {
      isFlat: false,
      before(writer, value) {
        if (isBytes) return takeBytes(writer, bytesAt(value, path));
        const items = listAt(value, path);
        const elsewhere = allBefore(writer, items, encoder);
        const { size, align } = measure();
        const at = writer.take(items.length * size, align);
        putAll(writer, at, size, items, encoder, elsewhere);
        return at;
      },
      put(writer, at, value, where) {
        putPointer(writer, at, where as number);
        writer.view.setUint32(writer.base + at + 4, (value as ArrayLike<unknown>).length, true);
      },
    };
  }

  private array(place: Laid, path: string): Encoder {
    const elem = place.elem as Laid;
    const encoder = this.place(elem, `${path}[]`);
    const measure = (): Measure => this.measure(elem);
    const check = (value: unknown): readonly unknown[] => {
      const items = elem.kind === 'u8' ? [...bytesAt(value, path)] : listAt(value, path);
      if (items.length === place.length) return items;
      throw invalidArgument(`${path} has ${items.length} elements; it must have ${place.length}`);
    };
    return {
      isFlat: encoder.isFlat,
      before: (writer, value) => allBefore(writer, check(value), encoder),
      put(writer, at, value, elsewhere) {
        putAll(writer, at, measure().size, check(value), encoder, elsewhere);
      },
    };
  }

  /** What an element takes; that of a type which contains itself is known late. */
  private measure(place: Laid): Measure {
    return place.kind === 'type' ? (this.types.get(place.type as string) as LaidType) : place;
  }
}

interface Measure {
  readonly size: number;
  readonly align: number;
}

/** What a variant without data has. */
const EMPTY = Object.freeze({});

interface KindAndValue {
  readonly kind: unknown;
  readonly value?: unknown;
}

type PutScalar = (writer: Writer, at: number, value: unknown, path: string) => void;

const scalars: Readonly<Record<Scalar, PutScalar>> = {
  bool(writer, at, value, path) {
    if (typeof value !== 'boolean') throw mistake(path, value, 'true or false');
    writer.view.setUint8(writer.base + at, value ? 1 : 0);
  },
  u8: integer(0, 0xff, (view, at, value) => view.setUint8(at, value)),
  i8: integer(-0x80, 0x7f, (view, at, value) => view.setInt8(at, value)),
  u16: integer(0, 0xffff, (view, at, value) => view.setUint16(at, value, true)),
  i16: integer(-0x8000, 0x7fff, (view, at, value) => view.setInt16(at, value, true)),
  u32: integer(0, 0xffff_ffff, (view, at, value) => view.setUint32(at, value, true)),
  i32: integer(-(2 ** 31), 2 ** 31 - 1, (view, at, value) => view.setInt32(at, value, true)),
  u64: long(0n, 64),
  i64: long(-(1n << 63n), 64),
  u128: long(0n, 128),
  i128: long(-(1n << 127n), 128),
  f32(writer, at, value, path) {
    if (typeof value !== 'number') throw mistake(path, value, 'a number');
    writer.view.setFloat32(writer.base + at, value, true);
  },
  f64(writer, at, value, path) {
    if (typeof value !== 'number') throw mistake(path, value, 'a number');
    writer.view.setFloat64(writer.base + at, value, true);
  },
  char(writer, at, value, path) {
    const point = typeof value === 'string' ? (value.codePointAt(0) ?? -1) : -1;
    const isOne = point >= 0 && String.fromCodePoint(point) === value;
    if (!isOne || (point >= 0xd800 && point < 0xe000)) throw mistake(path, value, 'one character');
    writer.view.setUint32(writer.base + at, point, true);
  },
};

function integer(
  min: number,
  max: number,
  set: (view: DataView, at: number, value: number) => void,
): PutScalar {
  return (writer, at, value, path) => {
    if (!Number.isInteger(value) || (value as number) < min || (value as number) > max) {
      throw mistake(path, value, `an integer, ${min} to ${max}`);
    }
    set(writer.view, writer.base + at, value as number);
  };
}

function long(min: bigint, bits: 64 | 128): PutScalar {
  const max = min + (1n << BigInt(bits)) - 1n;
  return (writer, at, value, path) => {
    if (bits === 64 && Number.isSafeInteger(value) && (min !== 0n || (value as number) >= 0)) {
      return putWords(writer, at, value as number);
    }
    const whole = Number.isSafeInteger(value) ? BigInt(value as number) : value;
    if (typeof whole !== 'bigint' || whole < min || whole > max) {
      throw mistake(path, value, `a bigint or safe integer, ${min} to ${max}`);
    }
    const { view, base } = writer;
    view.setBigUint64(base + at, BigInt.asUintN(64, whole), true);
    if (bits === 128) view.setBigUint64(base + at + 8, BigInt.asUintN(64, whole >> 64n), true);
  };
}

function allBefore(writer: Writer, items: readonly unknown[], encoder: Encoder): Elsewhere {
  if (encoder.isFlat) return 0;
  const elsewhere: Elsewhere[] = [];
  for (const item of items) elsewhere.push(encoder.before(writer, item));
  return elsewhere;
}

function putAll(
  writer: Writer,
  at: number,
  size: number,
  items: readonly unknown[],
  encoder: Encoder,
  elsewhere: Elsewhere,
): void {
  for (let i = 0; i < items.length; i++) {
    const where = typeof elsewhere === 'number' ? elsewhere : elsewhere[i];
    encoder.put(writer, at + i * size, items[i], where as Elsewhere);
  }
}

/** A safe integer as 64 bits, without making a bigint. */
function putWords({ view, base }: Writer, at: number, value: number): void {
  view.setInt32(base + at, value | 0, true);
  view.setInt32(base + at + 4, Math.floor(value / 2 ** 32), true);
}

function text(path: string): Encoder {
  return {
    isFlat: false,
    before(writer, value) {
      if (typeof value !== 'string') throw mistake(path, value, 'a string');
      const bytes = utf8Bytes(value);
      return bytes <= INLINE_BYTES ? -1 : takeText(writer, value, bytes);
    },
    put(writer, at, value, where) {
      const { view, bytes, base } = writer;
      if (where === -1) {
        const inline = utf8Bytes(value as string);
        writeUtf8(bytes, base + at, value as string, inline);
        for (let i = inline; i < INLINE_BYTES; i++) bytes[base + at + i] = 0xff;
        return;
      }
      // The two lowest bits of the first byte say that it is not inline.
      const length = utf8Bytes(value as string);
      view.setUint32(base + at, (length & 0x3f) | 0x80 | ((length & ~0x3f) << 2), true);
      putPointer(writer, at + 4, where as number, at);
    },
  };
}

function boxedText(path: string): Encoder {
  return {
    isFlat: false,
    before(writer, value) {
      if (typeof value !== 'string') throw mistake(path, value, 'a string');
      return takeText(writer, value, utf8Bytes(value));
    },
    put(writer, at, value, where) {
      putPointer(writer, at, where as number);
      const length = utf8Bytes(value as string);
      writer.view.setUint32(writer.base + at + 4, length, true);
    },
  };
}

function takeText(writer: Writer, value: string, length: number): number {
  const at = writer.take(length, 1);
  writeUtf8(writer.bytes, writer.base + at, value, length);
  return at;
}

function takeBytes(writer: Writer, value: Uint8Array): number {
  const at = writer.take(value.length, 1);
  writer.bytes.set(value, writer.base + at);
  return at;
}

/** Writes at `at` how far it is from `origin`, which is most often `at` itself, to `where`. */
function putPointer(writer: Writer, at: number, where: number, origin: number = at): void {
  writer.view.setInt32(writer.base + at, where - origin, true);
}

function recordAt(path: string): (value: unknown) => Record<string, unknown> {
  return (value) => {
    if (value !== null && typeof value === 'object') return value as Record<string, unknown>;
    throw mistake(path, value, 'an object');
  };
}

function tupleOf(length: number, path: string): (value: unknown) => Record<string, unknown> {
  return (value) => {
    const items = listAt(value, path);
    if (items.length === length) return items as unknown as Record<string, unknown>;
    throw invalidArgument(`${path} has ${items.length} elements; it must have ${length}`);
  };
}

function listAt(value: unknown, path: string): readonly unknown[] {
  if (Array.isArray(value)) return value as readonly unknown[];
  if (ArrayBuffer.isView(value) && 'length' in value) return Array.from(value as Uint8Array);
  throw mistake(path, value, 'an array');
}

function bytesAt(value: unknown, path: string): Uint8Array {
  if (value instanceof Uint8Array) return value;
  throw mistake(path, value, 'a Uint8Array');
}

function mistake(path: string, value: unknown, what: string): Error {
  return invalidArgument(`${path} is ${show(value)}; it must be ${what}`);
}

function nothingBefore(): Elsewhere {
  return 0;
}

/** What a string may take without lying elsewhere. */
const INLINE_BYTES = 8;
