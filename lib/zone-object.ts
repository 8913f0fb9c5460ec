/** Objects of plugins that JavaScript holds by number. */

import { callNative } from './errors.js';
import type { NativeObject } from './internal/binding.js';

/**
 * An object of a plugin, which {@link Zone.hold} makes. When all of its holders are closed or
 * collected, the plugin is told that it may let the object go.
 *
 * @example
 * ```ts
 * import { loadZone } from 'busbar';
 *
 * interface World {
 *   make(name: string): Promise<number>;
 *   name_of(body: number): Promise<string>;
 * }
 *
 * async function main(path: string): Promise<void> {
 *   await using zone = await loadZone({ path });
 *   const world = zone.interface<World>({ u64: 'number' });
 *   using moon = zone.hold(await world.make('moon'));
 *   console.log(await world.name_of(moon.number));
 * }
 *
 * if (process.argv[2] !== undefined) await main(process.argv[2]);
 * ```
 */
export class ZoneObject {
  readonly #native: NativeObject;
  readonly #forget: () => void;
  /** Which generation of the plugin it is of; in the mode `process`, each start counts. */
  readonly generation: number;

  /** @internal */
  constructor(native: NativeObject, forget: () => void) {
    this.#native = native;
    this.#forget = forget;
    this.generation = native.generation;
    collected.register(this, native, this);
  }

  /**
   * The plugin's number for it, to be given to its methods.
   *
   * @throws BusbarError `ERR_OBJECT_STALE` once this is closed, or what it is of has ended, crashed
   * or was reloaded
   */
  get number(): number {
    return callNative(() => this.#native.number());
  }

  /** Holds it no longer. */
  close(): void {
    collected.unregister(this);
    this.#forget();
    this.#native.release();
  }

  /** As {@link close}. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** Not by a finalizer of the native object: the plugin is told, and may call back. */
const collected = new FinalizationRegistry<NativeObject>((native) => native.release());
