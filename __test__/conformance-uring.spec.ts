/** The conformance suite over io_uring, driven by the event loop. */

import { conformanceOverUring } from './helpers/uring.js';

conformanceOverUring('loop');
