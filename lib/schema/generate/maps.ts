/**
 * Generated rules of maps: how their keys and values are read, written, hashed and ordered. What
 * reads another version writes nothing, and only compares keys.
 */

import { slotsOf, typeForm, type Form, type FormOf, type Part, type TypeForm } from '../forms.js';
import { schemaInvalid } from '../problems.js';
import { quote, READ, type Emitter } from './emitter.js';
import { reader } from './readers.js';
import { fix, out } from './writers.js';

type EnumForm = Extract<TypeForm, { form: 'enum' }>;

const BITS: Readonly<Record<string, number>> = { u8: 8, u16: 16, u32: 32, i8: 8, i16: 16, i32: 32 };

/** The name of what reads and writes maps of a form; its rules are `rules` + the name. */
export function nameMap(e: Emitter, form: FormOf<'map'>): string {
  return e.helper('map', form, (name) => {
    const [k, v] = [e.valueType(form.key), e.valueType(form.value)];
    const types = `<${k}, ${v}>`;
    const rules = [
      `sorted: ${form.sorted},`,
      `key: ${part(e, form.key)},`,
      `value: ${part(e, form.value)},`,
      `rules: ${e.as(keyRules(e, form.key, []), `unknown as keys.KeyRules<${k}>`)},`,
      ...(e.plan.readsOnly ? ['readsOnly: true,'] : []),
    ];
    e.rt('MapRules');
    e.add(`const rules${name}${e.type(`MapRules${types}`)} = {\n${rules.join('\n')}\n};`);
    e.add(`const ${name} = ${e.rt('mapOps')}(rules${name});`);
  });
}

function part(e: Emitter, form: Form): string {
  const [read, put, place] = [e.fresh('read'), e.fresh('out'), e.fresh('fix')];
  const type = e.valueType(form);
  const { size, align } = form;
  e.fn(read, READ, type, [`return ${reader(e, form, 'p')};`]);
  if (e.plan.readsOnly) return `{ size: ${size}, align: ${align}, slots: 0, read: ${read} }`;
  e.rt('Sink');
  e.fn(
    put,
    [
      ['s', 'Sink'],
      ['v', type],
    ],
    'void',
    out(e, form, 'v'),
  );
  const parameters = [
    ['s', 'Sink'],
    ['d', 'DataView'],
    ['v', type],
    ['p', 'number'],
  ] as const;
  e.fn(place, parameters, 'void', fix(e, form, 'v', 'p'));
  const slots = slotsOf(e.plan, form);
  const shape = `size: ${size}, align: ${align}, slots: ${slots}`;
  return `{ ${shape}, read: ${read}, out: ${put}, fix: ${place} }`;
}

/** `open`: the types whose rules these are for. */
function keyRules(e: Emitter, form: Form, open: readonly string[]): string {
  const keys = e.rt('keys');
  const inner = (elem: Form): string => keyRules(e, elem, open);
  switch (form.form) {
    case 'number': {
      const bits = BITS[form.scalar];
      if (bits === undefined) break;
      return `${keys}.small(${bits})`;
    }
    case 'long':
    case 'huge':
    case 'bool':
    case 'char':
    case 'unit':
      return `${keys}.${form.form}`;
    case 'string':
    case 'boxstr':
      return `${keys}.string`;
    case 'bytes':
    case 'blob':
      return `${keys}.bytes`;
    case 'list':
    case 'array': {
      const isInteger =
        form.elem.form === 'long' ||
        form.elem.form === 'huge' ||
        (form.elem.form === 'number' && form.elem.scalar in BITS);
      const width = isInteger ? form.elem.size : 0;
      return `${keys}.list(${e.as(inner(form.elem), 'never')}, ${width})`;
    }
    case 'box':
      return inner(form.elem);
    case 'constant':
      return `${keys}.constant`;
    case 'option':
    case 'some':
      return `${keys}.option(${e.as(inner(form.elem), 'never')}, ${form.nested})`;
    case 'tuple':
      return partRules(e, form.parts, open);
    case 'type':
      return typeRules(e, form.type, open);
    default:
      break;
  }
  throw schemaInvalid('', 'floats cannot be keys of a map');
}

/**
 * The name of the rules of a user type: spelled out at each mention, they would double with each
 * type that mentions another one twice.
 */
function typeRules(e: Emitter, key: string, open: readonly string[]): string {
  if (open.includes(key))
    throw schemaInvalid('', 'keys of maps are of a type that contains itself');
  return e.helper('key', key, (name) => {
    const type = typeForm(e.plan, key);
    const within = [...open, key];
    e.add(
      `const ${name} = ${type.form === 'struct' ? partRules(e, type.parts, within) : variantRules(e, type, within)};`,
    );
  });
}

function variantRules(e: Emitter, type: EnumForm, open: readonly string[]): string {
  const variants = type.variants.map(({ name, tag, parts }) => {
    return `[${quote(name)}, ${tag}, ${e.as(partRules(e, parts, open), 'never')}]`;
  });
  return `${e.rt('keys')}.variants([${variants.join(', ')}])`;
}

function partRules(e: Emitter, parts: readonly Part[], open: readonly string[]): string {
  const rules = parts.map(({ name, form }) => {
    return `[${quote(name)}, ${e.as(keyRules(e, form, open), 'never')}]`;
  });
  return `${e.rt('keys')}.parts([${rules.join(', ')}])`;
}
