/** The port of this Node environment, opened when first needed. */

import { native } from './native.js';
import { Port } from './port.js';

/** The port. */
export function environmentPort(): Port {
  if (port !== null) return port;
  const opened = new Port(native);
  // process.exit() runs none of the core's own clean-up.
  process.on('exit', () => opened.handleExit());
  port = opened;
  return opened;
}

/** The port, if it was ever needed. */
export function openedPort(): Port | null {
  return port;
}

let port: Port | null = null;
