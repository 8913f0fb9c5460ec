/**
 * What makes a descriptor one that others may rely on: names resolve, no type contains itself, and
 * every size, offset, text and hash is what the rules say. A descriptor that lies is refused when
 * it is loaded, so whoever reads an archive by a checked one needs no further checks of it.
 */

import { circles } from './circles.js';
import type {
  Descriptor,
  FieldDescriptor,
  KindDescriptor,
  PlaceDescriptor,
  TypeDescriptor,
} from './descriptor.js';
import { countEmpties } from './empties.js';
import { layOut, type Layout } from './layout.js';
import { parseDescriptor, UNSTATED } from './parse.js';
import { join, schemaInvalid } from './problems.js';
import { canonicalText } from './text.js';
import { hashText, xxh64 } from './xxh64.js';

/** Types mentioning types deeper than this would exhaust the stack of whoever walks them. */
const MENTIONS_DEEP_MAX = 256;

const checked = new WeakSet<Descriptor>();

/** Reads and checks a descriptor. One that was checked before is returned as it is. */
export function checkDescriptor(source: unknown): Descriptor {
  if (typeof source === 'object' && source !== null && checked.has(source as Descriptor)) {
    return source as Descriptor;
  }
  const claim = parseDescriptor(source);
  const real = completeDescriptor(claim);
  for (const [name, type] of Object.entries(claim.types)) {
    compare(name, type, typeOf(real, name));
  }
  freeze(real);
  checked.add(real);
  return real;
}

/** The descriptor with layouts, texts and hashes computed, whatever it says of them. */
export function completeDescriptor(draft: Descriptor): Descriptor {
  const names = Object.keys(draft.types);
  if (!Object.hasOwn(draft.types, draft.root)) {
    throw schemaInvalid('', `the root type "${draft.root}" is not among the types`);
  }
  checkMentions(draft);
  const layouts = layoutsOf(draft);
  const lookup = (name: string): Layout => layouts.get(name) ?? { size: 0, align: 1 };
  const laidOut = new Map(
    names.map((name) => [name, layOut(name, typeOf(draft, name), lookup)] as const),
  );
  const types = new Map<string, TypeDescriptor>();
  const hashes = (name: string): string | undefined => types.get(name)?.hash;
  for (const name of hashesFirst(draft)) {
    const type = laidOut.get(name) ?? typeOf(draft, name);
    const text = canonicalText(name, type, hashes);
    types.set(name, { ...type, text, hash: hashText(xxh64(text)) });
  }
  return { ...draft, types: Object.fromEntries(types) };
}

/** The type of that name, which is there because mentions were checked. */
export function typeOf(descriptor: Descriptor, name: string): TypeDescriptor {
  const type = Object.hasOwn(descriptor.types, name) ? descriptor.types[name] : undefined;
  if (type === undefined) throw schemaInvalid(name, 'is not among the types');
  return type;
}

/** The descriptor of one of the types in a descriptor, without those that it does not mention. */
export function subDescriptor(descriptor: Descriptor, name: string): Descriptor {
  const types = new Map<string, TypeDescriptor>();
  const open = [name];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (types.has(next)) continue;
    const type = typeOf(descriptor, next);
    types.set(next, type);
    forEachMention(type, (mention) => open.push(mention));
  }
  const sub = { ...descriptor, root: name, types: Object.fromEntries(types) };
  if (checked.has(descriptor)) checked.add(freeze(sub));
  return sub;
}

/** Fields of a struct, or of all variants of an enum. */
function allFields(type: TypeDescriptor): readonly FieldDescriptor[] {
  return type.kind === 'struct' ? type.fields : type.variants.flatMap(({ fields }) => fields);
}

type OnMention = (name: string, recursive: boolean) => void;

function forEachMention(type: TypeDescriptor, visit: OnMention): void {
  for (const field of allFields(type)) mentionsIn(field, visit);
}

function mentionsIn(place: KindDescriptor, visit: OnMention): void {
  if (place.kind === 'type') visit(place.type, place.recursive === true);
  for (const child of children(place)) mentionsIn(child, visit);
}

/** Mentions without a pointer between. */
function inlineMentions(place: KindDescriptor, visit: OnMention): void {
  if (place.kind === 'type') visit(place.type, false);
  if (place.kind === 'option' || place.kind === 'array' || place.kind === 'tuple') {
    for (const child of children(place)) inlineMentions(child, visit);
  }
}

function children(place: KindDescriptor): readonly PlaceDescriptor[] {
  switch (place.kind) {
    case 'vec':
    case 'boxslice':
    case 'box':
    case 'option':
    case 'array':
      return [place.elem];
    case 'tuple':
      return place.elems;
    case 'hashmap':
    case 'btreemap':
      return [place.key, place.value];
    default:
      return [];
  }
}

function checkMentions(descriptor: Descriptor): void {
  const all = new Map<string, string[]>();
  const named: (readonly [name: string, mention: string])[] = [];
  for (const [name, type] of Object.entries(descriptor.types)) {
    const mentions: string[] = [];
    forEachMention(type, (mention, recursive) => {
      if (!Object.hasOwn(descriptor.types, mention)) {
        throw schemaInvalid(name, `mentions "${mention}", which is not among the types`);
      }
      mentions.push(mention);
      if (recursive) named.push([name, mention]);
    });
    all.set(name, mentions);
  }
  if (named.length === 0) return;
  const numbers = circles(all);
  for (const [name, mention] of named) {
    if (numbers.get(name) === numbers.get(mention)) continue;
    const what = `marks "${mention}" recursive, which does not lead back to it`;
    throw schemaInvalid(name, `${what}: without the mark, the hash covers it`);
  }
}

/**
 * The layouts of all types. What stands behind a pointer does not change the size of what holds the
 * pointer, so sizes follow from the inner ones, and circles go through pointers only.
 */
function layoutsOf(draft: Descriptor): Map<string, Layout> {
  const layouts = new Map<string, Layout>();
  const empties = new Map<string, number>();
  const message = 'contains itself without a Box, Vec or map between';
  const order = inOrder(draft, message, (type, visit) => {
    for (const field of allFields(type)) inlineMentions(field, visit);
  });
  const lookup = (name: string): Layout => layouts.get(name) ?? { size: 0, align: 1 };
  for (const name of order) {
    const { size, align } = layOut(name, typeOf(draft, name), lookup);
    layouts.set(name, { size, align });
    empties.set(
      name,
      countEmpties(name, typeOf(draft, name), (inner) => empties.get(inner) ?? 0),
    );
  }
  return layouts;
}

/** The types in an order in which whatever a text names with a hash comes before it. */
function hashesFirst(draft: Descriptor): readonly string[] {
  const message =
    'mentions itself, so its hash would depend on itself: ' +
    'a mention in the circle must be marked recursive';
  return inOrder(draft, message, (type, visit) => {
    forEachMention(type, (mention, recursive) => {
      if (!recursive) visit(mention, false);
    });
  });
}

/** Depth-first order along `edges`; a circle is an error. */
function inOrder(
  descriptor: Descriptor,
  onCircle: string,
  edges: (type: TypeDescriptor, visit: OnMention) => void,
): readonly string[] {
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (name: string): void => {
    if (done.has(name)) return;
    if (path.includes(name)) throw schemaInvalid(name, onCircle);
    if (path.length === MENTIONS_DEEP_MAX) {
      throw schemaInvalid(name, `types are nested more than ${MENTIONS_DEEP_MAX} deep`);
    }
    path.push(name);
    edges(typeOf(descriptor, name), visit);
    path.pop();
    done.add(name);
  };
  Object.keys(descriptor.types).forEach(visit);
  return [...done];
}

/** Finds the first lie of `claim` about what is `real`. */
function compare(name: string, claim: TypeDescriptor, real: TypeDescriptor): void {
  if (claim.kind === 'struct' && real.kind === 'struct') {
    compareFields(name, claim.fields, real.fields);
  } else if (claim.kind === 'enum' && real.kind === 'enum') {
    for (const [index, variant] of claim.variants.entries()) {
      const fields = real.variants[index]?.fields ?? [];
      compareFields(join(name, variant.name), variant.fields, fields);
    }
  }
  equal(name, 'size', claim.size, real.size);
  equal(name, 'align', claim.align, real.align);
  equal(name, 'text', claim.text, real.text);
  equal(name, 'hash', claim.hash, real.hash);
}

function compareFields(
  path: string,
  claim: readonly FieldDescriptor[],
  real: readonly FieldDescriptor[],
): void {
  for (const [index, field] of claim.entries()) {
    const twin = real[index];
    if (twin !== undefined) comparePlaces(join(path, field.name), field, twin);
  }
}

type Placed = PlaceDescriptor & { readonly offset?: number };

function comparePlaces(path: string, claim: Placed, real: Placed): void {
  if (claim.offset !== undefined) equal(path, 'offset', claim.offset, real.offset);
  equal(path, 'size', claim.size, real.size);
  equal(path, 'align', claim.align, real.align);
  const twins = children(real);
  for (const [index, child] of children(claim).entries()) {
    const twin = twins[index];
    const part = claim.kind === 'tuple' ? String(index) : '[]';
    if (twin !== undefined) comparePlaces(join(path, part), child, twin);
  }
}

function equal(path: string, what: string, claim: unknown, real: unknown): void {
  if (claim === real || claim === UNSTATED || claim === '') return;
  const [was, is] = [JSON.stringify(claim), JSON.stringify(real)];
  throw schemaInvalid(path, `its ${what} is ${was}, but should be ${is}`);
}

function freeze<T extends object>(value: T): T {
  for (const member of Object.values(value)) {
    if (typeof member === 'object' && member !== null && !Object.isFrozen(member)) freeze(member);
  }
  return Object.freeze(value);
}
