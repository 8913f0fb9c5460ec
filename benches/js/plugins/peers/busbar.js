// @ts-check
/** The plugin of crates/busbar-zone/examples/physics.rs. */
import { loadZone } from '../../../../index.js';

/** @param {import('../caller.js').Setup} setup */
export async function open({ built, form }) {
  const isInline = form === 'inline' || form === 'bound' || form === 'arena';
  const mode = isInline ? 'inline' : /** @type {'shared' | 'dedicated'} */ (form);
  // A checkout may be writable by its group; who runs benchmarks has built this.
  const zone = await loadZone({ path: built.plugin, mode, trust: { insecure: true } });
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
