/** The conformance suite over reliable pipes, on the schemes that have them. */

import test from 'ava';

import { dial, listen } from './helpers/ends.js';
import { conformance } from './helpers/conformance.js';
import { freshAddress, SCHEMES, type Scheme } from './helpers/pairs.js';

const RELIABLE: readonly Scheme[] = ['uds', 'tcp', 'tls'];

conformance(', reliable', { reliable: true }, RELIABLE);
conformance(', reliable, small windows', { reliable: { windowMessages: 3 } }, RELIABLE);

for (const scheme of SCHEMES.filter((it) => !RELIABLE.includes(it))) {
  test(`[D30] ${scheme} keeps no sessions, and says so`, async (t) => {
    const refusal = { code: 'ERR_NOT_SUPPORTED' };
    await t.throwsAsync(listen(freshAddress(scheme), { reliable: true }), refusal);
    const listener = await listen(freshAddress(scheme));
    await t.throwsAsync(dial(listener.address, { reliable: true }), refusal);
    await listener.close();
  });
}
