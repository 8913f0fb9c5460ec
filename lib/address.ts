/** Addresses, taken apart. The core parses them; this gives the parts names. */

import { callNative } from './errors.js';
import { checkAddress } from './internal/arguments.js';
import { native } from './internal/native.js';

/** An address by scheme. */
export type Address =
  | { readonly scheme: 'inproc' | 'pipe'; readonly name: string }
  | { readonly scheme: 'shm'; readonly name: string }
  | { readonly scheme: 'shm' | 'uds' | 'ipc'; readonly path: string }
  | { readonly scheme: 'uds'; readonly abstract: string }
  | { readonly scheme: 'tcp' | 'tls'; readonly host: string; readonly port: number };

/**
 * Takes an address apart. Checks its form only, not whether anybody listens there nor whether this
 * version can dial it.
 *
 * @throws BusbarError `ERR_INVALID_ADDRESS` or `ERR_INVALID_ARGUMENT` (not retryable)
 *
 * @example
 * ```ts
 * import { parseAddress } from 'busbar';
 *
 * console.log(parseAddress('shm://prices')); // { scheme: 'shm', name: 'prices' }
 * ```
 */
export function parseAddress(address: string): Address {
  checkAddress(address);
  const parts = callNative(() => native.parseAddress(address));
  const parsed: Record<string, string | number> = { scheme: parts[0] ?? '' };
  for (let i = 1; i + 1 < parts.length; i += 2) {
    const [key = '', value = ''] = parts.slice(i, i + 2);
    parsed[key] = key === 'port' ? Number(value) : value;
  }
  return parsed as unknown as Address;
}
