// @ts-check
/**
 * Replays 3 million real flights through shared memory to a second Node.js process, which
 * aggregates their delays; checks the result against a direct computation; prints both the result
 * and what the pipe did.
 *
 * Exits 0 only when every value agreed. Anything else (a mismatch, a broken pipe, a dead
 * aggregator, the deadline) is a message on stderr and exit code 1; a wrong command line is 2.
 */

import { availableParallelism } from 'node:os';

import { listen } from 'busbar';

import { AggregatorProcess } from './aggregator-process.js';
import { converseOver } from './conversation.js';
import { FlightDataset } from './dataset.js';
import { measureLatency } from './latency.js';
import { expectReply } from './messages.js';
import { PluginAggregation, pluginLibrary } from './plugin-aggregation.js';
import { USAGE, UsageError, parseOptions } from './options.js';
import { createProgress } from './progress.js';
import { Replayer } from './replay.js';
import { formatJson, formatReport } from './report.js';
import { DirectComputation, MismatchError, countValues, findDifferences } from './verify.js';

/** @typedef {import('busbar').Pipe} Pipe */
/** @typedef {import('./options.js').Options} Options */
/** @typedef {import('./report.js').Outcome} Outcome */

/**
 * Runs the whole program within its deadline.
 *
 * @param {Options} options
 * @returns {Promise<Outcome>}
 */
async function run(options) {
  const dataset = await FlightDataset.open();
  const { wait, timeoutSeconds } = options;
  const signal = AbortSignal.timeout(timeoutSeconds * 1000);
  const listener = await listen(`shm://busbar-flights-${process.pid}`, { wait, signal });
  const aggregator = new AggregatorProcess(listener.address, wait);
  process.stderr.write(`flights: process ${process.pid} replays, ${aggregator.pid} aggregates\n`);
  const stopped = Promise.race([aggregator.died(), expired(signal, timeoutSeconds)]);
  try {
    const pipe = await Promise.race([listener.accept({ signal }), stopped]);
    const outcome = await Promise.race([converse(pipe, dataset, options), stopped]).finally(() => {
      return pipe.close({ lingerMs: GRACE_MS, reason: 'the replay is over' });
    });
    await aggregator.expectSuccess(GRACE_MS);
    return outcome;
  } catch (error) {
    throw await explain(error, aggregator);
  } finally {
    await aggregator.kill();
    await listener.close();
  }
}

/**
 * The conversation: flights, pings, the end, the result, the check.
 *
 * @param {Pipe} pipe
 * @param {FlightDataset} dataset
 * @param {Options} options
 * @returns {Promise<Outcome>}
 */
async function converse(pipe, dataset, options) {
  const total = Math.min(options.rows, dataset.rows);
  const conversation = converseOver(pipe);
  const replayer = new Replayer(conversation, {
    tamperedFlight: options.tamper ? Math.floor(total / 2) : undefined,
  });
  const direct = new DirectComputation();
  const plugins = await openPlugins();
  const { decodeSeconds, directSeconds } = await replayAll(dataset, total, replayer, [
    direct,
    ...plugins,
  ]);
  const pluginRates = await checkPlugins(plugins, direct);
  const latency = await measureLatency(conversation, options.pings);
  await conversation.requests.send({ kind: 'End' });
  const { aggregate } = expectReply(await conversation.replies.receive(), 'Result');
  const differences = findDifferences(direct.result(), aggregate);
  if (differences.length > 0) throw new MismatchError(differences);
  return {
    aggregate,
    valuesCompared: countValues(aggregate),
    latency,
    wait: options.wait,
    processors: availableParallelism(),
    pipeSeconds: replayer.seconds,
    decodeSeconds,
    directSeconds,
    plugins: pluginRates,
  };
}

/** The plugin inline and isolated; neither where it has not been built. */
async function openPlugins() {
  const library = pluginLibrary();
  if (library === undefined) return [];
  const modes = /** @type {const} */ (['inline', 'dedicated']);
  return Promise.all(modes.map((mode) => PluginAggregation.open(library, mode)));
}

/**
 * @param {readonly PluginAggregation[]} plugins
 * @param {DirectComputation} direct
 * @returns {Promise<{ mode: string, seconds: number }[]>}
 */
async function checkPlugins(plugins, direct) {
  const rates = [];
  for (const plugin of plugins) {
    const differences = findDifferences(direct.result(), await plugin.result());
    if (differences.length > 0) throw new MismatchError(differences, `the plugin, ${plugin.mode},`);
    rates.push({ mode: plugin.mode, seconds: plugin.seconds });
    await plugin.close();
  }
  return rates;
}

/**
 * Decodes, replays and computes directly, one row group after the other, so that each of them has
 * the machine for itself while its clock runs.
 *
 * @param {FlightDataset} dataset
 * @param {number} total
 * @param {Replayer} replayer
 * @param {[DirectComputation, ...PluginAggregation[]]} computations
 */
async function replayAll(dataset, total, replayer, [direct, ...plugins]) {
  const progress = createProgress(total);
  let decodeSeconds = 0;
  let directSeconds = 0;
  try {
    let start = performance.now();
    for await (const columns of dataset.rowGroups(total)) {
      const decoded = performance.now();
      decodeSeconds += (decoded - start) / 1000;
      await replayer.replay(columns, () => progress.update(replayer.sent, 'replaying'));
      const replayed = performance.now();
      direct.add(columns);
      directSeconds += (performance.now() - replayed) / 1000;
      for (const plugin of plugins) await plugin.add(columns);
      start = performance.now();
      progress.update(replayer.sent, 'reading the file');
    }
  } finally {
    progress.stop();
  }
  return { decodeSeconds, directSeconds };
}

/**
 * A pipe breaks because its peer died: then how that happened is the better message.
 *
 * @param {unknown} error
 * @param {AggregatorProcess} aggregator
 */
async function explain(error, aggregator) {
  if (!(error instanceof Error) || !('code' in error)) return error;
  const end = await aggregator.waitForEnd(GRACE_MS);
  if (end === undefined) return error;
  return new Error(`the aggregator ${end}; the pipe says: ${error.message}`, { cause: error });
}

/**
 * @param {AbortSignal} signal
 * @param {number} seconds
 * @returns {Promise<never>}
 */
function expired(signal, seconds) {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(new Error(`not done after ${seconds} s`)));
  });
}

/** @param {string[]} args */
async function main(args) {
  const options = parseOptions(args);
  if (options.help) return process.stdout.write(USAGE);
  // The deadline ends everything in an orderly way; this is for the case that even that hangs.
  setTimeout(() => process.exit(1), (options.timeoutSeconds + 10) * 1000).unref();
  const outcome = await run(options);
  return process.stdout.write(`${options.json ? formatJson(outcome) : formatReport(outcome)}\n`);
}

/** How long the other process may take to end after the pipe has. */
const GRACE_MS = 1000;

try {
  await main(process.argv.slice(2));
} catch (error) {
  const usage = error instanceof UsageError ? `\n\n${USAGE}` : '';
  process.stderr.write(`flights: ${error instanceof Error ? error.message : error}${usage}\n`);
  process.exitCode = usage ? 2 : 1;
}
