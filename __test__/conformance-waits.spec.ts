/** The conformance suite in every wait mode but the default. */

import { conformance } from './helpers/conformance.js';

conformance(", wait 'park'", { wait: 'park' });
conformance(", wait 'low-latency'", { wait: 'low-latency', spinMicros: 20 });
conformance(", wait 'busy'", { wait: 'busy' });
