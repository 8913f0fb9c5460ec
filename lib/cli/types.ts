/** The types in the files that a command is given: libraries and descriptors. */

import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';

import { BusbarError, callNative } from '../errors.js';
import { native } from '../internal/native.js';
import { checkDescriptor, subDescriptor } from '../schema/check.js';
import type { Descriptor, TypeDescriptor } from '../schema/descriptor.js';

/** All types of the files, in one descriptor, whose root is the first file's. */
function readTypes(files: readonly string[]): Descriptor {
  const descriptors = files.flatMap((file) => readFile(file).map((it) => checked(file, it)));
  const types = new Map<string, TypeDescriptor>();
  for (const descriptor of descriptors) {
    for (const [name, type] of Object.entries(descriptor.types)) {
      const other = types.get(name);
      if (other !== undefined && other.text !== type.text) {
        const message = `two versions of ${name}: ${other.hash} and ${type.hash}`;
        throw new BusbarError('ERR_SCHEMA_MISMATCH', message);
      }
      types.set(name, type);
    }
  }
  const [first] = descriptors;
  if (first === undefined) {
    throw new BusbarError('ERR_TYPE_NOT_FOUND', `${files.join(', ')}: no types`);
  }
  return checkDescriptor({ ...first, types: Object.fromEntries(types) });
}

/** As {@link readTypes}; of one type and what it mentions, if it is named. */
export function chosenTypes(files: readonly string[], type: string | undefined): Descriptor {
  const all = readTypes(files);
  if (type === undefined) return all;
  if (Object.hasOwn(all.types, type)) return subDescriptor(all, type);
  throw new BusbarError('ERR_TYPE_NOT_FOUND', `there is no type ${type} in ${files.join(', ')}`);
}

/** A descriptor; what is wrong with it is said with the name of the file. */
function checked(file: string, descriptor: unknown): Descriptor {
  try {
    return checkDescriptor(descriptor);
  } catch (cause) {
    if (!(cause instanceof BusbarError)) throw cause;
    throw new BusbarError(cause.code, `${file}: ${cause.message}`, { cause });
  }
}

/** The descriptors in a file. */
function readFile(file: string): readonly unknown[] {
  if (!file.endsWith('.json')) return callNative(() => native.describeLibrary(resolve(file)));
  const json = parse(file, read(file));
  return Array.isArray(json) ? json : [json];
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code === 'ENOENT' ? 'ERR_NOT_FOUND' : 'ERR_IO';
    throw new BusbarError(code, `${file}: ${(cause as Error).message}`, { cause });
  }
}

function parse(file: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const message = `${file} is no JSON: ${(cause as Error).message}`;
    throw new BusbarError('ERR_SCHEMA_INVALID', message, { cause });
  }
}
