/** `listen()` and `dial()` for every scheme: at tls:// with certificates of this run. */

import * as busbar from '../../index.js';
import { authority } from './certificates.js';
import './runtime.js';

/** As `listen()` of the package. */
export function listen(address: string, options?: busbar.ListenOptions): Promise<busbar.Listener> {
  return busbar.listen(address, suited(address, options));
}

/** As `dial()` of the package. */
export function dial(address: string, options?: busbar.DialOptions): Promise<busbar.Pipe> {
  return busbar.dial(address, suited(address, options));
}

function suited<T extends busbar.DialOptions | busbar.ListenOptions>(
  address: string,
  options: T | undefined,
): T | undefined {
  if (!String(address).startsWith('tls://') || options?.tls !== undefined) return options;
  // What is no object is refused before anybody looks into it.
  if (options === null || (options !== undefined && typeof options !== 'object')) return options;
  return { ...options, tls: ordinary() } as unknown as T;
}

/** Certificates of this run, for both ends. */
export function ordinary(): busbar.TlsOptions {
  if (made === undefined) {
    const { ca, issue } = authority();
    made = { ...issue('localhost'), ca, servername: 'localhost' };
  }
  return made;
}

let made: busbar.TlsOptions | undefined;
