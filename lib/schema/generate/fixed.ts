/**
 * Generated writing of types of fixed size, which needs no sink: straight into the target. What
 * matters for small structs is that the engine inlines all of it where it is called, since a call
 * costs a fifth of writing one.
 */

import { uses, type Emitter, type Parameter } from './emitter.js';
import { rootFix, rootPlace } from './writers.js';

/** A type of fixed size whose writer is being generated. */
export interface FixedType {
  readonly e: Emitter;
  readonly root: string;
  readonly size: number;
  readonly align: number;
  readonly suffix: string;
}

/** V8 inlines functions of up to 460 bytes of bytecode, one for each two or three characters. */
const PART_CHARACTERS = 900;

/** The lines of `encodeInto`; `slow` is the statement that leaves it to the general writer. */
export function fixedInto({ e, root, size, align, suffix }: FixedType, slow: string): string[] {
  const words = e.rt('words');
  const place = rootPlace(align);
  const fixes = spread(e, root, suffix, rootFix(e, root, 'value', place));
  const text = fixes.join('\n');
  const fields = ['d', 'i32', 'f32', 'f64'].filter((name) => uses(text, name));
  const isOdd = align === 1 ? '' : ` || ((${words}.start + offset) & ${align - 1}) !== 0`;
  const usesPlace = [place, 'w4', 'w8'].some((name) => uses(text, name));
  const isElsewhere = `(target !== ${words}.bytes && !${e.rt('enterWords')}(target))`;
  const end = `offset + ${size} > target.length`;
  return [
    `if (${isElsewhere} || offset >>> 0 !== offset || ${end}${isOdd}) ${slow}`,
    ...(usesPlace ? [`const ${place} = ${words}.start + offset;`] : []),
    ...(fields.length === 0 ? [] : [`const { ${fields.join(', ')} } = ${words};`]),
    ...(uses(text, 's') ? [`const s = ${words};`] : []),
    ...(uses(text, 'w4') ? ['const w4 = w >>> 2;'] : []),
    ...(uses(text, 'w8') ? ['const w8 = w >>> 3;'] : []),
    'try {',
    ...fixes,
    '} catch (error) {',
    `throw ${e.rt('unwritten')}(root$${suffix}, value, error);`,
    '}',
    // Writing to an array whose memory a getter of the value gave away does nothing, in silence.
    `if (${end}) ${e.rt('gaveAway')}();`,
    `return ${size};`,
  ];
}

/** The statements of all fields, in functions of a size that the engine inlines. */
function spread(e: Emitter, root: string, suffix: string, fields: readonly string[][]): string[] {
  const parts: string[][] = [];
  let characters = Infinity;
  for (const lines of fields) {
    const more = lines.join('\n').length;
    characters += more;
    if (characters > PART_CHARACTERS) {
      parts.push([]);
      characters = more;
    }
    parts.at(-1)?.push(...lines);
  }
  if (parts.length < 2) return parts.flat();
  const known: readonly Parameter[] = [
    ['value', e.names.of(root)],
    ['s', '{ readonly b: Buffer }'],
    ['d', 'DataView'],
    ['i32', 'Int32Array'],
    ['f32', 'Float32Array'],
    ['f64', 'Float64Array'],
    ['p', 'number'],
    ['w', 'number'],
    ['w4', 'number'],
    ['w8', 'number'],
  ];
  return parts.map((lines, index) => {
    const name = `part$${index}${suffix}`;
    const used = known.filter(([parameter]) => uses(lines.join('\n'), parameter));
    e.fn(name, used, 'void', lines);
    return `${name}(${used.map(([parameter]) => parameter).join(', ')});`;
  });
}
