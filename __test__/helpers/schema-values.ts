/** Values of types, for the specs: in another order, or copied out of cursors. */

/** The same value with the entries of its maps in the order of `keys`. */
export function inOrder(
  value: Readonly<Record<string, unknown>>,
  order: Readonly<Record<string, readonly unknown[]>>,
): Record<string, unknown> {
  const maps = Object.entries(value).map(([name, map]) => {
    const entries = [...(map as Map<unknown, unknown>)];
    const found = new Map(entries.map((entry) => [spell(entry[0]), entry]));
    const ordered = (order[name] ?? []).map((key) => found.get(spell(key)));
    return [name, new Map(ordered as [unknown, unknown][])] as const;
  });
  return Object.fromEntries(maps);
}

/** The same value with the entries of its maps sorted, for comparing what has no order. */
export function sorted(value: unknown): unknown {
  if (value instanceof Map) {
    return [...(value as Map<unknown, unknown>)]
      .map(([key, held]) => [spell(key), held] as const)
      .sort(([a], [b]) => (a < b ? -1 : 1));
  }
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return value;
  if (value instanceof Uint8Array) return value;
  return Object.fromEntries(Object.entries(value).map(([name, held]) => [name, sorted(held)]));
}

/** A key as text, the same for JSON of Rust and for values of ours. */
function spell(key: unknown): string {
  const json = JSON.stringify(key, (_, part: unknown) => {
    if (typeof part === 'bigint') return String(part);
    return part instanceof Uint8Array ? [...part] : part;
  });
  return json.replaceAll('"', '');
}

interface Copies {
  $toObject?: () => unknown;
  toArray?: () => unknown;
  toMap?: () => unknown;
  some?: unknown;
}

/** What a cursor shows, or a value as it is. */
export function plain(value: unknown): unknown {
  if (value === null || typeof value !== 'object') return value;
  const cursor = value as Copies;
  if (!Array.isArray(value) && 'some' in cursor) return { some: plain(cursor.some) };
  return cursor.$toObject?.() ?? cursor.toArray?.() ?? cursor.toMap?.() ?? value;
}
