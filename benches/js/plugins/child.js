// @ts-check
/**
 * The process of one contender: opens it, and does what the runner says, one thing at a time, so
 * that those of other contenders can have their turns in between. Ends with the runner.
 */
import { Job } from './caller.js';

/**
 * @typedef {object} Opening
 * @property {string} module
 * @property {string} form
 * @property {import('./build.js').Built} built
 */
/**
 * Another kind of calls, or a sample of the one that was prepared last.
 *
 * @typedef {{ manner: import('./cases.js').Manner, payload: import('./cases.js').Payload,
 *   warmSeconds: number, sampleSeconds: number } | 'sample' | 'end'} Order
 */
/** @typedef {import('./caller.js').Sample | { error: string } | { done: true }} Answer */

/** @type {Opening} */
const { module, form, built } = JSON.parse(process.argv[2] ?? '');
process.on('disconnect', () => process.exit(0));

/** @type {Promise<import('./caller.js').Caller> | null} */
let opening = null;
/** @type {Job | null} */
let job = null;

process.on('message', (/** @type {Order} */ order) => {
  // Profiles are written by a process that ends.
  if (order === 'end') process.exit(0);
  const answer = obey(order).catch((/** @type {unknown} */ error) => ({
    error: error instanceof Error ? error.message : String(error),
  }));
  answer.then((/** @type {Answer} */ what) => process.send?.(what));
});

/**
 * @param {Exclude<Order, 'end'>} order
 * @returns {Promise<Answer>}
 */
async function obey(order) {
  if (order === 'sample') {
    if (job === null) throw new Error('there is nothing to be sampled');
    return job.sample();
  }
  opening ??= import(`./peers/${module}.js`).then(({ open }) => open({ built, form }));
  job = await Job.open(await opening, order.manner, order.payload);
  await job.warm(order.warmSeconds, order.sampleSeconds);
  return { done: true };
}
