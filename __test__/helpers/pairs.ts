/** Connected pairs of pipes at addresses of their own, over every scheme. */

import type { ExecutionContext } from 'ava';

import type { ErrorCode, Listener, ListenOptions, Pipe, PipeOptions } from '../../index.js';
import { dial, listen } from './ends.js';

export type Scheme = 'inproc' | 'shm' | 'uds' | 'pipe' | 'tcp' | 'tls';

/** Every scheme that this version can connect here. */
export const SCHEMES: readonly Scheme[] =
  process.platform === 'win32'
    ? ['inproc', 'pipe', 'tcp', 'tls']
    : ['inproc', 'shm', 'uds', 'tcp', 'tls'];

/** Those that need no certificates, for specs that start programs of their own. */
export const PLAIN_SCHEMES: readonly Scheme[] = SCHEMES.filter((scheme) => scheme !== 'tls');

/** What a pair of pipes is made of. */
export interface Pair {
  readonly listener: Listener;
  /** The end that dialed. */
  readonly client: Pipe;
  /** The end that was accepted. */
  readonly server: Pipe;
}

/** Options of a pair: of both ends, or of each. */
export interface PairOptions {
  readonly both?: PipeOptions;
  readonly client?: PipeOptions;
  readonly server?: ListenOptions;
}

/** An address to listen at that nothing else uses; if there is a port, the listener knows it. */
export function freshAddress(scheme: Scheme): string {
  if (hasPort(scheme)) return `${scheme}://127.0.0.1:0`;
  const name = `spec-${process.pid}-${++addresses}`;
  return scheme === 'uds' ? `uds://@${name}` : `${scheme}://${name}`;
}

/** An address that can be dialed and listened at, where nobody listens. */
export async function unusedAddress(scheme: Scheme): Promise<string> {
  if (!hasPort(scheme)) return freshAddress(scheme);
  // A loopback address of its own: the system may give the port to somebody else meanwhile.
  const own = `127.${1 + (process.pid % 250)}.${1 + (++addresses % 250)}.2`;
  const listener = await listen(`${scheme}://${own}:0`);
  await listener.close();
  return listener.address;
}

/** What dialing an address says where nobody listens: of a host, no more is known. */
export function nobodyThere(scheme: Scheme): { readonly code: ErrorCode } {
  return { code: hasPort(scheme) ? 'ERR_CONNECTION_REFUSED' : 'ERR_NOT_FOUND' };
}

/** Whether the transport has buffers of the system's in between. */
export function isStream(scheme: Scheme): boolean {
  return hasPort(scheme) || scheme === 'uds' || scheme === 'pipe';
}

function hasPort(scheme: Scheme): boolean {
  return scheme === 'tcp' || scheme === 'tls';
}

/**
 * Sends until there is no room, and goes on until there is none for some time: the system's
 * buffers and what the peer reads ahead fill up one after the other, and TCP may delay what it
 * acknowledges, or asks for room after a time, by more than 200 ms.
 */
export async function stuff(pipe: Pipe): Promise<void> {
  const bytes = Buffer.alloc(1000);
  for (let quiet = 0; quiet < 250; quiet++) {
    for (; pipe.trySend(bytes); quiet = 0) pipe.flush();
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** A connected pair, closed when the test ends. */
export async function pairOf(
  t: ExecutionContext<unknown>,
  scheme: Scheme,
  options: PairOptions = {},
): Promise<Pair> {
  const pair = await openPair(scheme, options);
  t.teardown(() => closePair(pair));
  return pair;
}

/** A connected pair for the caller to close. */
export async function openPair(scheme: Scheme, options: PairOptions = {}): Promise<Pair> {
  const listener = await listen(freshAddress(scheme), { ...options.both, ...options.server });
  try {
    const [client, server] = await Promise.all([
      dial(listener.address, { ...options.both, ...options.client }),
      listener.accept(),
    ]);
    return { listener, client, server };
  } catch (error) {
    await listener.close();
    throw error;
  }
}

/** Closes a pair without waiting for slow readers. */
export async function closePair({ listener, client, server }: Pair): Promise<void> {
  await Promise.all([client.close({ lingerMs: 0 }), server.close({ lingerMs: 0 })]);
  await listener.close();
}

/** The end of a pipe's life, whenever it comes. */
export function closed(pipe: Pipe): Promise<void> {
  if (pipe.state === 'CLOSED') return Promise.resolve();
  return new Promise((resolve) => pipe.once('close', () => resolve()));
}

let addresses = 0;
