/** The port of this Node environment, opened when first needed. */

import { native } from './native.js';
import { Port } from './port.js';

/** The port. */
export function environmentPort(): Port {
  if (port !== null) return port;
  const opened = new Port(native);
  // What send() has accepted is not lost to process.exit().
  process.on('exit', () => opened.flush());
  port = opened;
  return opened;
}

/** The port, if it was ever needed. */
export function openedPort(): Port | null {
  return port;
}

let port: Port | null = null;
