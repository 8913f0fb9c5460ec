/**
 * `busbar gen -o types.h`: types as C and C++ structs with the layout of their archives, for
 * plugins that read arguments and write results in place.
 *
 * What lies within a value is a field of it; what it only points to (strings, lists, maps) is words
 * that hold the pointer.
 */

import type { Descriptor, PlaceDescriptor, TypeDescriptor } from '../schema/descriptor.js';

const SCALARS: Readonly<Record<string, string>> = {
  bool: 'uint8_t',
  u8: 'uint8_t',
  u16: 'uint16_t',
  u32: 'uint32_t',
  u64: 'uint64_t',
  i8: 'int8_t',
  i16: 'int16_t',
  i32: 'int32_t',
  i64: 'int64_t',
  f32: 'float',
  f64: 'double',
  char: 'uint32_t',
};

/** Integers that have an alignment, for what C has no type for. */
const WORDS: Readonly<Record<number, string>> = {
  1: 'uint8_t',
  2: 'uint16_t',
  4: 'uint32_t',
  8: 'uint64_t',
};

/** Keywords of C and C++, and macros of their headers, which no field can be called as. */
const KEYWORDS: ReadonlySet<string> = new Set(
  `alignas alignof and and_eq asm auto bitand bitor bool break case catch char char16_t char32_t
  char8_t class co_await co_return co_yield compl concept const const_cast consteval constexpr
  constinit continue decltype default delete do double dynamic_cast else enum errno explicit export
  extern false float for friend goto if inline int linux long mutable namespace new noexcept not
  not_eq nullptr operator or or_eq private protected public register reinterpret_cast requires
  restrict return short signed sizeof static static_assert static_cast struct switch template this
  thread_local throw true try typedef typeid typename typeof typeof_unqual union unix unsigned
  using virtual void volatile wchar_t while xor xor_eq`.split(/\s+/),
);

const ALIGNED = [
  '#ifdef __cplusplus',
  '#define BUSBAR_ALIGNED(bytes) alignas(bytes)',
  '#else',
  '#define BUSBAR_ALIGNED(bytes) _Alignas(bytes)',
  '#endif',
  '',
];

/** The header of all types of a descriptor. */
export function headerOf(descriptor: Descriptor): string {
  const names = inOrder(descriptor.types);
  const scope = scopeOf(names);
  const types = names.map((name) =>
    typeText(scope, name, descriptor.types[name] as TypeDescriptor),
  );
  return [
    '/* Written by `busbar gen`. Hashes for a manifest, and the layouts of archives. */',
    '#ifndef BUSBAR_GENERATED_TYPES_H',
    '#define BUSBAR_GENERATED_TYPES_H',
    '',
    '#include <busbar_plugin.h>',
    '',
    ...(types.some((text) => text.includes('BUSBAR_ALIGNED')) ? ALIGNED : []),
    ...types,
    '/* One file of a library defines this first: there is the description of the types. */',
    '#ifdef BUSBAR_EXPORT_TYPES',
    'BUSBAR_EXPORT const busbar_slice *busbar_types_v1(void) {',
    '  static const char json[] =',
    ...literal(JSON.stringify(descriptorsOf(descriptor, names))),
    '  static const busbar_slice text = {(const uint8_t *)json, sizeof json - 1};',
    '  return &text;',
    '}',
    '#endif',
    '',
    '#endif',
    '',
  ].join('\n');
}

/** One for each type, as libraries give them. */
function descriptorsOf({ abi, format, types }: Descriptor, names: readonly string[]): object[] {
  const mentioned = (name: string, into: Map<string, TypeDescriptor>): typeof into => {
    const type = types[name] as TypeDescriptor;
    if (into.has(name)) return into;
    into.set(name, type);
    for (const other of namesIn(type)) mentioned(other, into);
    return into;
  };
  return names.map((root) => {
    return { abi, format, root, types: Object.fromEntries(mentioned(root, new Map())) };
  });
}

/** A struct can only have those in it that were declared before. */
function inOrder(types: Readonly<Record<string, TypeDescriptor>>): string[] {
  const order: string[] = [];
  const visit = (name: string, path: readonly string[]): void => {
    if (order.includes(name) || path.includes(name)) return;
    for (const other of namesIn(types[name] as TypeDescriptor)) visit(other, [...path, name]);
    order.push(name);
  };
  for (const name of Object.keys(types)) visit(name, []);
  return order;
}

function namesIn(type: TypeDescriptor): string[] {
  const found = JSON.stringify(type).matchAll(/"kind":"type"[^}]*?"type":"([^"]+)"/g);
  return [...new Set([...found].map(([, name]) => name as string))];
}

/** The names of a header, which has one room for all of them. */
interface Scope {
  readonly idents: ReadonlyMap<string, string>;
  readonly macros: Set<string>;
}

function scopeOf(names: readonly string[]): Scope {
  const idents = distinct(names, (name) => name.replaceAll(/[^A-Za-z0-9_]/g, '_'), new Set());
  return {
    idents: new Map(names.map((name, index) => [name, idents[index] as string])),
    macros: new Set(),
  };
}

function typeText(scope: Scope, name: string, type: TypeDescriptor): string {
  const ident = scope.idents.get(name) as string;
  const macro = ident.replaceAll(/([a-z0-9])([A-Z])/g, '$1_$2').toUpperCase();
  const [hash] = distinct([`${macro}_HASH`], (it) => it, scope.macros);
  const head = [`/* ${name} */`, `#define ${hash} UINT64_C(0x${type.hash})`];
  if (type.kind === 'enum') {
    const names = type.variants.map((it) => it.name);
    const macros = distinct(names, (it) => `${macro}_${it.toUpperCase()}`, scope.macros);
    const tags = type.variants.map((it, index) => `#define ${macros[index]} ${it.tag}`);
    const words = wordsOf(type.size, type.align);
    const isPlain = type.size === 1;
    const declared = isPlain
      ? `typedef uint8_t ${ident};`
      : [
          `typedef struct ${ident} {`,
          `  ${words.type} words[${words.count}]; /* the first byte is the tag */`,
          `} ${ident};`,
        ].join('\n');
    return [...head, ...tags, declared, ''].join('\n');
  }
  const lines: string[] = [];
  let end = 0;
  const fields = type.fields.filter(({ size }) => size > 0).sort((a, b) => a.offset - b.offset);
  const spell = (it: string): string => (/^\d/.test(it) ? `value${it}` : it);
  const members = distinct(
    fields.map((field) => field.name),
    spell,
    new Set(),
  );
  for (const [index, field] of fields.entries()) {
    if (field.offset > end) lines.push(`  uint8_t gap${end}[${field.offset - end}];`);
    lines.push(`  ${declare(scope, members[index] as string, field)};`);
    end = field.offset + field.size;
  }
  if (type.size > end) lines.push(`  uint8_t gap${end}[${type.size - end}];`);
  if (lines.length === 0) return [...head, ''].join('\n');
  return [...head, `typedef struct ${ident} {`, ...lines, `} ${ident};`, ''].join('\n');
}

/** A C declaration of a place. */
function declare(scope: Scope, name: string, place: PlaceDescriptor): string {
  const scalar = SCALARS[place.kind];
  if (scalar !== undefined) return `${scalar} ${name}`;
  if (place.kind === 'type' && place.recursive !== true) {
    return `${scope.idents.get(place.type)} ${name}`;
  }
  if (place.kind === 'array' && place.length > 0) {
    return declare(scope, `${name}[${place.length}]`, place.elem);
  }
  const { type, count } = wordsOf(place.size, place.align);
  return `${type} ${name}[${count}]`;
}

function wordsOf(size: number, align: number): { type: string; count: number } {
  const type = WORDS[align];
  if (type !== undefined) return { type, count: size / align };
  return { type: `BUSBAR_ALIGNED(${align}) uint8_t`, count: size };
}

/** A name of C for each name, that no keyword is and nothing else that is `used`. */
function distinct(
  names: readonly string[],
  spell: (name: string) => string,
  used: Set<string>,
): string[] {
  return names.map((name) => {
    let ident = spell(name);
    while (KEYWORDS.has(ident) || used.has(ident)) ident += '_';
    used.add(ident);
    return ident;
  });
}

/** A long text, in lines. */
function literal(text: string): string[] {
  const parts = text.match(/.{1,64}/gsu) ?? [''];
  const lines = parts.map((part) => `      ${JSON.stringify(part)}`);
  return [...lines.slice(0, -1), `${lines.at(-1)};`];
}
