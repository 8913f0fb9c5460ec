/** A place to meet for the `shm://` names of one spec, so that whoever is killed leaves no socket. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const directory = mkdtempSync(join(tmpdir(), 'busbar-run-'));
process.env['BUSBAR_RUNTIME_DIR'] = directory;
process.on('exit', () => rmSync(directory, { recursive: true, force: true }));
