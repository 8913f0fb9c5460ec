/** Generated readers: expressions that copy values out of an archive. */

import type { Form, Part } from '../forms.js';
import { get, isList, key, plus, quote, READ, type Emitter } from './emitter.js';

/** Arrays up to this length are spelled out. */
const UNROLLED_MAX = 16;

/** The name of the function that reads a user type. */
export function typeReader(e: Emitter, type: string): string {
  return e.helper('read', type, (name) => {
    const form = e.userType(type);
    const result = e.names.of(type);
    if (form.form === 'struct') {
      e.fn(name, READ, result, [`return ${literal(e, form.shape, form.parts, 'p')};`]);
      return;
    }
    const cases = form.variants.map((variant) => {
      const kind = quote(variant.name);
      if (form.isPlain) return `case ${variant.tag}: return ${kind};`;
      if (variant.shape === 'unit') return `case ${variant.tag}: return { kind: ${kind} };`;
      const value = literal(e, variant.shape, variant.parts, 'p');
      return `case ${variant.tag}: return { kind: ${kind}, value: ${value} };`;
    });
    const { fallback } = form;
    const standard = fallback === undefined ? '' : quote(fallback);
    const unknown =
      fallback === undefined
        ? `throw ${e.rt('unknownVariant')}(${quote(form.name)}, tag);`
        : `return ${form.isPlain ? standard : `{ kind: ${standard} }`};`;
    const lines = ['const tag = d.getUint8(p);', 'switch (tag) {', ...cases, `default: ${unknown}`];
    e.fn(name, READ, result, [...lines, '}']);
  });
}

/** A struct, or what a variant holds, as a literal: V8 is slow with objects made otherwise. */
function literal(
  e: Emitter,
  shape: string,
  parts: readonly Part[],
  p: string,
  d = 'd',
  b = 'b',
): string {
  const values = parts.map(({ name, at, form }) => {
    const value = reader(e, form, plus(p, at), d, b);
    return isList(shape) ? value : `${key(name)}: ${value}`;
  });
  return isList(shape) ? `[${values.join(', ')}]` : `{ ${values.join(', ')} }`;
}

/** An expression for the value of a form at `p`, given the memory as `d` and `b`. */
export function reader(e: Emitter, form: Form, p: string, d = 'd', b = 'b'): string {
  switch (form.form) {
    case 'number': {
      const value = get(d, form.scalar, p);
      return form.big ? `BigInt(${value})` : value;
    }
    case 'long':
      if (form.js === 'number') return `${e.rt(form.signed ? 'readI64' : 'readU64')}(${d}, ${p})`;
      return `${d}.getBig${form.signed ? 'Int' : 'Uint'}64(${p}, true)`;
    case 'huge':
      return `${e.rt('readHuge')}(${d}, ${p}, ${form.signed})`;
    case 'bool':
      return `${d}.getUint8(${p}) !== 0`;
    case 'char':
      return `${e.rt('readChar')}(${d}, ${p})`;
    case 'unit':
      return 'null';
    case 'string':
      return `${e.rt(form.intern ? 'readShared' : 'readString')}(${d}, ${b}, ${p})`;
    case 'boxstr':
      return `${e.rt('readBoxStr')}(${d}, ${b}, ${p})`;
    case 'bytes':
      return `${e.rt('readBytes')}(${d}, ${b}, ${p})`;
    case 'blob':
      return `${e.rt('copyBytes')}(${b}, ${p}, ${form.length})`;
    case 'constant':
      return constant(e, form.value);
    case 'type':
      return `${typeReader(e, form.type)}(${d}, ${b}, ${p})`;
    case 'tuple':
      return literal(e, 'tuple', form.parts, p, d, b);
    case 'option': {
      const value = reader(e, form.elem, plus(p, form.align), d, b);
      const held = form.nested ? `{ some: ${value} }` : value;
      return `(${e.rt('isSome')}(${d}, ${p}) ? ${held} : null)`;
    }
    case 'some': {
      const value = reader(e, form.elem, p, d, b);
      return form.nested ? `{ some: ${value} }` : value;
    }
    case 'map':
      return `${e.map(form)}.read(${d}, ${b}, ${p})`;
    default:
      return `${helper(e, form)}(${d}, ${b}, ${p})`;
  }
}

/** Forms that need more than an expression. */
function helper(e: Emitter, form: Extract<Form, { elem: Form }>): string {
  return e.helper('read', form, (name) => {
    const { elem } = form;
    const type = e.valueType(form);
    if (form.form === 'box') {
      const at = `const at = ${e.rt('claim')}(d, p, 1, ${elem.size});`;
      return e.fn(name, READ, type, [at, `return ${reader(e, elem, 'at')};`]);
    }
    if (form.form === 'array' && form.length <= UNROLLED_MAX) {
      const values = Array.from({ length: form.length }, (_, index) =>
        reader(e, elem, plus('p', index * elem.size)),
      );
      return e.fn(name, READ, type, [`return [${values.join(', ')}];`]);
    }
    const isArray = form.form === 'array';
    const head = isArray
      ? [`const length = ${form.length};`, 'let at = p;']
      : [
          'const length = d.getUint32(p + 4, true);',
          `let at = ${e.rt('claim')}(d, p, length, ${elem.size});`,
        ];
    e.fn(name, READ, type, [
      ...head,
      `const values${e.type(type)} = [];`,
      `for (let index = 0; index < length; index++, at += ${elem.size}) {`,
      `values.push(${reader(e, elem, 'at')});`,
      '}',
      'return values;',
    ]);
  });
}

/** A value that the code holds itself. */
export function constant(e: Emitter, value: unknown): string {
  if (value === null || typeof value === 'boolean') return String(value);
  if (typeof value === 'string') return quote(value);
  if (typeof value === 'number') return Object.is(value, -0) ? '-0' : `(${value})`;
  if (typeof value === 'bigint') return `${value}n`;
  const index = e.constants.push(value) - 1;
  return `structuredClone(constants[${index}])`;
}
