/** Worker threads of tests: fixtures that talk to the test by messages. */

import { Worker } from 'node:worker_threads';

/** A fixture in a worker thread. */
export class TestWorker {
  /** Its exit code; rejects if it fails. */
  readonly exited: Promise<number>;
  private readonly worker: Worker;
  private readonly messages: unknown[] = [];
  private wake: () => void = () => {};

  constructor(fixture: string, workerData: unknown) {
    const url = new URL(`../fixtures/${fixture}`, import.meta.url);
    // Not what the test runner gave to this process.
    const env = { ...process.env, NODE_OPTIONS: '' };
    this.worker = new Worker(url, { workerData, execArgv: [], env });
    this.worker.on('message', (message) => {
      this.messages.push(message);
      this.wake();
    });
    this.exited = new Promise((resolve, reject) => {
      this.worker.once('exit', resolve);
      this.worker.once('error', reject);
    });
    this.exited.catch(() => {});
  }

  /** What it posts next; rejects if it fails first. */
  async posted(): Promise<unknown> {
    while (this.messages.length === 0) {
      const more = new Promise<void>((resolve) => {
        this.wake = resolve;
      });
      const code = await Promise.race([more, this.exited]);
      // What it posts comes before its end.
      if (this.messages.length === 0) throw new Error(`the worker ended (${code}) without a word`);
    }
    return this.messages.shift();
  }

  async terminate(): Promise<void> {
    await this.worker.terminate();
  }
}

/** Starts a fixture in a worker thread. */
export function startWorker(fixture: string, workerData: unknown = null): TestWorker {
  return new TestWorker(fixture, workerData);
}
