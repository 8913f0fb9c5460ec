/** Worker threads of tests: fixtures that talk to the test by messages. */

import { once } from 'node:events';
import { Worker } from 'node:worker_threads';

/** Starts a fixture in a worker thread. */
export function startWorker(fixture: string, workerData: unknown = null): Worker {
  const url = new URL(`../fixtures/${fixture}`, import.meta.url);
  // Not what the test runner gave to this process.
  return new Worker(url, { workerData, execArgv: [], env: { ...process.env, NODE_OPTIONS: '' } });
}

/** What the worker posts next. */
export async function posted(worker: Worker): Promise<unknown> {
  const [message] = (await once(worker, 'message')) as [unknown];
  return message;
}

/** The exit code of a worker that ends by itself. */
export async function ended(worker: Worker): Promise<number> {
  const [code] = (await once(worker, 'exit')) as [number];
  return code;
}
