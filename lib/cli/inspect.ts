/** `busbar inspect`: what the types in some files look like, for people. */

import type { FieldDescriptor, TypeDescriptor, VariantDescriptor } from '../schema/descriptor.js';
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
  const types = names.map((name) => describe(name, shown.types[name] as TypeDescriptor));
  return `format ${shown.format}\n\n${types.join('\n')}`;
}

function describe(name: string, type: TypeDescriptor): string {
  const head = `${type.kind} ${name}  hash ${type.hash}  size ${type.size}  align ${type.align}`;
  const body =
    type.kind === 'struct' ? fieldRows(type.fields, '  ') : type.variants.flatMap(variantRows);
  return [head, ...body, ''].join('\n');
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
