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
    this.items[this.slot(this.count++)] = item;
  }

  peek(): T | undefined {
    return this.items[this.head];
  }

  shift(): T | undefined {
    if (this.count === 0) return undefined;
    const item = this.items[this.head];
    this.items[this.head] = undefined;
    this.head = this.slot(1);
    this.count--;
    return item;
  }

  /** Takes an item out wherever it stands; `false` if it is not there. */
  remove(item: T): boolean {
    let at = 0;
    while (at < this.count && this.items[this.slot(at)] !== item) at++;
    if (at === this.count) return false;
    // Only those in front of it move: who has waited longest gives up first, most often.
    for (; at > 0; at--) this.items[this.slot(at)] = this.items[this.slot(at - 1)];
    this.shift();
    return true;
  }

  /** Takes everything out, first to last. */
  drain(): T[] {
    const all: T[] = [];
    while (this.count > 0) all.push(this.shift() as T);
    return all;
  }

  /** Where the item with so many in front of it is. */
  private slot(at: number): number {
    return (this.head + at) & (this.items.length - 1);
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
