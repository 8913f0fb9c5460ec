/** A place of their own where the `shm://` names of a spec meet, gone with whatever lies there. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const directory = mkdtempSync(join(tmpdir(), 'busbar-run-'));
process.env['BUSBAR_RUNTIME_DIR'] = directory;
process.on('exit', () => rmSync(directory, { recursive: true, force: true }));
