// @ts-check
/** A pipe as the process that replays sees it: requests go out, replies come back. */

import { replyCodec, requestCodec } from './messages.js';

/** @typedef {import('./messages.js').Reply} Reply */
/** @typedef {import('./messages.js').Request} Request */

/**
 * @typedef {{
 *   readonly requests: import('busbar').TypedPipe<Request>,
 *   readonly replies: import('busbar').TypedPipe<Reply>,
 * }} Conversation
 */

/**
 * @param {import('busbar').Pipe} pipe
 * @returns {Conversation}
 */
export function converseOver(pipe) {
  return { requests: pipe.typed(requestCodec), replies: pipe.typed(replyCodec) };
}
