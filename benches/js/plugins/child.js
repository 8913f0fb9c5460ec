// @ts-check
/**
 * The process that the runner of plugin cases starts: opens one contender, times one kind of call,
 * says how long it took, and ends.
 */
import { timeCalls } from './caller.js';

/** @typedef {{ contender: import('./cases.js').Contender, manner: import('./cases.js').Manner,
 *   payload: import('./cases.js').Payload, built: import('./build.js').Built, seconds: number }} Orders */
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
