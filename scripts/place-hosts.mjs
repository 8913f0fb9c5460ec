/**
 * Puts the executables that plugins run in where the platform packages expect them, when releasing:
 *
 *     node scripts/place-hosts.mjs artifacts
 *
 * `napi artifacts` does so for addons only.
 */
import { chmodSync, copyFileSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const HOST = 'busbar-host';
const [artifacts = 'artifacts'] = process.argv.slice(2);

for (const triple of readdirSync('npm')) {
  const { files, main } = JSON.parse(readFileSync(join('npm', triple, 'package.json'), 'utf8'));
  if (!files.includes(HOST)) continue;
  const built = readdirSync(artifacts).find((name) => {
    return readdirSync(join(artifacts, name), { recursive: true }).some((file) => {
      return file.endsWith(main);
    });
  });
  if (built === undefined) throw new Error(`no artifact has ${main}`);
  const file = readdirSync(join(artifacts, built), { recursive: true });
  const path = join(
    artifacts,
    built,
    file.find((name) => name.endsWith(HOST)),
  );
  const target = join('npm', triple, HOST);
  copyFileSync(path, target);
  // Artifacts have no modes.
  chmodSync(target, 0o755);
  console.log(`${path} -> ${target}`);
}
