/** io_uring, where it is there. */

import test from 'ava';

import { backend, configure, metrics, type IoMode } from '../../index.js';
import { run } from './child.js';
import { conformance } from './conformance.js';

/** Whether io_uring works here. Asking settles nothing for this process. */
export const HAS_URING: boolean = (await run('backend.js', ['uring'])).stdout === 'uring';

/** The backends that work here. */
export const BACKENDS: readonly string[] = HAS_URING ? ['poll', 'uring'] : ['poll'];

/** Declares the conformance suite over io_uring. */
export function conformanceOverUring(io: IoMode): void {
  configure({ io, backend: 'uring' });
  if (!HAS_URING) {
    test(`[D50] ${io}: choosing what does not work here is an error`, (t) => {
      const error = t.throws(() => backend(), { code: 'ERR_NOT_SUPPORTED' });
      t.regex(error?.message ?? '', /io_uring does not work here/);
    });
    return;
  }
  test(`[D23 D48 D50] ${io}: what was chosen is said`, (t) => {
    t.is(backend(), 'uring');
    t.is(metrics().io, io);
    t.notThrows(() => configure({ backend: 'uring' }));
    t.throws(() => configure({ backend: 'poll' }), { code: 'ERR_INVALID_STATE' });
  });
  conformance(`, io_uring, ${io}`);
  conformance(`, io_uring, ${io}, wait 'low-latency'`, { wait: 'low-latency', spinMicros: 20 });
}
