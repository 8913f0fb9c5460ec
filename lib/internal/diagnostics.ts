/** What happens to pipes, told on channels of `node:diagnostics_channel`. */

import { channel } from 'node:diagnostics_channel';

import type { BusbarError } from '../errors.js';
import type { CloseReason, ConnectionState } from '../state.js';
import type { DropCause } from '../stats.js';

/** Which pipe an event is about. */
interface About {
  /** Its number within this thread. */
  readonly pipe: number;
  readonly address: string;
}

/** The events by name. */
interface Events {
  open: About;
  state: About & { readonly state: ConnectionState; readonly previous: ConnectionState };
  close: About & { readonly reason: CloseReason };
  error: About & { readonly error: BusbarError };
  drop: About & { readonly cause: DropCause; readonly count: number };
}

const CHANNELS: { readonly [K in keyof Events]: ReturnType<typeof channel> } = {
  open: channel('busbar:pipe:open'),
  state: channel('busbar:pipe:state'),
  close: channel('busbar:pipe:close'),
  error: channel('busbar:pipe:error'),
  drop: channel('busbar:pipe:drop'),
};

/** Tells those who have subscribed. */
export function publish<K extends keyof Events>(event: K, message: Events[K]): void {
  if (CHANNELS[event].hasSubscribers) CHANNELS[event].publish(message);
}
