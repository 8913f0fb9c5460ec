/**
 * Objects of a known shape. Made by generated code, whose property names are literal, an object
 * costs a tenth of what it costs to set its properties by name. Where generating code is forbidden,
 * the same is done by name.
 */

/** Makes an object of parts that `read` gives, in the order of `names`. */
export function recordMaker<S>(
  names: readonly string[],
  offsets: readonly number[],
  readers: readonly ((source: S, at: number) => unknown)[],
): (source: S, at: number) => Record<string, unknown> {
  const parts = names.map((name, i) => `[${JSON.stringify(name)}]: r${i}(s, at + ${offsets[i]})`);
  const parameters = readers.map((_, i) => `r${i}`).join(', ');
  const body = `return (s, at) => ({ ${parts.join(', ')} });`;
  const make = generate(parameters, body);
  if (make !== null) return make(...readers) as (source: S, at: number) => Record<string, unknown>;
  return (source, at) => {
    const entries = names.map((name, i) => [name, readers[i]?.(source, at + (offsets[i] ?? 0))]);
    return Object.fromEntries(entries) as Record<string, unknown>;
  };
}

/** Reads one property. */
export function getterOf(name: string): (record: Record<string, unknown>) => unknown {
  const make = generate('', `return (record) => record[${JSON.stringify(name)}];`);
  if (make !== null) return make() as (record: Record<string, unknown>) => unknown;
  return (record) => record[name];
}

type Maker = (...values: unknown[]) => unknown;

/** A function of generated code; `null` where that is forbidden. */
function generate(parameters: string, body: string): Maker | null {
  try {
    // Names come in as string literals only.
    return new Function(parameters, `'use strict'; ${body}`) as Maker;
  } catch {
    return null;
  }
}
