/** A first-in first-out queue in a ring of slots, which grows as needed. */
export class Deque<T> {
  private items: (T | undefined)[] = emptySlots(CAPACITY_MIN);
  private head = 0;
  private count = 0;

  get length(): number {
    return this.count;
  }

  push(item: T): void {
    if (this.count === this.items.length) this.resize(2 * this.count);
    this.items[(this.head + this.count++) & (this.items.length - 1)] = item;
  }

  peek(): T | undefined {
    return this.items[this.head];
  }

  shift(): T | undefined {
    if (this.count === 0) return undefined;
    const item = this.items[this.head];
    this.items[this.head] = undefined;
    this.head = (this.head + 1) & (this.items.length - 1);
    this.count--;
    return item;
  }

  /** Takes an item out wherever it stands; `false` if it is not there. */
  remove(item: T): boolean {
    const rest = this.drain();
    const at = rest.indexOf(item);
    rest.forEach((each, i) => {
      if (i !== at) this.push(each);
    });
    return at >= 0;
  }

  /** Takes everything out, first to last. */
  drain(): T[] {
    const all: T[] = [];
    while (this.count > 0) all.push(this.shift() as T);
    return all;
  }

  private resize(capacity: number): void {
    const all = this.drain();
    this.items = emptySlots(capacity);
    this.head = 0;
    for (const item of all) this.push(item);
  }
}

const CAPACITY_MIN = 4;

function emptySlots(count: number): undefined[] {
  return Array.from({ length: count }, () => undefined);
}
