/** What a program lets its plugins call. */

/** What a function is given besides its argument. */
export interface ExposedContext {
  /** Fires when the plugin does not wait for the result any more, or the zone closes. */
  readonly signal: AbortSignal;
}

/**
 * A function that a plugin may call by its name in {@link LoadZoneOptions.expose}. What it throws,
 * the plugin is told, with the message. It may give a promise, but not while this thread waits for
 * the plugin, in an inline call or in `callSync()` of the same zone: that is `ERR_NOT_SUPPORTED`.
 *
 * @example
 * ```ts
 * import { loadZone, type ExposedFunction } from 'busbar';
 *
 * const price: ExposedFunction = (symbol) => Buffer.from(symbol.toString() === 'XYZ' ? '42' : '0');
 *
 * async function main(path: string): Promise<void> {
 *   await using zone = await loadZone({ path, expose: { price } });
 *   console.log((await zone.call('best_offer', Buffer.from('XYZ'))).toString());
 * }
 *
 * if (process.argv[2] !== undefined) await main(process.argv[2]);
 * ```
 */
export type ExposedFunction = (
  payload: Buffer,
  context: ExposedContext,
) => Uint8Array | undefined | void | PromiseLike<Uint8Array | undefined | void>;
