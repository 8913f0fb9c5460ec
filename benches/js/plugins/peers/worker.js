// @ts-check
/** A worker thread that is sent arguments and sends results, in order, with cloned payloads. */
import { isMainThread, parentPort, Worker } from 'node:worker_threads';

const METHODS = {
  none: () => undefined,
  numbers: (/** @type {{ x: number, y: number }} */ { x, y }) => Math.hypot(x, y),
  '64B': (/** @type {Uint8Array} */ bytes) => bytes.map((byte) => ~byte),
};

if (!isMainThread) {
  parentPort?.on('message', ([method, argument]) => {
    const call = METHODS[/** @type {keyof typeof METHODS} */ (method)];
    parentPort?.postMessage(call(argument));
  });
}

export function open() {
  const worker = new Worker(new URL(import.meta.url));
  /** What calls resolve with, the eldest first. @type {((result: any) => void)[]} */
  let waiting = [];
  let next = 0;
  worker.on('message', (result) => {
    waiting[next++]?.(result);
    if (next === waiting.length) [waiting, next] = [[], 0];
  });
  worker.unref();
  const call = (/** @type {string} */ method, /** @type {unknown} */ argument) =>
    new Promise((resolve) => {
      waiting.push(resolve);
      worker.postMessage([method, argument]);
    });
  return {
    none: () => call('none', null),
    numbers: (/** @type {number} */ x, /** @type {number} */ y) => call('numbers', { x, y }),
    '64B': (/** @type {Uint8Array} */ bytes) => call('64B', bytes),
  };
}
