/** The port of this Node environment, opened when first needed. */

import { env } from 'node:process';

import type { Backend, IoMode } from '../configure.js';
import { invalidArgument, show } from '../errors.js';
import { native } from './native.js';
import { Port } from './port.js';

/** The port. */
export function environmentPort(): Port {
  if (port !== null) return port;
  const opened = new Port(native, io ?? preset(), backend);
  // process.exit() runs none of the core's own clean-up.
  process.on('exit', () => opened.handleExit());
  port = opened;
  return opened;
}

/** The port, if it was ever needed. */
export function openedPort(): Port | null {
  return port;
}

/** Chooses who drives the port, unless it is open. */
export function chooseIo(mode: IoMode): void {
  io = mode;
}

/** Chooses what reaches sockets, unless the port is open. */
export function chooseBackend(name: Backend | 'auto'): void {
  backend = name;
}

/** Checks a way to drive ports. */
export function checkIo(mode: unknown, name: string): asserts mode is IoMode {
  if (mode === 'loop' || mode === 'thread') return;
  throw invalidArgument(`${name} is ${show(mode)}; it must be 'loop' or 'thread'`);
}

/** What the environment of the process says. */
function preset(): IoMode {
  const mode = env['BUSBAR_DRIVE'];
  if (mode === undefined || mode === '') return 'loop';
  checkIo(mode, 'BUSBAR_DRIVE');
  return mode;
}

let port: Port | null = null;
let io: IoMode | null = null;
let backend: Backend | 'auto' | null = null;
