/** `busbar inspect`: what the types in some files look like, for people. */

import { BusbarError, callNative } from '../errors.js';
import { native } from '../internal/native.js';
import { subDescriptor } from '../schema/check.js';
import type {
  Descriptor,
  FieldDescriptor,
  TypeDescriptor,
  VariantDescriptor,
} from '../schema/descriptor.js';
import { spell } from '../schema/text.js';
import { chosenTypes } from './types.js';

/** Options of `busbar inspect`. */
export interface InspectOptions {
  readonly json?: boolean | undefined;
  readonly type?: string | undefined;
}

/** The text to print. */
export function inspect(files: readonly string[], { json, type }: InspectOptions): string {
  const shown = chosenTypes(files, type);
  if (json === true) return `${JSON.stringify(shown, null, 2)}\n`;
  const names = type === undefined ? Object.keys(shown.types) : [type];
  const types = names.map((name) => describe(shown, name));
  return `format ${shown.format}\n\n${types.join('\n')}`;
}

function describe(all: Descriptor, name: string): string {
  const type = all.types[name] as TypeDescriptor;
  const head = `${type.kind} ${name}  hash ${type.hash}  size ${type.size}  align ${type.align}`;
  const body =
    type.kind === 'struct' ? fieldRows(type.fields, '  ') : type.variants.flatMap(variantRows);
  return [head, `  formats ${formatsOf(subDescriptor(all, name))}`, ...body, ''].join('\n');
}

/** The formats that values have; not every name has one of Cap'n Proto. */
function formatsOf(type: Descriptor): string {
  try {
    callNative(() => native.capnpText(JSON.stringify(type)));
    return 'rkyv, capnp, json';
  } catch (error) {
    if (!(error instanceof BusbarError)) throw error;
    return `rkyv, json; not capnp: ${error.message}`;
  }
}

function variantRows({ name, tag, fields }: VariantDescriptor): string[] {
  return [`  ${String(tag).padStart(3)} ${name}`, ...fieldRows(fields, '      ')];
}

/** One row a field: offset, size, name, kind, and what readers should know. */
function fieldRows(fields: readonly FieldDescriptor[], margin: string): string[] {
  const width = Math.max(0, ...fields.map(({ name }) => name.length));
  return fields.map((field) => {
    const place = `${String(field.offset).padStart(4)} ${String(field.size).padStart(4)}`;
    const notes = [
      field.ts === undefined ? '' : `as ${field.ts}`,
      field.intern === true ? 'interned' : '',
      field.default === undefined ? '' : `default ${JSON.stringify(field.default)}`,
      ...(field.aliases ?? []).map((alias) => `was ${alias}`),
    ].filter((note) => note !== '');
    const rest = notes.length === 0 ? '' : `  (${notes.join(', ')})`;
    return `${margin}${place}  ${field.name.padEnd(width)}  ${spell(field)}${rest}`;
  });
}
