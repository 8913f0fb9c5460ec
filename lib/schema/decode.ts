/**
 * Archives to values. Nothing in the bytes is believed: every pointer is checked before it is
 * followed, by the rule that rkyv's own validation has.
 *
 * The rule: an archive is read in the order in which it was written, and each thing that is pointed
 * to claims its bytes. A claim lies behind all earlier ones and before the thing that points to it,
 * so no byte is read twice, no pointer goes round in circles, and the work is bounded by the length
 * of the archive.
 */

import { BusbarError } from '../errors.js';
import type { Scalar, Shape } from './descriptor.js';
import type { Laid, LaidEnum, LaidField, LaidType } from './layout.js';
import { recordMaker } from './record.js';
import { readUtf8 } from './text.js';

/** An archive, and which part of it is not claimed yet. */
export class Archive {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  private from = 0;
  private to: number;
  private depth = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.to = bytes.length;
  }

  /** Bytes of the archive, as memory of their own. */
  copy(at: number, length: number): Uint8Array {
    return new Uint8Array(this.bytes.subarray(at, at + length));
  }

  /**
   * Claims `size` bytes at `at`; then what is there may be read, and what that points to. The
   * result is for {@link Archive.leave}.
   */
  enter(at: number, size: number, align: number, path: string): number {
    const { to } = this;
    if (at < this.from || at + size > to || at % align !== 0) {
      throw invalid(path, `points to ${size} bytes at ${at}, where they cannot be`);
    }
    if (++this.depth > DEPTH_MAX) throw invalid(path, `is nested more than ${DEPTH_MAX} deep`);
    this.to = at;
    return to;
  }

  /** All up to `from` is read. */
  leave(from: number, to: number): void {
    this.depth--;
    this.from = from;
    this.to = to;
  }
}

/** How one kind of value is read at a place of an archive. */
export type Decoder = (archive: Archive, at: number) => unknown;

/** Makes decoders of the types of one descriptor. */
export class Decoders {
  private readonly types: ReadonlyMap<string, LaidType>;
  private readonly made = new Map<string, Decoder>();

  constructor(types: ReadonlyMap<string, LaidType>) {
    this.types = types;
  }

  /** The decoder of a user type. */
  type(name: string): Decoder {
    const known = this.made.get(name);
    if (known !== undefined) return known;
    let made: Decoder | null = null;
    this.made.set(name, (archive, at) => (made as Decoder)(archive, at));
    const type = this.types.get(name) as LaidType;
    made = type.kind === 'enum' ? this.enum(type) : this.fields(type.fields, type.shape, name);
    this.made.set(name, made);
    return made;
  }

  private place(place: Laid, path: string): Decoder {
    const scalar = scalarOf(place, path);
    if (scalar !== null) return scalar;
    switch (place.kind) {
      case 'unit':
        return () => null;
      case 'string':
        return (archive, at) => readText(archive, at, path);
      case 'boxstr':
        return (archive, at) => {
          const length = archive.view.getUint32(at + 4, true);
          return claimText(archive, at + archive.view.getInt32(at, true), length, path);
        };
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

  private fields(fields: readonly LaidField[], shape: Shape, path: string): Decoder {
    const parts = fields.map((field) => {
      const { name, offset } = field;
      return { name, offset, decode: this.place(field, `${path}.${name}`) };
    });
    if (shape === 'tuple') {
      return (archive, at) => parts.map(({ offset, decode }) => decode(archive, at + offset));
    }
    return recordMaker(
      parts.map(({ name }) => name),
      parts.map(({ offset }) => offset),
      parts.map(({ decode }) => decode),
    );
  }

  private enum(type: LaidEnum): Decoder {
    const isPlain = type.variants.every(({ shape }) => shape === 'unit');
    const variants = new Map(
      type.variants.map(({ name, tag, shape, fields }) => {
        return [tag, { name, shape, decode: this.fields(fields, shape, `${type.name}.${name}`) }];
      }),
    );
    return (archive, at) => {
      const tag = archive.view.getUint8(at);
      const variant = variants.get(tag);
      if (variant === undefined) throw invalid(type.name, `has tag ${tag}, which is no variant`);
      const { name, shape, decode } = variant;
      if (isPlain) return name;
      return shape === 'unit' ? { kind: name } : { kind: name, value: decode(archive, at) };
    };
  }

  private option(elem: Laid, path: string): Decoder {
    const decode = this.place(elem, path);
    const wraps = elem.kind === 'option' || elem.kind === 'unit';
    return (archive, at) => {
      const tag = archive.view.getUint8(at);
      if (tag > 1) throw invalid(path, `is an option with tag ${tag}`);
      if (tag === 0) return null;
      const value = decode(archive, at + elem.offset);
      return wraps ? { some: value } : value;
    };
  }

  private box(elem: Laid, path: string): Decoder {
    const decode = this.place(elem, path);
    return (archive, at) => {
      const target = at + archive.view.getInt32(at, true);
      const { size, align } = this.measure(elem);
      const end = archive.enter(target, size, align, path);
      const value = decode(archive, target);
      archive.leave(target + size, end);
      return value;
    };
  }

  private list(elem: Laid, path: string): Decoder {
    const decode = this.place(elem, `${path}[]`);
    const isBytes = elem.kind === 'u8';
    return (archive, at) => {
      const target = at + archive.view.getInt32(at, true);
      const length = archive.view.getUint32(at + 4, true);
      const { size, align } = this.measure(elem);
      if (size === 0 && length > archive.bytes.length) {
        throw invalid(path, `has ${length} elements of no size`);
      }
      const end = archive.enter(target, length * size, align, path);
      const value = isBytes
        ? archive.copy(target, length)
        : readAll(archive, target, length, size, decode);
      archive.leave(target + length * size, end);
      return value;
    };
  }

  private array(place: Laid, path: string): Decoder {
    const { elem, length } = place as { elem: Laid; length: number };
    const decode = this.place(elem, `${path}[]`);
    if (elem.kind === 'u8') return (archive, at) => archive.copy(at, length);
    return (archive, at) => {
      const { size } = this.measure(elem);
      return readAll(archive, at, length, size, decode);
    };
  }

  private measure(place: Laid): { readonly size: number; readonly align: number } {
    return place.kind === 'type' ? (this.types.get(place.type as string) as LaidType) : place;
  }
}

function scalarOf(place: Laid, path: string): Decoder | null {
  if (place.ts === 'number' && (place.kind === 'u64' || place.kind === 'i64')) {
    const isSigned = place.kind === 'i64';
    return ({ view }, at) => {
      const high = isSigned ? view.getInt32(at + 4, true) : view.getUint32(at + 4, true);
      const value = high * 2 ** 32 + view.getUint32(at, true);
      if (Number.isSafeInteger(value)) return value;
      throw invalid(path, 'is beyond the safe integers, and to be read as a number');
    };
  }
  const read = SCALARS[place.kind as Scalar] as Read | undefined;
  if (read === undefined) return null;
  return (archive, at) => {
    const value = read(archive.view, at);
    if (value === undefined) throw invalid(path, `is no ${place.kind}`);
    return value;
  };
}

/** Gives `undefined` for bytes that are no value. */
type Read = (view: DataView, at: number) => unknown;

const SCALARS: Readonly<Record<Scalar, Read>> = {
  bool(view, at) {
    const byte = view.getUint8(at);
    return byte > 1 ? undefined : byte === 1;
  },
  u8: (view, at) => view.getUint8(at),
  i8: (view, at) => view.getInt8(at),
  u16: (view, at) => view.getUint16(at, true),
  i16: (view, at) => view.getInt16(at, true),
  u32: (view, at) => view.getUint32(at, true),
  i32: (view, at) => view.getInt32(at, true),
  u64: (view, at) => view.getBigUint64(at, true),
  i64: (view, at) => view.getBigInt64(at, true),
  u128: (view, at) => view.getBigUint64(at, true) | (view.getBigUint64(at + 8, true) << 64n),
  i128: (view, at) => view.getBigUint64(at, true) | (view.getBigInt64(at + 8, true) << 64n),
  f32: (view, at) => view.getFloat32(at, true),
  f64: (view, at) => view.getFloat64(at, true),
  char(view, at) {
    const point = view.getUint32(at, true);
    const isScalar = point < 0xd800 || (point >= 0xe000 && point <= 0x10ffff);
    return isScalar ? String.fromCodePoint(point) : undefined;
  },
};

function readText(archive: Archive, at: number, path: string): string {
  const { bytes, view } = archive;
  const first = view.getUint8(at);
  if ((first & 0xc0) !== 0x80) {
    let length = 0;
    while (length < INLINE_BYTES && bytes[at + length] !== 0xff) length++;
    return textOf(bytes, at, length, path);
  }
  const word = view.getUint32(at, true);
  const length = (word & 0x3f) | ((word >>> 2) & ~0x3f);
  if (length <= INLINE_BYTES) throw invalid(path, `is a string of ${length} bytes out of line`);
  return claimText(archive, at + view.getInt32(at + 4, true), length, path);
}

function claimText(archive: Archive, at: number, length: number, path: string): string {
  const end = archive.enter(at, length, 1, path);
  const text = textOf(archive.bytes, at, length, path);
  archive.leave(at + length, end);
  return text;
}

function textOf(bytes: Uint8Array, at: number, length: number, path: string): string {
  try {
    return readUtf8(bytes, at, length);
  } catch {
    throw invalid(path, 'is not UTF-8');
  }
}

function readAll(
  archive: Archive,
  at: number,
  length: number,
  size: number,
  decode: Decoder,
): unknown[] {
  const items: unknown[] = [];
  for (let i = 0; i < length; i++) items.push(decode(archive, at + i * size));
  return items;
}

function invalid(path: string, what: string): BusbarError {
  return new BusbarError('ERR_ARCHIVE_INVALID', `the archive is not valid: ${path} ${what}`);
}

const INLINE_BYTES = 8;
const DEPTH_MAX = 512;
