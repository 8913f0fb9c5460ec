/** The conformance suite over io_uring, driven by an I/O thread. */

import { conformanceOverUring } from './helpers/uring.js';

conformanceOverUring('thread');
