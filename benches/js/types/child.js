// @ts-check
/**
 * The process that the runner of typed cases starts: prepares codecs, times the jobs it was told,
 * sends each result as it comes, and ends. With `mixed`, every codec has first done everything
 * that it is ever timed at.
 */
import { prepare, time } from './codec.js';
import { CODECS } from './cases.js';

/** @typedef {{ contender: string, payload: string, operation: string }} Job */
/** @typedef {{ jobs: Job[], mixed: boolean, seconds: number }} Orders */
/** @typedef {{ index: number, ns: number, n: number, size: number }} Answer */
/** @typedef {Answer | { index: number, error: string }} Reply */

/** Enough to compile what a loop calls. */
const EXERCISE_SECONDS = 0.01;

/** @type {Orders} */
const { jobs, mixed, seconds } = JSON.parse(process.argv[2] ?? '');
process.on('disconnect', () => process.exit(0));

/** @type {Map<string, Promise<import('./codec.js').Subject>>} */
const subjects = new Map();
if (mixed) await exerciseAll();
for (const [index, { contender, payload, operation }] of jobs.entries()) {
  const reply = await run(contender, payload, operation).catch((error) => ({ error: why(error) }));
  await send({ index, ...reply });
}
process.disconnect();

async function run(
  /** @type {string} */ contender,
  /** @type {string} */ payload,
  /** @type {string} */ operation,
) {
  const { size, loops } = await subject(contender, payload);
  const loop = loops[operation];
  if (loop === undefined) throw new Error(`${contender} cannot ${operation} a ${payload}`);
  return { size, ...time(loop, seconds) };
}

/** Failures come up again where the jobs of the codec run. */
async function exerciseAll() {
  for (const { name, payloads, operations } of CODECS) {
    for (const payload of payloads) {
      const prepared = await subject(name, payload).catch(() => null);
      for (const operation of operations) {
        const loop = prepared?.loops[operation];
        if (loop !== undefined) time(loop, EXERCISE_SECONDS);
      }
    }
  }
}

/**
 * @param {string} name
 * @param {string} payload
 */
function subject(name, payload) {
  const key = `${name}/${payload}`;
  const known = subjects.get(key) ?? load(name, payload);
  subjects.set(key, known);
  return known;
}

/**
 * @param {string} name
 * @param {string} payload
 */
async function load(name, payload) {
  const contender = CODECS.find((codec) => codec.name === name);
  if (contender === undefined) throw new Error(`there is no codec ${name}`);
  const { setup } = await import(`./peers/${contender.module}.js`);
  return prepare(setup, payload, contender.options);
}

function send(/** @type {Reply} */ reply) {
  return new Promise((resolve) => process.send?.(reply, resolve));
}

function why(/** @type {unknown} */ error) {
  return error instanceof Error ? error.message : String(error);
}
