// @ts-check
/** The plugin of crates/busbar-zone/examples/physics.rs. */
import { setTimeout } from 'node:timers/promises';

import { loadZone } from '../../../../index.js';
import { allowedCpus, canPin, pinThread, threads } from '../../machine.js';

/** @param {import('../caller.js').Setup} setup */
export async function open({ built, form }) {
  const mode = MODES[/** @type {keyof typeof MODES} */ (form)];
  // A checkout may be writable by its group; who runs benchmarks has built this.
  const options = { path: built.plugin, mode, trust: { insecure: true } };
  if (form === 'crash') return crashing(options);
  if (form === 'alone' || form === 'burned') return beside(options, form);
  const zone = await loadZone(options);
  if (form === 'process-sync') return waiting(zone);
  const physics = /** @type {any} */ (zone.interface({ u64: 'number' }));
  if (form === 'inline') {
    const { nothing, distance } = physics;
    return {
      none: nothing,
      numbers: distance,
      '64B': (/** @type {Buffer} */ bytes, /** @type {Buffer} */ out) =>
        zone.callSync('invert', bytes, out),
    };
  }
  if (form === 'bound' || form === 'arena') return bound(zone, form);
  return {
    none: physics.nothing,
    numbers: physics.distance,
    '64B': (/** @type {Buffer} */ bytes) => physics.invert(bytes),
  };
}

/**
 * A zone and this thread on one core, and another zone on the other one: which threads a system
 * lets share a core, where it has two for three of them, is not what is to be measured.
 *
 * @param {import('../../../../index.js').LoadZoneOptions} options
 * @param {'alone' | 'burned'} form
 */
async function beside(options, form) {
  const zone = await loadZone(options);
  const before = new Set(threads());
  const burner = await loadZone(options);
  const [one, other] = allowedCpus();
  if (canPin() && one !== undefined && other !== undefined) {
    // Loading takes threads that end afterwards.
    await setTimeout(REST_MS);
    for (const tid of threads()) pinThread(tid, before.has(tid) ? one : other);
  }
  const { nothing } = /** @type {{ nothing(): Promise<unknown> }} */ (zone.interface());
  return { none: nothing, ...(form === 'burned' && { meanwhile: burning(burner) }) };
}

/**
 * @param {import('../../../../index.js').Zone} zone whose thread burns until it is told to end
 * @returns {() => Promise<() => Promise<void>>}
 */
function burning(zone) {
  return async () => {
    const controller = new AbortController();
    const { signal } = controller;
    const burned = zone.call('burn', LONG_MS, { signal }).then(
      () => 'ended by itself',
      (error) => (signal.aborted ? null : `failed: ${error}`),
    );
    await setTimeout(BEGIN_MS);
    return async () => {
      controller.abort();
      const fault = await burned;
      if (fault !== null) throw new Error(`what burns a core ${fault}`);
      // The call is given up at once; the thread hears of it soon after.
      await setTimeout(BEGIN_MS);
    };
  };
}

/** The argument of `burn`: milliseconds, as their type is archived. */
const LONG_MS = Buffer.from(Uint32Array.of(3_600_000).buffer);
/** By then threads that end are gone. */
const REST_MS = 100;
/** By then a thread that was told to burn does. */
const BEGIN_MS = 2;

const MODES = {
  inline: /** @type {const} */ ('inline'),
  bound: /** @type {const} */ ('inline'),
  arena: /** @type {const} */ ('inline'),
  shared: /** @type {const} */ ('shared'),
  dedicated: /** @type {const} */ ('dedicated'),
  alone: /** @type {const} */ ('dedicated'),
  burned: /** @type {const} */ ('dedicated'),
  process: /** @type {const} */ ('process'),
  'process-sync': /** @type {const} */ ('process'),
  crash: /** @type {const} */ ('process'),
};

/**
 * This thread waits while the method runs in its process.
 *
 * @param {import('../../../../index.js').Zone} zone
 */
function waiting(zone) {
  return {
    none: () => zone.callSync('nothing', NO_BYTES, NO_BYTES),
    '64B': (/** @type {Buffer} */ bytes, /** @type {Buffer} */ out) =>
      zone.callSync('invert', bytes, out),
  };
}

/**
 * From the signal that ends the process to the answer of the next one.
 *
 * @param {import('../../../../index.js').LoadZoneOptions} options
 */
async function crashing(options) {
  // It is to crash for as long as the benchmark runs, and no rest is to be measured.
  const zone = await loadZone({ ...options, process: { crashesMax: 1e6, crashWindowMs: 0 } });
  const { nothing } = /** @type {{ nothing(): Promise<unknown> }} */ (zone.interface());
  return {
    none: async () => {
      const { pid, starts } = /** @type {import('../../../../index.js').ZoneProcess} */ (
        zone.process
      );
      process.kill(/** @type {number} */ (pid), 'SIGKILL');
      // A call that the dead process had begun is repeated by the next, as it is idempotent; one
      // that it still answered is none.
      do await nothing();
      while (zone.process?.starts === starts);
    },
  };
}

const NO_BYTES = new Uint8Array(0);

/**
 * @param {import('../../../../index.js').Zone} zone
 * @param {'bound' | 'arena'} form
 */
function bound(zone, form) {
  const [nothing, invert] = [zone.bind('nothing'), zone.bind('invert')];
  const { run, call, input, output } = invert;
  if (form === 'bound') {
    return {
      none: () => nothing.run(0),
      '64B': (/** @type {Buffer} */ bytes, /** @type {Buffer} */ out) => {
        call(bytes, out);
        return out;
      },
    };
  }
  // An argument is made, and a result read, where they lie.
  input.set(Array.from({ length: 64 }, (_, i) => i));
  const result = output.subarray(0, 64);
  return {
    '64B': () => {
      input[0] = 0;
      run(64);
      return result;
    },
  };
}
