// @ts-check
/**
 * The process that the runner of plugin cases starts: opens one contender, times one kind of call,
 * says how long it took, and ends.
 */
import { timeCalls } from './caller.js';

/**
 * @typedef {object} Orders
 * @property {import('./cases.js').Contender} contender
 * @property {import('./cases.js').Manner} manner
 * @property {import('./cases.js').Payload} payload
 * @property {import('./build.js').Built} built
 * @property {number} seconds
 */
/** @typedef {import('./caller.js').Timing | { error: string }} Answer */

/** @type {Orders} */
const { contender, manner, payload, built, seconds } = JSON.parse(process.argv[2] ?? '');
process.on('disconnect', () => process.exit(0));

const answer = await run().catch((/** @type {unknown} */ error) => ({
  error: error instanceof Error ? error.message : String(error),
}));
process.send?.(answer, () => process.exit(0));

/** @returns {Promise<Answer>} */
async function run() {
  const { open } = await import(`./peers/${contender.module}.js`);
  return timeCalls(await open({ built, form: contender.form }), manner, payload, seconds);
}
