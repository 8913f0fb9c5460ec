/**
 * Completes package-lock.json for every platform: `node scripts/complete-lock.mjs [folder…]`.
 *
 * npm leaves an optional platform package out of the lock when the registry at hand does not serve
 * it, and `npm ci` then refuses the lock, on this machine and on all others. Those packages are
 * pinned exactly by their parents, so their entries can be written from what the lock already says.
 * Run this after every `npm install` that changed the lock.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const SYSTEMS = ['android', 'darwin', 'freebsd', 'linux', 'openharmony', 'win32'];
const PROCESSORS = ['arm64', 'arm', 'ia32', 'ppc64', 'riscv64', 's390x', 'x64', 'wasm32'];
const EXACT = /^\d+\.\d+\.\d+(?:-[\w.]+)?$/;

for (const folder of process.argv.length > 2 ? process.argv.slice(2) : ['.']) {
  const file = join(folder, 'package-lock.json');
  const lock = JSON.parse(readFileSync(file, 'utf8'));
  const added = complete(lock.packages);
  writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
  console.log(`${file}: ${added} entries added`);
}

function complete(packages) {
  let added = 0;
  for (const [path, parent] of Object.entries(packages)) {
    for (const [name, version] of Object.entries(parent.optionalDependencies ?? {})) {
      if (!EXACT.test(version) || isLocked(packages, path, name)) continue;
      packages[`node_modules/${name}`] = entry(name, version, parent);
      added += 1;
    }
  }
  const sorted = Object.entries(packages).sort(([a], [b]) => a.localeCompare(b, 'en'));
  for (const [path, value] of sorted) {
    delete packages[path];
    packages[path] = value;
  }
  return added;
}

/** Whether Node's lookup from the package at `path` finds `name`. */
function isLocked(packages, path, name) {
  return `${path}/node_modules/${name}` in packages || `node_modules/${name}` in packages;
}

function entry(name, version, parent) {
  const words = name.split(/[-/]/);
  const systems = SYSTEMS.filter((word) => words.includes(word));
  const processors = PROCESSORS.filter((word) => words.includes(word));
  return {
    version,
    ...(processors.length > 0 && { cpu: processors }),
    ...(parent.dev && { dev: true }),
    ...(parent.license && { license: parent.license }),
    optional: true,
    ...(systems.length > 0 && { os: systems }),
  };
}
