/** Codecs of described types: values to rkyv archives and back. */

import { BusbarError } from '../errors.js';
import type { Codec } from '../typed.js';
import { Archive, Decoders, type Decoder } from './decode.js';
import type { Descriptor } from './descriptor.js';
import { Encoders, type Encoder } from './encode.js';
import { layOut, type LaidType } from './layout.js';
import { Writer } from './writer.js';

/** A codec whose bytes are the archive that rkyv 0.8 makes of the same value in Rust. */
export interface ArchiveCodec<T> extends Codec<T> {
  /** What the hash is of. */
  readonly schemaText: string;
}

/**
 * Makes the codec of a descriptor's root type. Sizes, offsets, texts and hashes may be left out of
 * the descriptor; those that it has are checked.
 *
 * Values look as one would write them: structs are objects, tuples arrays, enums without data
 * strings, enums with data `{ kind, value }`, options `null` or the value (`{ some: value }` where
 * the value is an option itself), `u8` lists `Uint8Array`s, 64- and 128-bit integers bigints (or
 * numbers, for a field with `ts: 'number'`).
 *
 * Reading trusts nothing: whatever the bytes are, the result is a value of the type or an error.
 *
 * @throws BusbarError `ERR_SCHEMA_INVALID` for a descriptor that contradicts itself,
 * `ERR_NOT_SUPPORTED` for one with maps, which cannot be read yet
 *
 * @example
 * ```ts
 * import { compile } from 'busbar';
 *
 * interface Position {
 *   id: number;
 *   at: [number, number];
 * }
 *
 * const position = compile<Position>({
 *   abi: 1,
 *   format: 'rkyv0.8/le/aligned/p32',
 *   root: 'game.Position',
 *   types: {
 *     'game.Position': {
 *       kind: 'struct',
 *       shape: 'named',
 *       fields: [
 *         { name: 'id', kind: 'u32' },
 *         { name: 'at', kind: 'array', length: 2, elem: { kind: 'f32' } },
 *       ],
 *     },
 *   },
 * });
 * const bytes = position.encode({ id: 7, at: [1, 0.5] });
 * console.log(bytes.length, position.decode(bytes)); // 12 { id: 7, at: [ 1, 0.5 ] }
 * ```
 */
export function compile<T>(descriptor: Descriptor): ArchiveCodec<T> {
  const types = layOut(descriptor);
  return new CompiledCodec<T>(types.get(descriptor.root) as LaidType, types);
}

class CompiledCodec<T> implements ArchiveCodec<T> {
  readonly name: string;
  readonly hash: bigint;
  readonly schemaText: string;
  readonly descriptor: string;
  private readonly type: LaidType;
  private readonly encoder: Encoder;
  private readonly decoder: Decoder;
  private readonly writer = new Writer();
  private isWriting = false;

  constructor(type: LaidType, types: ReadonlyMap<string, LaidType>) {
    this.type = type;
    this.name = type.name;
    this.hash = BigInt(`0x${type.hash}`);
    this.schemaText = type.text;
    this.descriptor = JSON.stringify({
      abi: 1,
      format: 'rkyv0.8/le/aligned/p32',
      root: type.name,
      types: Object.fromEntries(types),
    });
    this.encoder = new Encoders(types).type(type.name);
    this.decoder = new Decoders(types).type(type.name);
  }

  encode(value: T): Uint8Array {
    const writer = new Writer();
    writer.beginOwn();
    this.write(writer, value);
    return writer.bytes.slice(0, writer.length);
  }

  encodeInto(value: T, target: Uint8Array, offset: number): number {
    // A getter of the value may encode another one.
    const writer = this.isWriting ? new Writer() : this.writer;
    const wasWriting = this.isWriting;
    this.isWriting = true;
    try {
      writer.begin(target, offset);
      this.write(writer, value);
      return writer.length;
    } finally {
      this.isWriting = wasWriting;
    }
  }

  decode(bytes: Uint8Array): T {
    const { size, align, name } = this.type;
    const root = bytes.length - size;
    try {
      const archive = new Archive(bytes);
      archive.enter(root, size, align, name);
      return this.decoder(archive, root) as T;
    } catch (error) {
      // The root itself is checked by the view that it is read with.
      if (!(error instanceof RangeError)) throw error;
      const message = `the archive is not valid: ${bytes.length} bytes are no ${name}`;
      throw new BusbarError('ERR_ARCHIVE_INVALID', message, { cause: error });
    }
  }

  private write(writer: Writer, value: T): void {
    const { encoder, type } = this;
    const elsewhere = encoder.before(writer, value);
    encoder.put(writer, writer.take(type.size, type.align), value, elsewhere);
  }
}
