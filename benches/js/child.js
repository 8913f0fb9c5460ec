// @ts-check
/**
 * The process that the runner starts: holds one end, or both where the transport stays in a
 * process (the second on the same thread or in a worker), and passes the runner's commands on.
 * It never outlives its work: it ends when told to, when the runner is gone, or when its time is
 * up, whichever comes first.
 */
import { fileURLToPath } from 'node:url';
import { isMainThread, MessageChannel, parentPort, Worker, workerData } from 'node:worker_threads';

import { BenchEnd } from './end.js';
import { pinThisThread } from './machine.js';

/** @typedef {'server' | 'client'} Side */
/** @typedef {{ id: number, side: Side, method: string, args: unknown[] }} Command */
/** @typedef {{ id: number, value?: unknown, error?: string }} Reply */

/**
 * @typedef {object} ChildOptions
 * @property {'server' | 'client' | 'both' | 'worker'} holds 'worker' = both, client in a worker
 * @property {number} timeoutMs
 * @property {number[] | null} cpus where server and client run; null = anywhere
 */

function main() {
  /** @type {ChildOptions} */
  const options = JSON.parse(process.argv[2] ?? '');
  setTimeout(() => {
    process.stderr.write(`bench child ${options.holds}: out of time\n`);
    process.exit(EXIT_TIMED_OUT);
  }, options.timeoutMs).unref();
  process.on('disconnect', () => process.exit(0));

  const handlers = openEnds(options);
  const reply = (/** @type {Reply} */ message) => process.send?.(message);
  process.on('message', (/** @type {Command} */ command) => {
    if (command.method === 'exit') process.exit(0);
    else handlers[command.side]?.(command, reply);
  });
}

/**
 * @param {ChildOptions} options
 * @returns {Partial<Record<Side, (command: Command, reply: (message: Reply) => void) => void>>}
 */
function openEnds(options) {
  const channel = new MessageChannel();
  switch (options.holds) {
    case 'server':
      return { server: local(new BenchEnd(undefined)) };
    case 'client':
      return { client: local(new BenchEnd(undefined)) };
    case 'both':
      return {
        server: local(new BenchEnd(channel.port1)),
        client: local(new BenchEnd(channel.port2)),
      };
    case 'worker':
      return {
        client: inWorker(channel.port2, options.cpus?.[1] ?? null),
        server: local(new BenchEnd(channel.port1)),
      };
  }
}

/**
 * @param {BenchEnd} end
 * @returns {(command: Command, reply: (message: Reply) => void) => Promise<void>}
 */
function local(end) {
  return async ({ id, method, args }, reply) => {
    try {
      const call = /** @type {Record<string, (...args: unknown[]) => unknown>} */ (
        /** @type {unknown} */ (end)
      )[method];
      if (call === undefined) throw new Error(`no command ${method}`);
      reply({ id, value: await call.apply(end, args) });
    } catch (error) {
      reply({ id, error: String(error instanceof Error ? error.stack : error) });
    }
  };
}

/**
 * @param {import('node:worker_threads').MessagePort} port the worker's end of the channel
 * @param {number | null} cpu
 * @returns {(command: Command, reply: (message: Reply) => void) => void}
 */
function inWorker(port, cpu) {
  const worker = new Worker(fileURLToPath(import.meta.url), {
    workerData: { port, cpu },
    transferList: [port],
  });
  worker.on('error', (error) => {
    throw error;
  });
  /** @type {(message: Reply) => void} */
  let answer = () => {};
  worker.on('message', (message) => answer(message));
  return (command, reply) => {
    answer = reply;
    worker.postMessage(command);
  };
}

function workerMain() {
  if (workerData.cpu !== null) pinThisThread(workerData.cpu);
  const handle = local(new BenchEnd(workerData.port));
  parentPort?.on('message', (command) => {
    handle(command, (message) => parentPort?.postMessage(message));
  });
}

/** Told from a crash by the runner. */
const EXIT_TIMED_OUT = 3;

if (isMainThread) main();
else workerMain();
