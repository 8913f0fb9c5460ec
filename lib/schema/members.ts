/**
 * What may stand in a descriptor that is written by hand: a misspelt member would otherwise be
 * missed when versions differ, in production. Descriptors that come as text may be of a later
 * version of this package, so there other members are left out.
 */

import { join, schemaInvalid } from './problems.js';

const LAYOUT = ['size', 'align', 'offset'];
const PLACE = ['kind', 'elem', 'elems', 'length', 'key', 'value', 'type', 'recursive', ...LAYOUT];
const FIELD = ['name', 'ts', 'intern', 'aliases', 'default', ...PLACE];
const VARIANT = ['name', 'tag', 'shape', 'fields'];
const NAMED = ['kind', 'size', 'align', 'hash', 'text', 'aliases'];
const STRUCT = ['shape', 'fields', ...NAMED];
const ENUM = ['tag', 'variants', 'defaultVariant', ...NAMED];
const DESCRIPTOR = ['abi', 'format', 'root', 'types'];
/** Deeper is refused by whoever reads the rest. */
const DEPTH_MAX = 64;

type Raw = Readonly<Record<string, unknown>>;

/** Throws for a member that means nothing. Whatever else is wrong is for others to tell. */
export function checkMembers(descriptor: unknown): void {
  const raw = check('', descriptor, DESCRIPTOR);
  for (const [name, type] of Object.entries(rawOf(raw['types']))) {
    const known = rawOf(type)['kind'] === 'enum' ? ENUM : STRUCT;
    const { fields, variants } = check(name, type, known);
    checkFields(name, fields);
    for (const variant of listOf(variants)) {
      const at = join(name, String(rawOf(variant)['name']));
      checkFields(at, check(at, variant, VARIANT)['fields']);
    }
  }
}

function checkFields(path: string, fields: unknown): void {
  for (const field of listOf(fields)) {
    checkPlace(join(path, String(rawOf(field)['name'])), field, FIELD, 0);
  }
}

function checkPlace(path: string, place: unknown, known: readonly string[], depth: number): void {
  if (depth > DEPTH_MAX) return;
  const { elem, elems, key, value } = check(path, place, known);
  const inner = [elem, key, value, ...listOf(elems)].filter((one) => one !== undefined);
  for (const one of inner) checkPlace(path, one, PLACE, depth + 1);
}

function check(path: string, value: unknown, known: readonly string[]): Raw {
  const raw = rawOf(value);
  const unknown = Object.keys(raw).find((name) => !known.includes(name));
  if (unknown === undefined) return raw;
  throw schemaInvalid(
    path,
    `${JSON.stringify(unknown)} means nothing here: use ${known.join(', ')}`,
  );
}

function rawOf(value: unknown): Raw {
  return value !== null && typeof value === 'object' ? (value as Raw) : {};
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
