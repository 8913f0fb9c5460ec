/**
 * Generated cursors: classes with one getter per field that reads in place. Nested cursors are made
 * when first asked for and then moved.
 */

import type { Form, FormOf, Part, Shown, TypeForm } from '../forms.js';
import { get, key, plus, quote, uses, type Emitter } from './emitter.js';
import { constant, reader, typeReader } from './readers.js';

/**
 * Onto the memory `d` and `b`, which belong together. A cursor mostly stands on it already, and
 * storing what may be younger than the cursor has to be told to the garbage collector.
 */
const ONTO = 'if (this.$d !== d) {\nthis.$d = d;\nthis.$b = b;\n}';

type EnumForm = Extract<TypeForm, { form: 'enum' }>;

/** A class while its members are collected. */
class Class {
  readonly e: Emitter;
  readonly #fields: string[] = [];
  readonly #members: string[] = [];

  constructor(e: Emitter) {
    this.e = e;
  }

  /** An expression for a nested cursor of its own. */
  nested(type: string, make: string): string {
    const field = this.e.fresh('$');
    const declared = this.e.typed ? `${field}: ${type} | undefined` : field;
    this.#fields.push(`${declared} = undefined;`);
    return `(this.${field} ??= ${make})`;
  }

  member(text: string): void {
    this.#members.push(text);
  }

  /** The class as text. */
  text(head: string, fields: readonly string[]): string {
    return `${head} {\n${[...fields, ...this.#fields, ...this.#members].join('\n')}\n}`;
  }
}

/** The name of the class of cursors over a user type. */
export function typeCursor(e: Emitter, type: string): string {
  return e.named('cursor', type, `${e.names.of(type)}View`, (name) => {
    const form = e.userType(type);
    const value = e.names.of(type);
    const read = `${typeReader(e, type)}(this.$d, this.$b, this.$p)`;
    const root = { name: form.name, size: form.size };
    if (form.form === 'struct') {
      partsCursor(e, name, form.parts, value, read, form.size, root);
      return;
    }
    const c = new Class(e);
    const kinds = form.variants.map((variant) => quote(variant.name)).join(' | ');
    const kind = form.isPlain ? '$value' : 'kind';
    c.member(`get ${kind}()${e.type(kinds)} {\n${kindSwitch(e, form)}\n}`);
    if (!form.isPlain) c.member(valueGetter(e, c, type));
    finish(c, name, value, read, form.size, root);
  });
}

function kindSwitch(e: Emitter, form: EnumForm): string {
  const tags = form.variants.map(
    (variant) => `case ${variant.tag}: return ${quote(variant.name)};`,
  );
  const unknown =
    form.fallback === undefined
      ? `default: throw ${e.rt('unknownVariant')}(${quote(form.name)}, this.$d.getUint8(this.$p));`
      : `default: return ${quote(form.fallback)};`;
  return ['switch (this.$d.getUint8(this.$p)) {', ...tags, unknown, '}'].join('\n');
}

/** The getter of what the variant of an enum holds. */
function valueGetter(e: Emitter, c: Class, type: string): string {
  const form = e.userType(type);
  const variants = form.form === 'enum' ? form.variants : [];
  const classes: string[] = [];
  const cases = variants.flatMap((variant) => {
    if (variant.shape === 'unit') return [];
    const held = e.fresh(`$${e.names.of(type)}${variant.name}`);
    classes.push(held);
    const value = e.names.parts(variant.shape, variant.parts, key);
    const all = e.as(`${typeReader(e, type)}(this.$d, this.$b, this.$p)`, '{ value?: unknown }');
    partsCursor(e, held, variant.parts, value, e.as(`${all}.value`, value), form.size, null);
    return [`case ${variant.tag}: return ${moved(c.nested(held, `new ${held}()`), 'this.$p')};`];
  });
  const result = [...classes, 'undefined'].join(' | ');
  const body = [
    'switch (this.$d.getUint8(this.$p)) {',
    ...cases,
    'default: return undefined;',
    '}',
  ];
  return `get value()${e.type(result)} {\n${body.join('\n')}\n}`;
}

interface Root {
  readonly name: string;
  readonly size: number;
}

/** A class with a getter for each part. */
function partsCursor(
  e: Emitter,
  name: string,
  parts: readonly Part[],
  value: string,
  read: string,
  size: number,
  root: Root | null,
): void {
  const c = new Class(e);
  for (const { name: part, at, form } of parts) {
    const [type, expression] = look(e, c, form, plus('this.$p', at));
    c.member(`get ${key(part)}()${e.type(type)} {\nreturn ${expression};\n}`);
    if (part === 'toJSON') c.member(`constructor() {\nsuper();\n${e.rt('hide')}(this);\n}`);
  }
  finish(c, name, value, read, size, root);
}

/** Adds what every cursor has, and the class to the code. */
function finish(
  c: Class,
  name: string,
  value: string,
  read: string,
  size: number,
  root: Root | null,
): void {
  const { e } = c;
  const region = e.rt('region');
  const parameters = e.parameters(
    [
      ['d', 'DataView'],
      ['b', 'Buffer'],
      ['p', 'number'],
      ['lo', 'number'],
    ],
    'd b p lo',
  );
  const set = [ONTO, 'this.$p = p;', 'this.$lo = lo;', 'return this;'];
  c.member(`$set(${parameters})${e.type('this')} {\n${set.join('\n')}\n}`);
  const limit = `${e.rt('limit')}(this.$lo, this.$p + ${size});`;
  const refuse = `throw ${e.rt('unreadable')}(${quote(root?.name ?? '')}, error);`;
  const copy = [limit, 'try {', `return ${read};`, '} catch (error) {', refuse, '}'].join('\n');
  c.member(`$toObject()${e.type(value)} {\n${copy}\n}`);
  if (root !== null) c.member(moveMethod(e, root));
  const fields = [
    `$d${e.type('DataView')} = ${region}.d;`,
    `$b${e.type('Buffer')} = ${region}.b;`,
    '$p = 0;',
    '$lo = 0;',
    `${e.typed ? 'readonly ' : ''}$uncloned${e.type('symbol')} = ${e.rt('UNCLONED')};`,
  ];
  const head = `${e.typed ? 'export ' : ''}class ${name} extends ${e.rt('ShownCursor')}`;
  e.add(c.text(head, fields));
}

function moveMethod(e: Emitter, { name, size }: Root): string {
  const head = e.typed
    ? 'bytes: Uint8Array, offset = 0, size: number = bytes?.length - offset'
    : 'bytes, offset = 0, size = bytes?.length - offset';
  const region = e.rt('region');
  const isPlain = `offset >>> 0 === offset && size >>> 0 === size`;
  const slow = `${e.rt('rootOf')}(${quote(name)}, bytes, ${size}, offset, size);`;
  const lines = [
    `if (bytes !== ${region}.bytes) ${e.rt('enter')}(bytes);`,
    `if (!(${isPlain}) || size < ${size} || offset + size > bytes.length) ${slow}`,
    `const { d } = ${region};`,
    `if (this.$d !== d) {\nthis.$d = d;\nthis.$b = ${region}.b;\n}`,
    `const lo = ${region}.start + offset;`,
    'this.$lo = lo;',
    `this.$p = lo + size - ${size};`,
    'return this;',
  ];
  return `$move(${head})${e.type('this')} {\n${lines.join('\n')}\n}`;
}

function moved(cursor: string, p: string): string {
  return `${cursor}.$set(this.$d, this.$b, ${p}, this.$lo)`;
}

/** What a getter for a form at `p` returns: its type and an expression. */
function look(e: Emitter, c: Class, form: Form, p: string): readonly [type: string, text: string] {
  const plain = (text: string): readonly [string, string] => [e.valueType(form), text];
  const [d, b, lo] = ['this.$d', 'this.$b', 'this.$lo'];
  switch (form.form) {
    case 'number': {
      const value = get(d, form.scalar, p);
      return plain(form.big ? `BigInt(${value})` : value);
    }
    case 'string':
      return plain(`${e.rt(form.intern ? 'viewShared' : 'viewString')}(${d}, ${b}, ${p}, ${lo})`);
    case 'boxstr':
      return plain(`${e.rt('viewBoxStr')}(${d}, ${b}, ${p}, ${lo})`);
    case 'bytes':
      return plain(`${e.rt('viewBytes')}(${d}, ${b}, ${p}, ${lo})`);
    case 'blob':
      return plain(`new Uint8Array(${b}.buffer, ${p}, ${form.length})`);
    case 'list': {
      const name = listCursor(e, form);
      const list = c.nested(name, `new ${name}()`);
      return [name, `${list}.$point(${d}, ${b}, ${p}, ${lo})`];
    }
    case 'array': {
      const name = listCursor(e, form);
      const list = c.nested(name, `new ${name}()`);
      return [name, `${list}.$set(${d}, ${b}, ${p}, ${lo}, ${form.length})`];
    }
    case 'box':
      return lookBehind(e, c, form, p);
    case 'option': {
      const [type, text] = look(e, c, form.elem, plus(p, form.align));
      const is = `${e.rt('isSome')}(${d}, ${p})`;
      if (form.nested) return [`{ some: ${type} } | null`, `(${is} ? { some: ${text} } : null)`];
      return [`${type} | null`, `(${is} ? ${text} : null)`];
    }
    case 'some': {
      const [type, text] = look(e, c, form.elem, p);
      return form.nested ? [`{ some: ${type} }`, `({ some: ${text} })`] : [type, text];
    }
    case 'tuple':
      return lookTuple(e, c, form, p);
    case 'map':
      return lookMap(e, c, form, p);
    case 'type': {
      const type = e.userType(form.type);
      if (type.form === 'enum' && type.isPlain) return plain(reader(e, form, p, d, b));
      const name = typeCursor(e, form.type);
      return [name, moved(c.nested(name, `new ${name}()`), p)];
    }
    case 'constant':
      return form.shown === null ? plain(constant(e, form.value)) : lookShown(e, c, form.shown);
    default:
      return plain(reader(e, form, p, d, b));
  }
}

function lookBehind(
  e: Emitter,
  c: Class,
  form: FormOf<'box'>,
  p: string,
): readonly [string, string] {
  // A method of its own, because the position is used more than once.
  const method = e.fresh('$behind');
  const [type, text] = look(e, c, form.elem, 'p');
  c.member(
    `${method}(${e.parameters([['p', 'number']], text)})${e.type(type)} {\nreturn ${text};\n}`,
  );
  const at = `${e.rt('target')}(this.$d, ${p}, ${form.elem.size}, this.$lo)`;
  return [type, `this.${method}(${at})`];
}

/** A value in an archive of its own is the only part of a cursor over that archive. */
function lookShown(e: Emitter, c: Class, shown: Shown): readonly [string, string] {
  const { place, at } = shown;
  const type = e.valueType(place);
  const name = e.helper('$Shown', shown, (made) => {
    const read = reader(e, place, 'this.$p', 'this.$d', 'this.$b');
    partsCursor(e, made, [{ name: 'value', at: 0, form: place }], type, read, place.size, null);
  });
  const index = e.constants.push(shown) - 1;
  const make = `new ${name}().$set(constants[${index}].d, constants[${index}].b, ${at}, 0)`;
  return [type, `${c.nested(name, make)}.value`];
}

function lookTuple(
  e: Emitter,
  c: Class,
  form: FormOf<'tuple'>,
  p: string,
): readonly [string, string] {
  const name = e.helper('$Tuple', form, (made) => {
    const read = reader(e, form, 'this.$p', 'this.$d', 'this.$b');
    partsCursor(e, made, form.parts, e.valueType(form), read, form.size, null);
  });
  return [name, moved(c.nested(name, `new ${name}()`), p)];
}

function lookMap(e: Emitter, c: Class, form: FormOf<'map'>, p: string): readonly [string, string] {
  const ops = e.map(form);
  const name = e.helper('$Value', form, (made) => {
    const value = new Class(e);
    const [type, text] = look(e, value, form.value, 'p');
    const set = [ONTO, 'this.$lo = lo;', `return ${text};`];
    const parameters = [
      ['d', 'DataView'],
      ['b', 'Buffer'],
      ['p', 'number'],
      ['lo', 'number'],
    ] as const;
    const head = e.parameters(parameters, `d b lo ${text}`);
    value.member(`$look(${head})${e.type(type)} {\n${set.join('\n')}\n}`);
    const region = e.rt('region');
    const fields = [
      `$d${e.type('DataView')} = ${region}.d;`,
      `$b${e.type('Buffer')} = ${region}.b;`,
      '$lo = 0;',
    ];
    e.add(value.text(`class ${made}`, fields));
    const arrow = e.typed
      ? '(d: DataView, b: Buffer, p: number, lo: number) => value.$look(d, b, p, lo)'
      : '(d, b, p, lo) => value.$look(d, b, p, lo)';
    e.add(
      `function make${made}()${e.type(mapType(e, form, type))} {\n` +
        `const value = new ${made}();\n` +
        `return new ${e.rt('MapCursor')}(${ops}, rules${ops}, ${arrow});\n}`,
    );
    types.set(form, mapType(e, form, type));
  });
  const result = types.get(form) ?? '';
  return [result, moved(c.nested(result, `make${name}()`), p)];
}

/** Types of the cursors over maps, by form. */
const types = new WeakMap<Form, string>();

function mapType(e: Emitter, form: FormOf<'map'>, value: string): string {
  return `MapCursor<${e.valueType(form.key)}, ${e.valueType(form.value)}, ${value}>`;
}

/** The name of the class of cursors over lists and arrays of a form. */
function listCursor(e: Emitter, form: FormOf<'list'> | FormOf<'array'>): string {
  const { elem } = form;
  return e.helper('$List', form, (name) => {
    const c = new Class(e);
    const [type, text] = look(e, c, elem, 'p');
    const value = e.valueType(elem);
    const parameter = e.typed ? 'index: number' : 'index';
    const override = e.typed ? 'override ' : '';
    const none = `${e.rt('noElement')}(index, this.$n)`;
    const check = `if (index >>> 0 !== index || index >= this.$n) throw ${none};`;
    const at = `const p = this.$p + index * ${elem.size};`;
    c.member(
      `${override}at(${parameter})${e.type(type)} {\n${check}\n${uses(text, 'p') ? `${at}\n` : ''}return ${text};\n}`,
    );
    const four = [
      ['d', 'DataView'],
      ['b', 'Buffer'],
      ['p', 'number'],
      ['lo', 'number'],
    ] as const;
    const five = [...four, ['n', 'number']] as const;
    const set = `${ONTO}\nthis.$p = p;\nthis.$lo = lo;\nthis.$n = n;\nreturn this;`;
    const self = e.type('this');
    c.member(`${override}$set(${e.parameters(five, 'd b p lo n')})${self} {\n${set}\n}`);
    const point =
      'const n = d.getUint32(p + 4, true);\n' +
      (elem.size === 0 ? `${e.rt('checkEmpties')}(n);\n` : '') +
      `return this.$set(d, b, ${e.rt('target')}(d, p, n * ${elem.size}, lo), lo, n);`;
    if (form.form === 'list') {
      c.member(`$point(${e.parameters(four, 'd b p lo')})${self} {\n${point}\n}`);
    }
    const read = reader(e, elem, 'p', 'this.$d', 'this.$b');
    c.member(
      `${override}toArray()${e.type(`(${value})[]`)} {\n` +
        `${e.rt('limit')}(this.$lo, this.$p + this.$n * ${elem.size});\n` +
        `const values${e.type(`(${value})[]`)} = [];\n` +
        `for (let index = 0; index < this.$n; index++) {\n` +
        `${uses(read, 'p') ? `${at}\n` : ''}values.push(${read});\n}\nreturn values;\n}`,
    );
    const base = e.rt('ListCursor') + (e.typed ? `<${value}, ${type}>` : '');
    e.add(c.text(`class ${name} extends ${base}`, []));
  });
}
