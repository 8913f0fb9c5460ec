/** The conformance suite as pipes are by default. */

import { conformance } from './helpers/conformance.js';

conformance('');
