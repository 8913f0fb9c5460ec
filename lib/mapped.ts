/** Mapped files: archives that one program writes into a file and others read where they lie. */

import { BusbarError, callNative } from './errors.js';
import type { NativeMappedFile } from './internal/binding.js';
import { checkFlag, checkNames, pathOf } from './internal/checks.js';
import { native } from './internal/native.js';
import type { ArchiveCodec } from './schema/codec.js';
import { ARCHIVE_BYTES_MAX } from './schema/layout.js';
import { forget } from './schema/region.js';

/** How a mapped file is opened. */
export interface OpenMappedOptions {
  /**
   * Whether the archive is validated, which reads all of it. `true`. Without, cursors and
   * `decode()` still read nothing from outside of it, but may show values that nobody wrote.
   */
  readonly validate?: boolean;
}

/**
 * A file with one value, open for reading in place. The file is one that {@link writeMapped} wrote,
 * or Rust's `busbar_types::mapped`; a newer version of it is a new file with the same name, which
 * those who have the old one open do not see.
 *
 * Programs that keep to the format never change a file. If one that does not truncates it, cursors
 * show zeros where bytes are missing, and {@link verify} throws.
 */
export class MappedFile<T, V> {
  /** The path that was opened. */
  readonly path: string;
  readonly #codec: ArchiveCodec<T, V>;
  #file: NativeMappedFile | null;
  #bytes: Uint8Array;

  /** @internal Files come from {@link openMapped}. */
  constructor(path: string, codec: ArchiveCodec<T, V>, file: NativeMappedFile) {
    this.path = path;
    this.#codec = codec;
    this.#file = file;
    this.#bytes = new Uint8Array(file.buffer());
  }

  /** The archive, in place. Writing to it changes neither the file nor what others see. */
  get bytes(): Uint8Array {
    this.#open();
    return this.#bytes;
  }

  /** A cursor over the value, in place; a new one each time. */
  view(): V {
    this.#open();
    return this.#codec.view(this.#bytes);
  }

  /** The value, copied out. */
  decode(): T {
    this.#open();
    return this.#codec.decode(this.#bytes);
  }

  /**
   * Throws if another program changed the file since it was opened: what was read of it counts for
   * nothing then.
   *
   * @throws BusbarError `ERR_ARCHIVE_INVALID`, `ERR_IO`
   */
  verify(): void {
    const file = this.#open();
    callNative(() => file.verify());
  }

  /** Ends the use of the file. Cursors over it keep it mapped until they are gone. */
  close(): void {
    this.#file = null;
    forget(this.#bytes);
    this.#bytes = new Uint8Array(0);
  }

  /** As {@link close}. */
  [Symbol.dispose](): void {
    this.close();
  }

  #open(): NativeMappedFile {
    if (this.#file !== null) return this.#file;
    throw new BusbarError('ERR_CLOSED', `the mapped file ${this.path} is closed`);
  }
}

/**
 * Opens a mapped file for reading in place: no bytes are read until something of it is looked at,
 * apart from validation.
 *
 * A file says which type it holds by a hash. Of types that are mentioned in a circle (`recursive`),
 * the hash has only the names: two versions that differ in such a type only pass for each other.
 *
 * @throws BusbarError `ERR_NOT_FOUND`, `ERR_IO`; `ERR_ARCHIVE_INVALID` if it is no mapped file or
 * not whole; `ERR_SCHEMA_MISMATCH` if it holds another type, with both hashes
 *
 * @example
 * ```ts
 * import { tmpdir } from 'node:os';
 * import { compile, openMapped, writeMapped } from 'busbar';
 *
 * const codec = compile<{ names: string[] }>({
 *   abi: 1,
 *   format: 'rkyv0.8/le/aligned/p32',
 *   root: 'game.Roster',
 *   types: {
 *     'game.Roster': {
 *       kind: 'struct',
 *       fields: [{ name: 'names', kind: 'vec', elem: { kind: 'string' } }],
 *     },
 *   },
 * });
 * const path = `${tmpdir()}/roster.busbar`;
 * writeMapped(path, codec, { names: ['Ada', 'Grace'] });
 * using file = openMapped(path, codec);
 * console.log(file.view().names.at(1)); // Grace
 * ```
 */
export function openMapped<T, V>(
  path: string | URL,
  codec: ArchiveCodec<T, V>,
  options: OpenMappedOptions = {},
): MappedFile<T, V> {
  checkNames(options, ['validate']);
  const { validate = true } = options;
  checkFlag('validate', validate);
  const name = pathOf(path, 'a mapped file');
  const opened = callNative(() => native.openMapped(name));
  if (opened.hash !== codec.hash) {
    const [theirs, ours] = [opened.hash, codec.hash].map((it) => it.toString(16).padStart(16, '0'));
    const message = `${name} holds a type with the hash ${theirs}, not ${codec.name} (${ours})`;
    throw new BusbarError('ERR_SCHEMA_MISMATCH', message);
  }
  const file = placed(name, codec, opened);
  if (validate) {
    codec.validate(file.bytes);
    // What was changed meanwhile may be other bytes than those that were looked at.
    file.verify();
  }
  return file;
}

/** A file in memory, unless it is longer than an archive can be. */
function placed<T, V>(
  name: string,
  codec: ArchiveCodec<T, V>,
  opened: NativeMappedFile,
): MappedFile<T, V> {
  const tooLong = (cause?: unknown): BusbarError => {
    const message = `${name} has more than the ${ARCHIVE_BYTES_MAX} bytes of an archive`;
    return new BusbarError('ERR_ARCHIVE_INVALID', message, { cause });
  };
  let file: MappedFile<T, V>;
  try {
    file = new MappedFile(name, codec, opened);
  } catch (error) {
    throw (error as { code?: unknown }).code === 'ERR_BUFFER_TOO_LARGE' ? tooLong(error) : error;
  }
  if (file.bytes.length > ARCHIVE_BYTES_MAX) throw tooLong();
  return file;
}

/**
 * Writes a value to a file that takes the name `path`, for {@link openMapped} and Rust. Others see
 * the file that was there before or the new one, never a part of it.
 *
 * @returns how many bytes the archive has
 * @throws BusbarError `ERR_NOT_FOUND` if there is no such folder, `ERR_IO`, and what the codec
 * throws
 */
export function writeMapped<T, V>(path: string | URL, codec: ArchiveCodec<T, V>, value: T): number {
  const name = pathOf(path, 'a file');
  const archive = codec.encode(value);
  callNative(() => native.writeMapped(name, codec.hash, archive));
  return archive.length;
}
