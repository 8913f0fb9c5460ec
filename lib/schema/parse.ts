/**
 * Descriptor JSON to typed descriptors: every member has the right type, every name is well-formed.
 * Members that this version does not know are left out. Whether the numbers are true is for
 * `check.ts`.
 */

import {
  ABI,
  FORMAT,
  type Descriptor,
  type FieldDescriptor,
  type PlaceDescriptor,
  type Shape,
  type TypeDescriptor,
  type VariantDescriptor,
} from './descriptor.js';
import { isScalar } from './layout.js';
import { checkMembers } from './members.js';
import { join, schemaInvalid } from './problems.js';

/** More types than this in one descriptor are a mistake or an attack. */
const TYPES_MAX = 4096;
/** More fields in one type are a mistake or an attack. */
const FIELDS_MAX = 4096;
/** Kinds nested deeper are a mistake or an attack. */
const DEPTH_MAX = 64;

/** Stands for a number that the descriptor leaves out. */
export const UNSTATED = -1;

const KINDS =
  'bool, char, u8…u128, i8…i128, f32, f64, string, boxstr, unit, vec, boxslice, array, tuple, ' +
  'option, box, hashmap, btreemap, type';
const SHAPES: readonly Shape[] = ['named', 'tuple', 'unit'];
const IDENT = /^[\p{XID_Start}_]\p{XID_Continue}*$/u;
const HASH = /^[0-9a-f]{16}$/;

/** Reads a descriptor from JSON text or from what JSON text became. */
export function parseDescriptor(source: unknown): Descriptor {
  const json = typeof source === 'string' ? fromText(source) : source;
  const raw = object('', json, 'the descriptor');
  if (raw['abi'] === undefined) {
    throw schemaInvalid('', 'this is no descriptor: it does not say which abi it is of');
  }
  if (typeof source !== 'string') checkMembers(json);
  if (raw['abi'] !== ABI) throw schemaInvalid('', `abi is ${String(raw['abi'])}, this is ${ABI}`);
  if (raw['format'] !== FORMAT) {
    const format = JSON.stringify(raw['format']);
    throw schemaInvalid('', `the descriptor is of ${format} archives, not "${FORMAT}"`);
  }
  const root = text('', raw, 'root');
  const types = Object.entries(object('', raw['types'], 'types'));
  if (types.length > TYPES_MAX) throw schemaInvalid('', `mentions more than ${TYPES_MAX} types`);
  const entries = types.map(([name, type]) => {
    checkTypeName(name, name);
    return [name, parseType(name, object(name, type, 'the type'))] as const;
  });
  return { abi: ABI, format: FORMAT, root, types: Object.fromEntries(entries) };
}

type Raw = Readonly<Record<string, unknown>>;

function fromText(source: string): unknown {
  try {
    return JSON.parse(source);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw schemaInvalid('', `the descriptor is no JSON: ${why}`);
  }
}

function parseType(name: string, raw: Raw): TypeDescriptor {
  const hash = text(name, raw, 'hash', '');
  if (hash !== '' && !HASH.test(hash))
    throw schemaInvalid(name, `its hash "${hash}" is not 16 hexadecimal digits`);
  const aliases = names(name, raw);
  for (const alias of aliases ?? []) checkTypeName(name, alias);
  const named = {
    ...size(name, raw),
    hash,
    text: text(name, raw, 'text', ''),
    ...(aliases === undefined ? {} : { aliases }),
  };
  if (raw['kind'] === 'struct') {
    const shape = parseShape(name, raw);
    return { kind: 'struct', shape, ...named, fields: parseFields(name, shape, raw['fields']) };
  }
  if (raw['kind'] !== 'enum') throw schemaInvalid(name, 'its kind is neither struct nor enum');
  if (raw['tag'] !== undefined && raw['tag'] !== 'u8')
    throw schemaInvalid(name, 'the tag of an enum is "u8"');
  const variants = parseVariants(name, raw['variants']);
  const parsed = { kind: 'enum', tag: 'u8', ...named, variants } as const;
  if (raw['defaultVariant'] === undefined) return parsed;
  const defaultVariant = text(name, raw, 'defaultVariant');
  const isUnit = variants.some((one) => one.name === defaultVariant && one.shape === 'unit');
  if (isUnit) return { ...parsed, defaultVariant };
  throw schemaInvalid(name, `the default variant "${defaultVariant}" is no unit variant`);
}

function parseVariants(path: string, raw: unknown): VariantDescriptor[] {
  const list = array(path, raw, 'variants');
  if (list.length === 0 || list.length > 256) {
    throw schemaInvalid(path, 'an enum has from 1 to 256 variants: its tag is one byte');
  }
  const seen = new Set<unknown>();
  let next = 0;
  return list.map((entry) => {
    const variant = object(path, entry, 'a variant');
    const name = text(path, variant, 'name');
    const at = join(path, name);
    if (!IDENT.test(name) || seen.has(name)) {
      throw schemaInvalid(at, "the variant's name is malformed or doubled");
    }
    const tag = variant['tag'] === undefined ? next : natural(at, variant, 'tag', 255);
    next = tag + 1;
    if (seen.has(tag)) throw schemaInvalid(at, `the tag ${tag} is doubled`);
    seen.add(name).add(tag);
    const shape = parseShape(at, variant);
    return { name, tag, shape, fields: parseFields(at, shape, variant['fields']) };
  });
}

function parseShape(path: string, raw: Raw): Shape {
  const shape = text(path, raw, 'shape', implied(raw)) as Shape;
  if (SHAPES.includes(shape)) return shape;
  throw schemaInvalid(path, `the shape "${shape}" is none of ${SHAPES.join(', ')}`);
}

/** The shape of what has no shape stated: named, or a unit if there are no fields. */
function implied({ fields }: Raw): Shape {
  return fields === undefined || (Array.isArray(fields) && fields.length === 0) ? 'unit' : 'named';
}

function parseFields(path: string, shape: Shape, raw: unknown): FieldDescriptor[] {
  const list = array(path, raw ?? [], 'fields');
  if (list.length > FIELDS_MAX) throw schemaInvalid(path, `has more than ${FIELDS_MAX} fields`);
  if (shape === 'unit' && list.length > 0) throw schemaInvalid(path, 'a unit shape has no fields');
  const seen = new Set<string>();
  return list.map((entry, index) => {
    const field = object(path, entry, 'a field');
    const name = text(path, field, 'name');
    const at = join(path, name);
    const isGood = shape === 'tuple' ? name === String(index) : IDENT.test(name);
    if (!isGood || seen.has(name)) {
      throw schemaInvalid(at, "the field's name is malformed or doubled");
    }
    seen.add(name);
    return parseField(at, name, field, seen);
  });
}

function parseField(at: string, name: string, raw: Raw, seen: Set<string>): FieldDescriptor {
  const aliases = names(at, raw);
  for (const alias of aliases ?? []) {
    const isGood = /^\d/.test(name) ? /^\d+$/.test(alias) : IDENT.test(alias);
    if (!isGood) throw schemaInvalid(at, 'an alias is malformed');
    if (seen.has(alias)) throw schemaInvalid(at, 'an alias is the name of another field');
    seen.add(alias);
  }
  const { ts, intern } = raw;
  if (ts !== undefined && ts !== 'number' && ts !== 'bigint') {
    throw schemaInvalid(at, `ts is ${JSON.stringify(ts)}, neither "number" nor "bigint"`);
  }
  return {
    name,
    ...parsePlace(at, raw, 0),
    offset: stated(at, raw, 'offset'),
    ...(ts === undefined ? {} : { ts }),
    ...(intern === true ? { intern } : {}),
    ...(aliases === undefined ? {} : { aliases }),
    ...(Object.hasOwn(raw, 'default') ? { default: portable(raw['default']) } : {}),
  };
}

/** A default as JSON has it: digits, where it is an integer that JSON would round. */
function portable(value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value;
}

function parsePlace(path: string, raw: Raw, depth: number): PlaceDescriptor {
  if (depth > DEPTH_MAX) {
    throw schemaInvalid(path, `is nested more than ${DEPTH_MAX} kinds deep`);
  }
  const kind = text(path, raw, 'kind');
  const layout = size(path, raw);
  const inner = (member: string, at: string): PlaceDescriptor =>
    parsePlace(at, object(at, raw[member], `the ${member} of a ${kind}`), depth + 1);
  if (isScalar(kind)) return { kind, ...layout };
  switch (kind) {
    case 'unit':
    case 'string':
    case 'boxstr':
      return { kind, ...layout };
    case 'vec':
    case 'boxslice':
      return { kind, ...layout, elem: inner('elem', `${path}[]`) };
    case 'box':
      return { kind, ...layout, elem: inner('elem', path) };
    case 'option': {
      const elem = inner('elem', `${path}[]`);
      const offset = stated(`${path}[]`, raw['elem'] as Raw, 'offset');
      return { kind, ...layout, elem: { ...elem, offset } };
    }
    case 'array': {
      const length = natural(path, raw, 'length');
      return { kind, ...layout, elem: inner('elem', `${path}[]`), length };
    }
    case 'tuple':
      return { kind, ...layout, elems: parseTuple(path, raw, depth) };
    case 'hashmap':
    case 'btreemap': {
      const key = inner('key', join(path, 'key'));
      return { kind, ...layout, key, value: inner('value', join(path, 'value')) };
    }
    case 'type': {
      const type = text(path, raw, 'type');
      return { kind, ...layout, type, ...(raw['recursive'] === true ? { recursive: true } : {}) };
    }
    default:
      throw schemaInvalid(path, `the kind "${kind}" is unknown; there are ${KINDS}`);
  }
}

function parseTuple(
  path: string,
  raw: Raw,
  depth: number,
): (PlaceDescriptor & { readonly offset: number })[] {
  const elems = array(path, raw['elems'], 'elems');
  if (elems.length === 0 || elems.length > 12) {
    throw schemaInvalid(path, 'a tuple has from 1 to 12 elements; () is the kind unit');
  }
  return elems.map((entry, index) => {
    const at = join(path, String(index));
    const elem = object(at, entry, 'an element');
    return { ...parsePlace(at, elem, depth + 1), offset: stated(at, elem, 'offset') };
  });
}

function checkTypeName(path: string, name: string): void {
  if (name.split('.').every((part) => IDENT.test(part))) return;
  const rule = 'use identifiers joined by dots, such as market.Order';
  throw schemaInvalid(path, `"${name}" is no type name: ${rule}`);
}

function object(path: string, value: unknown, what: string): Raw {
  if (value !== null && typeof value === 'object' && !Array.isArray(value)) return value as Raw;
  throw schemaInvalid(path, `${what} is no object`);
}

function array(path: string, value: unknown, what: string): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw schemaInvalid(path, `${what} is no array`);
}

function text(path: string, raw: Raw, member: string, absent?: string): string {
  const value = raw[member] ?? absent;
  if (typeof value === 'string') return value;
  throw schemaInvalid(path, `"${member}" is no string`);
}

function names(path: string, raw: Raw): readonly string[] | undefined {
  if (raw['aliases'] === undefined) return undefined;
  const list = array(path, raw['aliases'], 'aliases');
  if (list.every((one) => typeof one === 'string')) return list;
  throw schemaInvalid(path, 'an alias is no string');
}

function natural(path: string, raw: Raw, member: string, max = 2 ** 32 - 1): number {
  const value = raw[member];
  if (Number.isInteger(value) && (value as number) >= 0 && (value as number) <= max) {
    return value as number;
  }
  throw schemaInvalid(path, `"${member}" is no integer from 0 to ${max}`);
}

function size(path: string, raw: Raw): { readonly size: number; readonly align: number } {
  return { size: stated(path, raw, 'size'), align: stated(path, raw, 'align', 16) };
}

/** As {@link natural}, of a number that may be left out. */
function stated(path: string, raw: Raw, member: string, max?: number): number {
  return raw[member] === undefined ? UNSTATED : natural(path, raw, member, max);
}
