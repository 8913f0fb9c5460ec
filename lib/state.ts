/** Connection states and the reason a connection ended. */

import type { ErrorCode } from './codes.js';

/** Where a connection stands. */
export type ConnectionState =
  'CONNECTING' | 'CONNECTED' | 'DISCONNECTED' | 'RECONNECTING' | 'CLOSED';

/** The states by their number at the native edge. */
export const STATES: readonly ConnectionState[] = [
  'CONNECTING',
  'CONNECTED',
  'DISCONNECTED',
  'RECONNECTING',
  'CLOSED',
];

/** Why a connection ended. */
export interface CloseReason {
  /** `ERR_CLOSED` after an orderly close, otherwise what went wrong. */
  readonly code: ErrorCode;
  /** The number that was given to `close()`, 0 by default. Its meaning is the application's. */
  readonly status: number;
  /** The text that was given to `close()`, or a description of the failure. */
  readonly text: string;
  /** Whether this was an orderly close, by either end, as opposed to a failure. */
  readonly clean: boolean;
  /** Whether this end closed. */
  readonly local: boolean;
}
