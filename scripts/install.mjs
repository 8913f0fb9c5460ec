/**
 * Installs a folder's npm dependencies, exactly as locked, unless they are there already. `aside`:
 * nothing goes to the standard output.
 */
import { statSync } from 'node:fs';
import { join } from 'node:path';

import { execute } from './execute.mjs';

export async function install(folder, aside = false) {
  const installed = modified(join(folder, 'node_modules', '.package-lock.json'));
  if (installed >= modified(join(folder, 'package-lock.json'))) return;
  (aside ? console.error : console.log)(`installing ${folder}`);
  const quiet = '--no-audit --no-fund --loglevel=error';
  const { status } = await execute(`npm ci --prefix ${folder} ${quiet}`, { aside });
  if (status !== 0) throw new Error(`npm ci failed in ${folder}`);
}

function modified(file) {
  return statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}
