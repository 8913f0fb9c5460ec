/**
 * Code for a plan, generated when the program runs: what a schema-specific reader and writer would
 * look like if somebody had written it by hand. `source.ts` writes the same code to a file.
 */

import type { Machine, ReadingMachine } from './codec.js';
import { hasOut, slotsOf, type Plan } from './forms.js';
import { typeCursor } from './generate/cursors.js';
import { Emitter, quote } from './generate/emitter.js';
import { nameMap } from './generate/maps.js';
import { typeReader } from './generate/readers.js';
import { typeFix, typeOut } from './generate/writers.js';
import * as runtime from './runtime.js';

let isAllowed: boolean | undefined;

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
  const parts = generateRoot(e);
  const text = [
    "'use strict';",
    `const { ${[...e.used].filter((name) => Object.hasOwn(runtime, name)).join(', ')} } = runtime;`,
    e.text,
    `return { ${parts.join(', ')} };`,
  ].join('\n');
  return runCode(text, { runtime, constants: e.constants });
}

/** Adds the functions of a machine to the code; their names. */
export function generateRoot(e: Emitter): readonly string[] {
  const { root } = e.plan;
  const type = e.userType(root);
  const form = { form: 'type', type: root, size: type.size, align: type.align } as const;
  const isFixed = !hasOut(e.plan, form);
  const value = e.names.of(root);
  const cursor = typeCursor(e, root);
  e.fn('makeView', [], cursor, [`return new ${cursor}();`]);
  addDecode(e, type.size, type.name, isFixed);
  if (e.plan.readsOnly) return ['decode', 'makeView'];
  addEncode(e, value, isFixed, slotsOf(e.plan, form));
  return ['encode', 'encodeInto', 'encodedSize', 'decode', 'makeView'];
}

function addDecode(e: Emitter, size: number, name: string, isFixed: boolean): void {
  const { root } = e.plan;
  const region = e.rt('region');
  const read = `return ${typeReader(e, root)}(${region}.d, ${region}.b, p);`;
  const at = `const p = ${e.rt('enterArchive')}(${quote(name)}, bytes, ${size});`;
  const guarded = [
    'try {',
    read,
    '} catch (error) {',
    `throw ${e.rt('unreadable')}(${quote(name)}, error);`,
    '}',
  ];
  e.fn('decode', [['bytes', 'Uint8Array']], e.names.of(root), [
    at,
    ...(isFixed ? [read] : guarded),
  ]);
}

function addEncode(e: Emitter, value: string, isFixed: boolean, slots: number): void {
  const { root } = e.plan;
  const { size, align, name: plain } = e.userType(root);
  const name = quote(plain);
  const one = ['value', value] as const;
  const fix = typeFix(e, root);
  e.rt('Sink');
  e.fn('write', [['s', 'Sink'], one], 'void', [
    ...(isFixed ? [] : [`s.reserve(${slots});`, `${typeOut(e, root)}(s, value);`]),
    `const p = s.take(${size}, ${align});`,
    's.ri = 0;',
    `${fix}(s, s.d, value, p);`,
  ]);
  const slow = `return ${e.rt('writeInto')}(${name}, write, value, target, offset);`;
  const head = e.typed
    ? `value: ${value}, target: Uint8Array, offset = 0`
    : 'value, target, offset = 0';
  const lines = isFixed ? fixedInto(e, size, name, fix, slow) : [slow];
  e.add(`function encodeInto(${head})${e.type('number')} {\n${lines.join('\n')}\n}`);
  const [sized, encode] = isFixed
    ? [
        [`return ${size};`],
        [
          `const target = Buffer.allocUnsafe(${size});`,
          'encodeInto(value, target, 0);',
          'return target;',
        ],
      ]
    : [
        [`return ${e.rt('sizeOf')}(${name}, write, value);`],
        [`return ${e.rt('writeNew')}(${name}, write, value);`],
      ];
  e.fn('encodedSize', [one], 'number', sized);
  e.fn('encode', [one], 'Buffer', encode);
}

/** Writing a type of fixed size needs no sink unless something copies bytes. */
function fixedInto(e: Emitter, size: number, name: string, fix: string, slow: string): string[] {
  const written = e.rt('written');
  return [
    `if (offset >>> 0 !== offset || offset + ${size} > target.length) {`,
    slow,
    '}',
    `if (target.buffer !== ${written}.buffer) ${e.rt('enterWritten')}(target);`,
    `const p = target.byteOffset + offset;`,
    'try {',
    `${fix}(${written}, ${written}.d, value, p);`,
    '} catch (error) {',
    `throw ${e.rt('unwritten')}(${name}, error);`,
    '}',
    `return ${size};`,
  ];
}

/** Runs code with some names bound; forbidden where the process forbids generating code. */
function runCode(text: string, bound: Readonly<Record<string, unknown>> = {}): unknown {
  const make = Function as unknown as new (...parts: string[]) => (...values: unknown[]) => unknown;
  return new make(...Object.keys(bound), text)(...Object.values(bound));
}
