// @ts-check
/** Loads a plugin, checks that it does what JavaScript does, and finds out how quick it is. */
import assert from 'node:assert/strict';

import { loadZone } from 'busbar';

import { inJavaScript } from './geometry.js';

/**
 * @typedef {object} Row
 * @property {string} language
 * @property {string} plugin
 * @property {string} mode
 * @property {number} checked calls whose results were compared
 * @property {number} callsPerSecond of `mix`
 */

/**
 * @param {import('./languages.js').Language} language
 * @param {string} path
 * @param {{ calls?: number }} [options] how many calls are timed
 * @returns {Promise<Row>}
 */
export async function check(language, path, { calls = 200_000 } = {}) {
  const zone = await loadZone({ path, mode: language.mode });
  try {
    return await checkZone(zone, language, calls);
  } finally {
    await zone.close();
  }
}

/**
 * @param {import('busbar').Zone} zone
 * @param {import('./languages.js').Language} language
 * @param {number} calls
 * @returns {Promise<Row>}
 */
async function checkZone(zone, { name, id, mode }, calls) {
  assert.equal(zone.pluginId, id);
  /** @type {any} in threads its functions give promises, which may be awaited in any case */
  const geometry = zone.interface();
  let checked = 0;
  for (let i = 0; i < 200; i++) {
    const [a, b, share] = [{ x: i, y: -i / 3 }, { x: i * i, y: 7 }, i / 200];
    const length = await geometry.length(a);
    const wanted = inJavaScript.length(a);
    // hypot() of two libraries may differ in the last bit.
    assert.ok(Math.abs(length - wanted) <= 4e-16 * wanted, `${name}: ${length}, not ${wanted}`);
    assert.deepEqual(await geometry.mix(a, b, share), inJavaScript.mix(a, b, share));
    const bytes = Buffer.from(`message ${i}`);
    assert.deepEqual(Buffer.from(await geometry.checksum(bytes)), inJavaScript.checksum(bytes));
    checked += 3;
  }
  const [origin, one] = [
    { x: 0, y: 0 },
    { x: 1, y: 1 },
  ];
  const wrong = async () => geometry.mix(origin, one, 2);
  await assert.rejects(wrong, { code: 'ERR_INVALID_ARGUMENT', message: /share is 0 to 1/ });
  const callsPerSecond = await rate(mode, (share) => geometry.mix(origin, one, share), calls);
  return { language: name, plugin: zone.pluginId, mode, checked, callsPerSecond };
}

/**
 * @param {string} mode
 * @param {(share: number) => unknown} call
 * @param {number} calls
 * @returns {Promise<number>}
 */
async function rate(mode, call, calls) {
  const start = process.hrtime.bigint();
  if (mode === 'inline') {
    for (let i = 0; i < calls; i++) call(i / calls);
  } else {
    for (let i = 0; i < calls; i += 100) {
      await Promise.all(Array.from({ length: 100 }, (_, at) => call((i + at) / calls)));
    }
  }
  return Math.round(calls / (Number(process.hrtime.bigint() - start) / 1e9));
}
