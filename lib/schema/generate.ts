/**
 * Code for a plan, generated when the program runs: what a schema-specific reader and writer would
 * look like if somebody had written it by hand. `source.ts` writes the same code to a file.
 */

import type { Machine, ReadingMachine } from './codec.js';
import { hasOut, slotsOf, typeForm, type Plan } from './forms.js';
import { typeCursor } from './generate/cursors.js';
import { Emitter, quote } from './generate/emitter.js';
import { fixedInto } from './generate/fixed.js';
import { nameMap } from './generate/maps.js';
import { typeReader } from './generate/readers.js';
import { typeFix, typeOut } from './generate/writers.js';
import * as runtime from './runtime.js';

let isAllowed: boolean | undefined;
let codes = 0;

/** Whether this process allows generating code. */
export function canGenerate(): boolean {
  if (isAllowed === undefined) {
    try {
      isAllowed = runCode('return true;') === true;
    } catch {
      isAllowed = false;
    }
  }
  return isAllowed;
}

/** Generates the code of a plan. */
export function generateMachine<T, V>(plan: Plan): Machine<T, V> {
  return generate(plan) as Machine<T, V>;
}

/** Generates the code of a plan that reads only. */
export function generateReader<T, V>(plan: Plan): ReadingMachine<T, V> {
  return generate(plan) as ReadingMachine<T, V>;
}

function generate(plan: Plan): unknown {
  const e = new Emitter(plan, false, nameMap);
  const parts = generateRoot(e, plan.root, '');
  const text = ["'use strict';", e.text, `return { ${parts.join(', ')} };`].join('\n');
  const used = Object.entries(runtime).filter(([name]) => e.used.has(name));
  // Code of its own for each codec, and so what the engine learns of its values, is no other's.
  // What it uses are parameters: each use of a const would be checked for being set.
  return runCode(`${text} // ${++codes}`, {
    ...Object.fromEntries(used),
    plan: () => plan,
    constants: e.constants,
  });
}

/** Adds the functions of a machine for a root type to the code; the members of the machine. */
export function generateRoot(e: Emitter, root: string, suffix: string): readonly string[] {
  const type = e.userType(root);
  const form = { form: 'type', type: root, size: type.size, align: type.align } as const;
  const cursor = typeCursor(e, root);
  e.fn(`makeView${suffix}`, [], cursor, [`return new ${cursor}();`]);
  const isFixed = !hasOut(e.plan, form);
  const it = { e, root, suffix, name: quote(type.name), size: type.size, isFixed };
  addDecode(it);
  if (!e.plan.readsOnly) addEncode(it, type.align, slotsOf(e.plan, form));
  const reads = ['decode', 'makeView'];
  const members = e.plan.readsOnly ? reads : ['encode', 'encodeInto', 'encodedSize', ...reads];
  return members.map((member) => (suffix === '' ? member : `${member}: ${member}${suffix}`));
}

/** A root type whose functions are being generated. */
interface RootType {
  readonly e: Emitter;
  readonly root: string;
  readonly suffix: string;
  /** The type's name as a literal. */
  readonly name: string;
  readonly size: number;
  readonly isFixed: boolean;
}

function addDecode({ e, root, suffix, name, size, isFixed }: RootType): void {
  const region = e.rt('region');
  const read = `return ${typeReader(e, root)}(${region}.d, ${region}.b, p);`;
  const at = `const p = ${e.rt('enterArchive')}(${name}, bytes, ${size});`;
  const body = isFixed
    ? [read]
    : ['try {', read, '} catch (error) {', `throw ${e.rt('unreadable')}(${name}, error);`, '}'];
  e.fn(`decode${suffix}`, [['bytes', 'Uint8Array']], e.names.of(root), [at, ...body]);
}

function addEncode(it: RootType, align: number, slots: number): void {
  const { e, root, suffix, size, isFixed } = it;
  const value = e.names.of(root);
  const one = ['value', value] as const;
  const fix = typeFix(e, root);
  const write = `write$${suffix}`;
  e.add(`const root$${suffix} = { name: ${quote(root)}, plan };`);
  e.rt('Sink');
  e.fn(write, [['s', 'Sink'], one], 'void', [
    ...(isFixed ? [] : [`s.reserve(${slots});`, `${typeOut(e, root)}(s, value);`]),
    `const p = s.take(${size}, ${align});`,
    's.ri = 0;',
    `${fix}(s, s.d, value, p);`,
    's.done();',
  ]);
  const slow = `return ${e.rt('writeInto')}(root$${suffix}, ${write}, value, target, offset);`;
  const head = e.typed
    ? `value: ${value}, target: Uint8Array, offset = 0`
    : 'value, target, offset = 0';
  const lines = isFixed && !usesBytes(e.plan, root) ? fixedInto({ ...it, align }, slow) : [slow];
  e.add(`function encodeInto${suffix}(${head})${e.type('number')} {\n${lines.join('\n')}\n}`);
  const sized = isFixed ? `${size}` : `${e.rt('sizeOf')}(root$${suffix}, ${write}, value)`;
  e.fn(`encodedSize${suffix}`, [one], 'number', [`return ${sized};`]);
  const encode = isFixed
    ? [
        `const target = Buffer.allocUnsafe(${size});`,
        `encodeInto${suffix}(value, target, 0);`,
        'return target;',
      ]
    : [`return ${e.rt('writeNew')}(root$${suffix}, ${write}, value);`];
  e.fn(`encode${suffix}`, [one], 'Buffer', encode);
}

/** Whether a type holds bytes, for which a getter might switch the memory under its writer. */
function usesBytes(plan: Plan, root: string): boolean {
  const types = [...plan.types.values()];
  return (
    typeForm(plan, root).size > 0 && types.some((type) => JSON.stringify(type).includes('"blob"'))
  );
}

/** Runs code with some names bound; forbidden where the process forbids generating code. */
export function runCode(text: string, bound: Readonly<Record<string, unknown>> = {}): unknown {
  const make = Function as unknown as new (...parts: string[]) => (...values: unknown[]) => unknown;
  return new make(...Object.keys(bound), text)(...Object.values(bound));
}
