/**
 * Generated writers: phase one writes what is out of line and remembers where, phase two writes the
 * value itself. Every value is checked, since nothing else stands between a wrong one and Rust.
 */

import { F32_END } from '../numbers.js';
import { gapsIn, hasOut, slotsOf, type Form, type FormOf, type Part } from '../forms.js';
import { ACCESSORS, member, plus, quote, uses, type Emitter, type Parameter } from './emitter.js';

/** Arrays up to this length are spelled out. */
const UNROLLED_MAX = 16;

const FITS: Readonly<Record<string, string>> = {
  u8: '(V & 255) !== V',
  u16: '(V & 65535) !== V',
  u32: '(V >>> 0) !== V',
  i8: '((V << 24) >> 24) !== V',
  i16: '((V << 16) >> 16) !== V',
  i32: '(V | 0) !== V',
  f32: `typeof V !== 'number' || !(Math.abs(V) < ${F32_END})`,
  f64: "typeof V !== 'number'",
};

function outParameters(type: string): readonly Parameter[] {
  return [
    ['s', 'Sink'],
    ['v', type],
  ];
}

function fixParameters(type: string, isFixed: boolean): readonly Parameter[] {
  return [
    ['s', isFixed ? '{ readonly b: Buffer }' : 'Sink'],
    ['d', 'DataView'],
    ['v', type],
    ['p', 'number'],
  ];
}

/** The name of phase one of a user type. */
export function typeOut(e: Emitter, type: string): string {
  return e.helper('out', type, (name) => {
    const form = e.userType(type);
    const parameters = outParameters(e.names.of(type));
    e.rt('Sink');
    if (form.form === 'struct') {
      return e.fn(name, parameters, 'void', outParts(e, form.parts, 'v'));
    }
    const cases = form.variants.flatMap((variant) => {
      const lines = outParts(e, variant.parts, 'held');
      if (lines.length === 0) return [];
      return [`case ${quote(variant.name)}: {`, 'const held = v.value;', ...lines, 'break;', '}'];
    });
    e.fn(name, parameters, 'void', ['switch (v.kind) {', ...cases, 'default:', '}']);
  });
}

/**
 * Statements for phase two of a root type of fixed size, spelled out where it is a struct, field by
 * field: at `p`, its {@link rootPlace}, in `words`, of which arrays of numbers and the DataView `d`
 * are at hand.
 */
export function rootFix(e: Emitter, type: string, value: string, p: string): string[][] {
  const form = e.userType(type);
  if (form.form === 'struct') {
    const check = checkObject(e, form.parts, value);
    return [check, ...fixEach(e, form.parts, value, p, 0, form.size)];
  }
  return [[`${typeFix(e, type)}(${e.rt('words')}, d, ${value}, ${p});`]];
}

/** The position in the memory that numbers are written to through arrays. */
const WORDS = 'w';

/**
 * The name of the position of a root type. An array writes to multiples of its width only: padding
 * is zeroed by fours, where a type of a smaller alignment may lie between two of them. (Wider
 * numbers are in no type of a smaller alignment than theirs.)
 */
export function rootPlace(align: number): string {
  return align < 4 ? 'p' : WORDS;
}

/** The arrays for numbers, their widths, and how positions are counted in them. */
const ARRAYS: Readonly<Record<string, readonly [array: string, index: string, width: number]>> = {
  u32: ['i32', 'w4', 4],
  i32: ['i32', 'w4', 4],
  f32: ['f32', 'w4', 4],
  f64: ['f64', 'w8', 8],
};

/** A statement that stores a number. */
function store(scalar: string, p: string, value: string): string {
  const [, offset] = /^w(?: \+ (\d+))?$/.exec(p) === null ? [] : [p, Number(p.slice(4))];
  const known = ARRAYS[scalar];
  if (offset !== undefined && known !== undefined && offset % known[2] === 0) {
    const [array, index, width] = known;
    return `${array}[${plus(index, offset / width)}] = ${value};`;
  }
  const order = scalar === 'u8' || scalar === 'i8' ? '' : ', true';
  return `d.set${ACCESSORS[scalar] ?? ''}(${p}, ${value}${order});`;
}

/** The name of phase two of a user type. */
export function typeFix(e: Emitter, type: string): string {
  return e.helper('fix', type, (name) => {
    const form = e.userType(type);
    const { size, align } = form;
    const isFixed = !hasOut(e.plan, { form: 'type', type, size, align });
    const parameters = fixParameters(e.names.of(type), isFixed);
    if (!isFixed) e.rt('Sink');
    if (form.form === 'struct') {
      const lines = fixParts(e, form.parts, 'v', 'p', 0, form.size);
      return e.fn(name, parameters, 'void', [...checkObject(e, form.parts, 'v'), ...lines]);
    }
    const kind = form.isPlain ? 'v' : 'v.kind';
    const cases = form.variants.flatMap((variant) => {
      const { parts, shape } = variant;
      const body = [
        ...(shape === 'unit' ? [] : checkObject(e, parts, 'held')),
        ...fixParts(e, parts, 'held', 'p', 1, form.size),
      ];
      return [
        `case ${quote(variant.name)}: {`,
        store('u8', 'p', String(variant.tag)),
        ...(uses(body.join('\n'), 'held') ? ['const held = v.value;'] : []),
        ...body,
        'break;',
        '}',
      ];
    });
    const allowed = quote(`one of ${form.variants.map((variant) => variant.name).join(', ')}`);
    const got = form.isPlain ? 'v' : `${e.as('v', '{ kind?: unknown }')}.kind`;
    const unknown = `default: ${e.rt('bad')}(${got}, ${allowed});`;
    e.fn(name, parameters, 'void', [`switch (${kind}) {`, ...cases, unknown, '}']);
  });
}

function outParts(e: Emitter, parts: readonly Part[], value: string): string[] {
  return parts
    .filter(({ form }) => hasOut(e.plan, form))
    .flatMap(({ name, form }) => out(e, form, member(value, name)));
}

function fixParts(...args: Parameters<typeof fixEach>): string[] {
  return fixEach(...args).flat();
}

/** Statements for phase two of some parts, one list after the other. */
function fixEach(
  e: Emitter,
  parts: readonly Part[],
  value: string,
  p: string,
  from: number,
  to: number,
): string[][] {
  const places = parts.map(({ name, at, form }) => {
    return { form, value: member(value, name), p: plus(p, at) };
  });
  const lines = runsOf(places).map((run) => fixRun(e, run));
  const zeros = gapsIn(parts, from, to).map(([start, end]) => zeroLines(e, p, start, end));
  return [...lines, ...zeros];
}

/** Says whether a value has parts, where none of them would miss it. */
function checkObject(e: Emitter, parts: readonly Part[], value: string): string[] {
  if (!parts.every(({ form }) => isOptional(form))) return [];
  const wrong = `typeof ${value} !== 'object' || ${value} === null`;
  return [`if (${wrong}) ${e.rt('bad')}(${value}, 'an object');`];
}

/** Whether `undefined` is a value of a form. */
function isOptional({ form }: Form): boolean {
  return form === 'option' || form === 'unit';
}

/** A value to be written at a position. */
interface Place {
  readonly form: Form;
  readonly value: string;
  readonly p: string;
}

/** Places in their order, those of f32 that follow each other together. */
function runsOf(places: readonly Place[]): Place[][] {
  const runs: Place[][] = [];
  for (const place of places) {
    const last = runs.at(-1);
    const joins = isF32(place.form) && last !== undefined && isF32(last[0]?.form);
    if (joins && last.length < UNROLLED_MAX) last.push(place);
    else runs.push([place]);
  }
  return runs;
}

function isF32(form: Form | undefined): boolean {
  return form?.form === 'number' && form.scalar === 'f32';
}

/**
 * Statements for a run of places. Numbers of type f32 are checked together: if the sum of their
 * squares is below that of the first number which is too large, so is each of them.
 */
function fixRun(e: Emitter, run: readonly Place[]): string[] {
  if (run.length < 2) return run.flatMap(({ form, value, p }) => fix(e, form, value, p));
  const values = run.map(({ value, p }) => ({ x: e.fresh('x'), value, p }));
  const wrong = values.map(({ x }) => `typeof ${x} !== 'number'`).join(' || ');
  const sum = values.map(({ x }) => `${x} * ${x}`).join(' + ');
  const all = values.map(({ x }) => x).join(', ');
  return [
    ...values.map(({ x, value }) => `const ${x} = ${value};`),
    `if (${wrong} || !(${sum} < ${F32_END ** 2})) ${e.rt('checkF32s')}(${all});`,
    ...values.map(({ x, p }) => store('f32', p, x)),
  ];
}

/** Zeros where nothing stands. */
function zeroLines(e: Emitter, p: string, from: number, to: number): string[] {
  if (to - from > 32) return [`${e.rt('zero')}(d, ${plus(p, from)}, ${plus(p, to)});`];
  const lines: string[] = [];
  let at = from;
  for (; at + 4 <= to; at += 4) lines.push(store('i32', plus(p, at), '0'));
  if (at + 2 <= to) {
    lines.push(store('i16', plus(p, at), '0'));
    at += 2;
  }
  if (at < to) lines.push(store('i8', plus(p, at), '0'));
  return lines;
}

/** Statements for phase one of the value of an expression. */
export function out(e: Emitter, form: Form, value: string): string[] {
  if (!hasOut(e.plan, form)) return [];
  switch (form.form) {
    case 'string':
      return [`${e.rt('putString')}(s, ${value});`];
    case 'boxstr':
      return [`${e.rt('putBoxStr')}(s, ${value});`];
    case 'bytes':
      return [`${e.rt('putBytes')}(s, ${value});`];
    case 'type':
      return [`${typeOut(e, form.type)}(s, ${value});`];
    case 'map':
      return [`${e.map(form)}.out(s, ${value});`];
    case 'tuple':
      return outParts(e, form.parts, value);
    case 'option': {
      const x = e.fresh('x');
      const held = form.nested ? `${e.rt('wrapped')}(${x})` : x;
      const inner = out(e, form.elem, held);
      return [
        `const ${x} = ${value};`,
        `if (${x} !== null && ${x} !== undefined) {`,
        ...inner,
        '}',
      ];
    }
    default:
      return [`${outHelper(e, form as Extract<Form, { elem: Form }>)}(s, ${value});`];
  }
}

function outHelper(e: Emitter, form: Extract<Form, { elem: Form }>): string {
  return e.helper('out', form, (name) => {
    e.rt('Sink');
    const { elem } = form;
    const parameters = outParameters(e.valueType(form));
    const slots = slotsOf(e.plan, elem);
    const elemType = e.valueType(elem);
    if (form.form === 'box') {
      return e.fn(name, parameters, 'void', [
        'const base = s.rp;',
        `s.reserve(${slots + 1});`,
        ...out(e, elem, 'v'),
        `const at = s.take(${elem.size}, ${elem.align});`,
        'const { d } = s;',
        's.ri = base;',
        ...fix(e, elem, 'v', 'at'),
        's.done();',
        's.rp = base;',
        's.push(at - s.base);',
      ]);
    }
    const one = e.as('v[index]', elemType);
    const outs = out(e, elem, 'one');
    const loop = ['for (let index = 0; index < length; index++) {', `const one = ${one};`];
    const outLoop = outs.length === 0 ? [] : [...loop, ...outs, '}'];
    if (form.form === 'array') {
      const length = `const length = ${form.length};`;
      const check = `${e.rt('checkLength')}(v, length);`;
      return e.fn(name, parameters, 'void', [length, check, ...outLoop]);
    }
    const fixes = fix(e, elem, 'one', 'at');
    e.fn(name, parameters, 'void', [
      `const length = ${e.rt('lengthOf')}(v, ${elem.size});`,
      ...(elem.size === 0 ? ['s.addEmpties(length);'] : []),
      'const base = s.rp;',
      `s.reserve(length * ${slots} + 2);`,
      ...outLoop,
      `const start = s.take(length * ${elem.size}, ${elem.align});`,
      ...(fixes.length === 0
        ? []
        : [
            'const { d } = s;',
            's.ri = base;',
            'let at = start;',
            `for (let index = 0; index < length; index++, at += ${elem.size}) {`,
            ...(uses(fixes.join('\n'), 'one') ? [`const one = ${one};`] : []),
            ...fixes,
            '}',
            's.done();',
          ]),
      's.rp = base;',
      's.push2(start, length);',
    ]);
  });
}

/** Statements for phase two of the value of an expression, at `p`. */
export function fix(e: Emitter, form: Form, value: string, p: string): string[] {
  switch (form.form) {
    case 'unit':
      return [];
    case 'string':
      return [`${e.rt('fixString')}(s, d, ${p});`];
    case 'boxstr':
    case 'bytes':
    case 'list':
      return [`${e.rt('fixList')}(s, d, ${p});`];
    case 'box':
      return [`${e.rt('fixBox')}(s, d, ${p});`];
    case 'map':
      return [`${e.rt('fixMap')}(s, d, ${form.sorted}, ${p});`];
    case 'type':
      return [`${typeFix(e, form.type)}(s, d, ${value}, ${p});`];
    case 'tuple':
      return [
        ...checkObject(e, form.parts, value),
        ...fixParts(e, form.parts, value, p, 0, form.size),
      ];
    case 'blob':
      return [`${e.rt('writeBlob')}(s.b, ${p}, ${value}, ${form.length});`];
    case 'char':
      return [`${e.rt('writeChar')}(d, ${p}, ${value});`];
    case 'huge':
      return [`${e.rt('writeHuge')}(d, ${p}, ${value}, ${form.signed});`];
    case 'long':
      if (form.js === 'bigint') {
        return [`${e.rt('writeBig')}(d, ${p}, ${value}, ${form.signed});`];
      }
      if (!form.signed && p.startsWith(WORDS)) return fixU64(e, value, p);
      return [`${e.rt(form.signed ? 'writeI64' : 'writeU64')}(d, ${p}, ${value});`];
    case 'option':
      return fixOption(e, form, value, p);
    case 'array':
      return fixArray(e, form, value, p);
    default:
      return fixScalar(e, form, value, p);
  }
}

function fixScalar(e: Emitter, form: Form, value: string, p: string): string[] {
  const x = e.fresh('x');
  const head = `const ${x} = ${value};`;
  if (form.form === 'bool') {
    const check = `if (typeof ${x} !== 'boolean') ${e.rt('bad')}(${x}, 'a boolean');`;
    return [head, check, store('u8', p, `${x} ? 1 : 0`)];
  }
  if (form.form !== 'number') throw new TypeError(`invariant: ${form.form} is never written`);
  const { scalar } = form;
  const wrong = (FITS[scalar] ?? '').replaceAll('V', x);
  const refuse =
    scalar === 'f32'
      ? `${e.rt('checkF32')}(${x})`
      : `${e.rt('bad')}(${x}, 'a number of type ${scalar}')`;
  const check = `if (${wrong}) ${refuse};`;
  return [head, check, store(scalar, p, x)];
}

/** A safe integer in two words, as `writeU64` does it. */
function fixU64(e: Emitter, value: string, p: string): string[] {
  const [x, low] = [e.fresh('x'), e.fresh('low')];
  const [rest, high] = [e.fresh('rest'), e.fresh('high')];
  // What is left of a tiny fraction would be nothing after the division.
  const wrong = `typeof ${x} !== 'number' || ${high} * 0x100000000 !== ${rest}`;
  return [
    `const ${x} = ${value};`,
    `const ${low} = ${x} >>> 0;`,
    `const ${rest} = ${x} - ${low};`,
    `const ${high} = (${rest} / 0x100000000) & 0x1fffff;`,
    `if (${wrong}) ${e.rt('bad')}(${x}, 'a safe integer, not negative');`,
    store('u32', p, low),
    store('u32', plus(p, 4), high),
  ];
}

function fixOption(e: Emitter, form: FormOf<'option'>, value: string, p: string): string[] {
  const x = e.fresh('x');
  const held = form.nested ? `${e.rt('wrapped')}(${x})` : x;
  return [
    `const ${x} = ${value};`,
    `if (${x} === null || ${x} === undefined) {`,
    ...zeroLines(e, p, 0, form.size),
    '} else {',
    store('u8', p, '1'),
    ...zeroLines(e, p, 1, form.align),
    ...fix(e, form.elem, held, plus(p, form.align)),
    '}',
  ];
}

/** Whether values of a form are numbers, which nothing has as elements but arrays and the like. */
function isNumeric({ form }: Form): boolean {
  return form === 'number' || form === 'long';
}

/** Whether a form takes a few statements at most. */
function isLeaf({ form }: Form): boolean {
  return form !== 'array' && form !== 'tuple' && form !== 'option';
}

function fixArray(e: Emitter, form: FormOf<'array'>, value: string, p: string): string[] {
  const { elem, length } = form;
  const [x, q] = [e.fresh('x'), e.fresh('q')];
  const type = e.valueType(elem);
  const head = [
    `const ${x} = ${value};`,
    `${isNumeric(elem) ? `if (${x}.length !== ${length}) ` : ''}${e.rt('checkLength')}(${x}, ${length});`,
  ];
  // Arrays of arrays are loops around what is spelled out, or their code would have no end.
  if (length <= UNROLLED_MAX && isLeaf(elem)) {
    const places = Array.from({ length }, (_, index) => {
      return { form: elem, value: e.as(`${x}[${index}]`, type), p: plus(p, index * elem.size) };
    });
    return [...head, ...runsOf(places).flatMap((run) => fixRun(e, run))];
  }
  const index = e.fresh('index');
  return [
    ...head,
    `for (let ${index} = 0, ${q} = ${p}; ${index} < ${length}; ${index}++, ${q} += ${elem.size}) {`,
    ...fix(e, elem, e.as(`${x}[${index}]`, type), q),
    '}',
  ];
}
