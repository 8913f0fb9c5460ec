/**
 * Which types lead to each other and back: mentions by name only (`recursive`) are for those, as no
 * hash covers what is behind them.
 */

/**
 * A number for each type. Types with the same number mention each other, directly or through
 * others; a type that is in no circle has a number of its own.
 */
export function circles(forward: ReadonlyMap<string, readonly string[]>): Map<string, number> {
  const backward = new Map<string, string[]>(Array.from(forward.keys(), (name) => [name, []]));
  for (const [name, mentions] of forward) {
    for (const mention of mentions) backward.get(mention)?.push(name);
  }
  // Kosaraju: in the order in which a walk along the mentions leaves the types, last first, all
  // that leads to a type and has no number yet is in its circles. Without recursion: circles of
  // mentions by name are as long as there are types.
  const numbers = new Map<string, number>();
  for (const [number, name] of leavingOrder(forward).toReversed().entries()) {
    const open = [name];
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      if (numbers.has(next)) continue;
      numbers.set(next, number);
      for (const other of backward.get(next) ?? []) open.push(other);
    }
  }
  return numbers;
}

/** Every type behind all that a walk finds from it. */
function leavingOrder(forward: ReadonlyMap<string, readonly string[]>): string[] {
  const order: string[] = [];
  const entered = new Set<string>();
  for (const first of forward.keys()) {
    if (entered.has(first)) continue;
    entered.add(first);
    const path = [{ name: first, at: 0 }];
    for (let last = path.at(-1); last !== undefined; last = path.at(-1)) {
      const next = forward.get(last.name)?.[last.at++];
      if (next === undefined) {
        order.push(last.name);
        path.pop();
      } else if (!entered.has(next)) {
        entered.add(next);
        path.push({ name: next, at: 0 });
      }
    }
  }
  return order;
}
