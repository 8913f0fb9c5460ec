// @ts-check
/**
 * Two ends of a benchmark in processes of their own: starts them where they belong, gives each
 * its half of a job, and leaves nothing behind. Talks to child.js over Node's IPC channel, which
 * is silent while a job runs.
 */
import { execFile, fork } from 'node:child_process';
import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { TALLY } from './counting/tally.js';
import { nodeOn } from './machine.js';

/** @typedef {import('./child.js').Side} Side */

/**
 * @typedef {object} PairOptions
 * @property {number[] | null} cpus where server and client run; null = anywhere
 * @property {number} timeoutMs after which each child ends itself, whatever it is doing
 * @property {string | null} profileDir where --cpu-prof writes, null = no profile
 * @property {{ tally: string | null } | null} counting null in rounds that are timed; the library
 *   of counting/tally.c, if it can be had
 */

export class Pair {
  /** @type {Record<Side, BenchChild>} */ #children;
  /** @type {string} */ #directory;
  /** @type {import('./cases.js').Case} */ #spec;

  /**
   * Starts both ends and lets them meet.
   *
   * @param {import('./cases.js').Case} spec
   * @param {import('./cases.js').Contender} contender
   * @param {PairOptions} options
   * @returns {Promise<Pair>}
   */
  static async open(spec, contender, options) {
    const directory = await mkdtemp(join(tmpdir(), 'busbar-bench-'));
    directories.add(directory);
    const label = `${spec.id} ${contender.name}`.replaceAll(/[^\w]+/g, '-');
    const child = (/** @type {import('./child.js').ChildOptions['holds']} */ holds, side = 0) =>
      new BenchChild(holds, side, `${label}-${holds}`, directory, options);
    /** @type {Record<Side, BenchChild>} */
    let children;
    if (spec.topology === 'processes') {
      children = { server: child('server', 0), client: child('client', 1) };
    } else {
      const both = child(spec.topology === 'thread' ? 'both' : 'worker');
      children = { server: both, client: both };
    }
    const pair = new Pair(spec, children, directory);
    try {
      await pair.#meet(contender);
    } catch (error) {
      await pair.abandon();
      throw error;
    }
    return pair;
  }

  /**
   * @param {import('./cases.js').Case} spec
   * @param {Record<Side, BenchChild>} children
   * @param {string} directory
   */
  constructor(spec, children, directory) {
    this.#spec = spec;
    this.#children = children;
    this.#directory = directory;
  }

  /**
   * Does the case's job with `n` messages.
   *
   * @param {number} n
   * @returns {Promise<Record<Side, import('./end.js').JobReport>>}
   */
  async run(n) {
    const [serverJob, clientJob] = JOBS[this.#spec.kind];
    await this.#call('server', 'arm', serverJob, n);
    await this.#call('client', 'arm', clientJob, n);
    const [server, client] = await Promise.all([
      this.#call('server', 'finish'),
      this.#call('client', 'finish'),
    ]);
    return /** @type {Record<Side, import('./end.js').JobReport>} */ ({ server, client });
  }

  /** Of the processes. */
  get pids() {
    return [...new Set(Object.values(this.#children))].map(({ pid }) => pid);
  }

  /** Closes the connection in good order, then ends like {@link abandon}. */
  async close() {
    await this.#call('client', 'close');
    await this.#call('server', 'close');
    await this.abandon();
  }

  /** Ends the processes, whatever they are doing, and removes what they left. */
  async abandon() {
    const all = new Set(Object.values(this.#children));
    await Promise.all([...all].map((child) => child.end()));
    await rm(this.#directory, { recursive: true, force: true });
    directories.delete(this.#directory);
  }

  /** @param {import('./cases.js').Contender} contender */
  async #meet(contender) {
    const { kind, size, topology, load } = this.#spec;
    const { options, transport } = contender;
    const address = await this.#address(transport, topology);
    const secrets = transport === 'tls' ? await makeSecrets(this.#directory) : null;
    const setup = { address, size, kind, transport, options, secrets };
    await this.#call('server', 'serve', contender.module, setup);
    await this.#call('client', 'connect', contender.module, setup);
    await this.#call('server', 'accepted');
    if (!load) return;
    await this.#call('server', 'loadLoop');
    await this.#call('client', 'loadLoop');
  }

  /**
   * @param {string} transport
   * @param {string} topology
   */
  async #address(transport, topology) {
    if (transport === 'tcp' || transport === 'tls') return `127.0.0.1:${await freePort()}`;
    // inproc names are global to a process, which is fresh; socket paths must be unique.
    return topology === 'processes' ? join(this.#directory, 'bench.sock') : 'bench';
  }

  /**
   * @param {Side} side
   * @param {string} method
   * @param {...unknown} args
   */
  #call(side, method, ...args) {
    return this.#children[side].call(side, method, args);
  }
}

/**
 * A certificate for this machine, signed by itself, and its key.
 *
 * @param {string} directory
 * @returns {Promise<import('./transport.js').Secrets>} paths of PEM files
 */
async function makeSecrets(directory) {
  const [cert, key] = [join(directory, 'cert.pem'), join(directory, 'key.pem')];
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const names = ['-addext', 'subjectAltName=IP:127.0.0.1', '-addext', 'basicConstraints=CA:FALSE'];
  const files = ['-keyout', key, '-out', cert];
  const args = ['req', '-x509', ...curve, ...files, '-days', '2', '-subj', '/CN=bench', ...names];
  await promisify(execFile)('openssl', args);
  return { cert, key };
}

/**
 * The environment of a process that counts.
 *
 * @param {string} file to be made
 * @param {string | null} library
 * @returns {NodeJS.ProcessEnv}
 */
function tallyIn(file, library) {
  if (library === null) return { [TALLY]: '' };
  writeFileSync(file, Buffer.alloc(TALLY_BYTES));
  return { [TALLY]: file, LD_PRELOAD: library };
}

/** A port that nobody listens at. */
async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  server.close();
  return port;
}

/**
 * @typedef {object} Waiting
 * @property {(value: unknown) => void} resolve
 * @property {(error: Error) => void} reject
 */

/** A child process and the calls that it still owes an answer. */
class BenchChild {
  /** @type {import('node:child_process').ChildProcess} */ #process;
  /** @type {Map<number, Waiting>} */ #calls = new Map();
  /** @type {number} */ #lastId = 0;
  /** @type {Error | null} */ #gone = null;
  /** @type {NodeJS.Timeout} */ #killer;

  /**
   * @param {import('./child.js').ChildOptions['holds']} holds
   * @param {number} side which of the two cores
   * @param {string} label
   * @param {string} directory
   * @param {PairOptions} options
   */
  constructor(holds, side, label, directory, { cpus, timeoutMs, profileDir, counting }) {
    const { execPath, execArgv } = nodeOn(cpus?.[side] ?? null);
    if (profileDir !== null) {
      execArgv.push('--cpu-prof', `--cpu-prof-dir=${profileDir}`);
      execArgv.push(`--cpu-prof-name=${label}.cpuprofile`);
    }
    const env = { ...process.env };
    if (counting !== null) {
      // Memory for all that a counted job takes, so that no garbage need be collected meanwhile.
      execArgv.push('--min-semi-space-size=256', '--max-semi-space-size=256');
      Object.assign(env, tallyIn(join(directory, `${holds}.tally`), counting.tally));
    }
    /** @type {import('./child.js').ChildOptions} */
    const options = { holds, timeoutMs, cpus };
    this.#process = fork(CHILD, [JSON.stringify(options)], {
      execPath,
      execArgv,
      env,
      stdio: ['ignore', 2, 2, 'ipc'],
      serialization: 'advanced',
    });
    this.#process.on('message', (message) => this.#answer(/** @type {any} */ (message)));
    this.#process.on('error', (error) => this.#fail(error));
    this.#process.on('exit', (code, signal) => {
      this.#fail(new Error(`bench child ${label} ended early (${signal ?? `exit code ${code}`})`));
    });
    // For a child whose thread is stuck in a call, so that its own timer cannot fire.
    this.#killer = setTimeout(() => this.#process.kill('SIGKILL'), timeoutMs + 2000);
  }

  /**
   * @param {Side} side
   * @param {string} method
   * @param {unknown[]} args
   * @returns {Promise<unknown>}
   */
  call(side, method, args) {
    if (this.#gone !== null) return Promise.reject(this.#gone);
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#calls.set(id, { resolve, reject });
      this.#process.send({ id, side, method, args });
    });
  }

  get pid() {
    return this.#process.pid ?? 0;
  }

  /** Tells the process to end, and waits until it has. */
  async end() {
    if (this.#gone === null) {
      const ended = once(this.#process, 'exit');
      this.#process.send({ id: 0, side: 'server', method: 'exit', args: [] });
      await ended;
    }
    clearTimeout(this.#killer);
  }

  /** @param {import('./child.js').Reply} reply */
  #answer({ id, value, error }) {
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    if (error === undefined) call?.resolve(value);
    else call?.reject(new Error(error));
  }

  /** @param {Error} error */
  #fail(error) {
    this.#gone ??= error;
    for (const call of this.#calls.values()) call.reject(this.#gone);
    this.#calls.clear();
  }
}

/** More than `struct tally` of counting/tally.c. */
const TALLY_BYTES = 4096;

const CHILD = fileURLToPath(new URL('child.js', import.meta.url));

/** What the server and the client do in each kind of case. */
const JOBS = /** @type {const} */ ({
  latency: ['echo', 'ping'],
  throughput: ['sink', 'pump'],
  handover: ['take', 'offer'],
});

/** Those of open pairs: a run that is interrupted has no time to close them. */
const directories = /** @type {Set<string>} */ (new Set());
process.on('exit', () => {
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});
