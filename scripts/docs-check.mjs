/**
 * Compiles every TypeScript example of the documentation: the `ts` blocks of doc comments in lib/
 * and of the Markdown files, each as a module of its own that imports `busbar` by name.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { execute } from './execute.mjs';

const OUT = 'target/docs-check';
const SOURCES = ['README.md', ...files('docs', '.md'), ...files('lib', '.ts')];

rmSync(OUT, { recursive: true, force: true });
mkdirSync(OUT, { recursive: true });
const count = SOURCES.map(extract).reduce((sum, blocks) => sum + blocks, 0);
writeFileSync(join(OUT, 'tsconfig.json'), JSON.stringify(config()));
const { status } = await execute(`tsc -p ${OUT}`);
console.log(`${count} examples compiled`);
process.exitCode = status === 0 && count > 0 ? 0 : 1;

/** Writes the examples of one file, named by where they stand. */
function extract(file) {
  const text = readFileSync(file, 'utf8');
  const blocks = [...text.matchAll(/^( *\* |)```ts\n([^]*?)^ *\*? ?```$/gm)];
  for (const { index, 1: margin, 2: block } of blocks) {
    const line = text.slice(0, index).split('\n').length;
    const code = block.split('\n').map((row) => row.slice(margin.length));
    const name = `${file.replaceAll(/[\\/]/g, '-')}-${line}.ts`;
    writeFileSync(join(OUT, name), `${code.join('\n')}\nexport {};\n`);
  }
  return blocks.length;
}

function files(folder, extension) {
  return readdirSync(folder, { recursive: true })
    .filter((name) => name.endsWith(extension))
    .map((name) => join(folder, name));
}

function config() {
  const compilerOptions = {
    noUnusedLocals: false,
    noUnusedParameters: false,
    isolatedDeclarations: false,
    declaration: false,
  };
  return { extends: '../../tsconfig.json', compilerOptions, include: ['*.ts'] };
}
