/**
 * Whether a reader's version of a type can read what a writer's version wrote: two descriptors in,
 * a verdict with reasons out. Looks at descriptors only; `resolution.ts` makes readers of it.
 *
 * Rust follows the same rules, and both are held to one recorded set of pairs.
 */

import { typeOf } from './check.js';
import type {
  Descriptor,
  EnumDescriptor,
  FieldDescriptor,
  KindDescriptor,
  ScalarName,
  Shape,
  VariantDescriptor,
} from './descriptor.js';
import { isScalar } from './layout.js';
import { spell } from './text.js';

/** What comparing two versions of a type found. */
export interface Comparison {
  /**
   * `'identical'`, if they say the same of every byte; `'resolvable'`, if what differs can be
   * bridged field by field; `'incompatible'`, if reading would lose or invent data.
   */
  readonly kind: 'identical' | 'resolvable' | 'incompatible';
  /** Every difference, as `Order.tags[]: str → u32`; what makes it incompatible comes first. */
  readonly reasons: readonly string[];
  /** The path of the first of them, as `Order.tags[]`; `null` if there is none. */
  readonly firstDifference: string | null;
}

/** Compares what a writer wrote by `writer` with what a reader expects by `reader`. */
export function compareDescriptors(writer: Descriptor, reader: Descriptor): Comparison {
  const walk = new Walk(writer, reader);
  const ident = reader.root.slice(reader.root.lastIndexOf('.') + 1);
  walk.types(ident, writer.root, reader.root);
  const found = [
    ...walk.found.filter(({ isFatal }) => isFatal),
    ...walk.found.filter(({ isFatal }) => !isFatal),
  ];
  const [first] = found;
  const kind = first?.isFatal === true ? 'incompatible' : 'resolvable';
  return {
    kind: first === undefined ? 'identical' : kind,
    reasons: found.map(({ path, what }) => `${path}: ${what}`),
    firstDifference: first?.path ?? null,
  };
}

/**
 * The field of the writer's that a field of the reader's reads: of the same name, or else of one of
 * the reader's aliases.
 */
export function sourceOf(
  field: FieldDescriptor,
  writers: readonly FieldDescriptor[],
): FieldDescriptor | undefined {
  for (const name of [field.name, ...(field.aliases ?? [])]) {
    const source = writers.find((candidate) => candidate.name === name);
    if (source !== undefined) return source;
  }
  return undefined;
}

/** Whether every value of `from` is one of `to`. */
export function isWidening(from: ScalarName, to: ScalarName): boolean {
  const [a, b] = [INTEGER.exec(from), INTEGER.exec(to)];
  if (a === null || b === null) return from === 'f32' && to === 'f64';
  return Number(a[2]) < Number(b[2]) && (a[1] === b[1] || b[1] === 'i');
}

const INTEGER = /^([ui])(\d+)$/;

interface Found {
  readonly path: string;
  readonly what: string;
  readonly isFatal: boolean;
}

interface Fields {
  readonly shape: Shape;
  readonly fields: readonly FieldDescriptor[];
}

class Walk {
  readonly found: Found[] = [];
  readonly #writer: Descriptor;
  readonly #reader: Descriptor;
  /** Pairs of types that were or are being compared: recursive types end here. */
  readonly #seen = new Set<string>();

  constructor(writer: Descriptor, reader: Descriptor) {
    this.#writer = writer;
    this.#reader = reader;
  }

  types(path: string, writer: string, reader: string): void {
    const pair = `${writer}>${reader}`;
    if (this.#seen.has(pair)) return;
    this.#seen.add(pair);
    const [theirs, ours] = [typeOf(this.#writer, writer), typeOf(this.#reader, reader)];
    if (writer !== reader) {
      const what = `${writer} → ${reader}`;
      if (ours.aliases?.includes(writer) !== true) return this.#fatal(path, what);
      this.#bridged(path, `${what}, an alias`);
    }
    if (theirs.kind === 'struct' && ours.kind === 'struct') return this.#fields(path, theirs, ours);
    if (theirs.kind === 'enum' && ours.kind === 'enum') return this.#variants(path, theirs, ours);
    this.#fatal(path, 'a struct on one side, an enum on the other');
  }

  #variants(path: string, theirs: EnumDescriptor, ours: EnumDescriptor): void {
    for (const variant of ours.variants) {
      const inner = `${path}.${variant.name}`;
      const their = named(theirs.variants, variant.name);
      if (their === undefined) {
        const isTaken = theirs.variants.some(({ tag }) => tag === variant.tag);
        if (isTaken) this.#fatal(inner, 'its tag stood for another variant');
        else this.#bridged(inner, 'variant added');
      } else if (their.tag !== variant.tag) {
        this.#fatal(inner, `tag ${their.tag} → ${variant.tag}`);
      } else {
        this.#fields(inner, their, variant);
      }
    }
    for (const { name, tag } of theirs.variants) {
      // Where the tag means something else here, that was said above.
      const isKnown = named(ours.variants, name) !== undefined;
      if (isKnown || ours.variants.some((our) => our.tag === tag)) continue;
      const { defaultVariant } = ours;
      const reads = defaultVariant === undefined ? 'an error when it comes' : undefined;
      this.#bridged(`${path}.${name}`, `unknown variant, ${reads ?? `reads as ${defaultVariant}`}`);
    }
  }

  #fields(path: string, theirs: Fields, ours: Fields): void {
    if (theirs.shape !== ours.shape) return this.#fatal(path, 'declared in another shape');
    const sources: number[] = [];
    for (const field of ours.fields) {
      const inner = `${path}.${field.name}`;
      const their = sourceOf(field, theirs.fields);
      if (their !== undefined) {
        if (their.name !== field.name) this.#bridged(inner, `renamed from ${their.name}`);
        sources.push(theirs.fields.indexOf(their));
        this.#kinds(inner, their, field);
      } else if (field.default !== undefined) {
        this.#bridged(inner, 'added with a default');
      } else if (field.kind === 'option') {
        this.#bridged(inner, 'added, reads as None');
      } else {
        this.#fatal(inner, 'added without a default');
      }
    }
    if (sources.some((at, index) => at < (sources[index - 1] ?? 0))) {
      this.#bridged(path, 'fields reordered');
    }
    for (const [index, { name }] of theirs.fields.entries()) {
      if (!sources.includes(index)) this.#bridged(`${path}.${name}`, 'removed');
    }
  }

  #kinds(path: string, theirs: KindDescriptor, ours: KindDescriptor): void {
    const what = `${spell(theirs)} → ${spell(ours)}`;
    if (ours.kind === 'option' && theirs.kind !== 'option') {
      this.#bridged(path, what);
      return this.#kinds(path, theirs, ours.elem);
    }
    if (isScalar(theirs.kind) && isScalar(ours.kind)) {
      if (theirs.kind === ours.kind) return;
      if (isWidening(theirs.kind, ours.kind)) return this.#bridged(path, what);
      return this.#fatal(path, what);
    }
    if (theirs.kind !== ours.kind) return this.#fatal(path, what);
    this.#parts(path, theirs, ours, what);
  }

  /** Of two of the same kind. */
  #parts(path: string, theirs: KindDescriptor, ours: KindDescriptor, what: string): void {
    if (theirs.kind === 'array' && ours.kind === 'array' && theirs.length !== ours.length) {
      return this.#fatal(path, what);
    }
    if (theirs.kind === 'tuple' && ours.kind === 'tuple') {
      if (theirs.elems.length !== ours.elems.length) return this.#fatal(path, what);
      return ours.elems.forEach((our, index) => {
        this.#kinds(`${path}.${index}`, theirs.elems[index] as KindDescriptor, our);
      });
    }
    if ('key' in theirs && 'key' in ours) {
      this.#kinds(`${path}[key]`, theirs.key, ours.key);
      return this.#kinds(`${path}[]`, theirs.value, ours.value);
    }
    if ('elem' in theirs && 'elem' in ours) {
      const isInPlace = ours.kind === 'option' || ours.kind === 'box';
      return this.#kinds(isInPlace ? path : `${path}[]`, theirs.elem, ours.elem);
    }
    if (theirs.kind === 'type' && ours.kind === 'type') this.types(path, theirs.type, ours.type);
  }

  #bridged(path: string, what: string): void {
    this.found.push({ path, what, isFatal: false });
  }

  #fatal(path: string, what: string): void {
    this.found.push({ path, what, isFatal: true });
  }
}

function named(
  variants: readonly VariantDescriptor[],
  name: string,
): VariantDescriptor | undefined {
  return variants.find((variant) => variant.name === name);
}
