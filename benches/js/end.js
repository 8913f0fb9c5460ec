// @ts-check
/**
 * One end of a benchmark, driven by commands from the runner: meet the peer, do a job, report.
 * A job is armed first and awaited later, so that no message can arrive before its receiver is
 * ready. The report says what happened and where: times, percentiles, sleeps, cores.
 */
import { currentCpu, nowNs } from './machine.js';
import { startCounting } from './counting/tally.js';
import { startLoad } from './load.js';
import { percentiles } from './stats.js';
import { loadTransport } from './transport.js';

/** @typedef {'echo' | 'ping' | 'sink' | 'pump' | 'take' | 'offer'} Job */

/**
 * @typedef {object} JobReport
 * @property {number} startNs
 * @property {number} endNs
 * @property {import('./stats.js').Percentiles | null} times of a job that takes samples
 * @property {import('./transport.js').Counters | null} counters during this job
 * @property {import('./counting/tally.js').Counts | null} counts null in rounds that are timed
 * @property {number} switches voluntary context switches of the whole process during this job
 * @property {number} preemptions involuntary ones: others wanted the core
 * @property {(number | null)[]} cpus where the thread was at the start and at the end
 */

export class BenchEnd {
  /** @type {import('node:worker_threads').MessagePort | undefined} */ #port;
  /** @type {import('./transport.js').Server | null} */ #server = null;
  /** @type {import('./transport.js').End | null} */ #end = null;
  /** @type {Promise<JobReport> | null} */ #job = null;
  /** @type {() => void} */ #stopLoad = () => {};
  /** Bytes of a message. */ #size = 0;

  /** @param {import('node:worker_threads').MessagePort | undefined} port */
  constructor(port) {
    this.#port = port;
  }

  /**
   * @param {import('./transport.js').TransportName} name
   * @param {Omit<import('./transport.js').Setup, 'port'>} setup
   */
  async serve(name, setup) {
    const transport = await loadTransport(name);
    this.#size = setup.size;
    this.#server = await transport.serve({ ...setup, port: this.#port });
  }

  /**
   * @param {import('./transport.js').TransportName} name
   * @param {Omit<import('./transport.js').Setup, 'port'>} setup
   */
  async connect(name, setup) {
    const transport = await loadTransport(name);
    this.#size = setup.size;
    this.#end = await transport.connect({ ...setup, port: this.#port });
  }

  async accepted() {
    if (this.#server === null) throw new Error('accepted before serve');
    this.#end = await this.#server.accepted();
  }

  async loadLoop() {
    this.#stopLoad = startLoad();
  }

  /**
   * Starts a job and returns at once.
   *
   * @param {Job} job
   * @param {number} n
   */
  async arm(job, n) {
    if (this.#end === null) throw new Error('arm before the ends have met');
    this.#job = perform(this.#end, job, n, this.#size);
    // finish() reports a failure; until then it must not count as unhandled.
    this.#job.catch(() => {});
  }

  /** @returns {Promise<JobReport>} */
  async finish() {
    if (this.#job === null) throw new Error('finish before arm');
    return this.#job;
  }

  async close() {
    this.#stopLoad();
    await this.#end?.close();
  }
}

/**
 * @param {import('./transport.js').End} end
 * @param {Job} job
 * @param {number} n
 * @param {number} size of a message
 * @returns {Promise<JobReport>}
 */
async function perform(end, job, n, size) {
  const samples = job === 'ping' || job === 'take' ? new Float64Array(n) : null;
  const before = end.counters();
  const usage = process.resourceUsage();
  const cpuBefore = currentCpu();
  const count = startCounting(size);
  const startNs = nowNs();
  if (samples === null) await end[/** @type {'echo'} */ (job)](n);
  else await end[/** @type {'ping'} */ (job)](n, samples);
  const endNs = nowNs();
  const counts = count?.() ?? null;
  const used = process.resourceUsage();
  return {
    startNs,
    endNs,
    times: samples === null ? null : percentiles(samples),
    counters: difference(before, end.counters()),
    counts,
    switches: used.voluntaryContextSwitches - usage.voluntaryContextSwitches,
    preemptions: used.involuntaryContextSwitches - usage.involuntaryContextSwitches,
    cpus: [cpuBefore, currentCpu()],
  };
}

/**
 * @param {import('./transport.js').Counters | null} before
 * @param {import('./transport.js').Counters | null} after
 * @returns {import('./transport.js').Counters | null}
 */
function difference(before, after) {
  if (before === null || after === null) return null;
  return {
    parks: after.parks - before.parks,
    bells: after.bells - before.bells,
    wakes: after.wakes - before.wakes,
  };
}
