// @ts-check
/** `npm start`: builds the plugins, calls them all, and prints what they did. */
import { build, isInstalled, LANGUAGES } from './languages.js';
import { check } from './check.js';

const rows = [];
for (const language of LANGUAGES) {
  if (!isInstalled(language)) {
    console.log(`${language.name}: left out, because there is no ${language.tool} here`);
    continue;
  }
  rows.push(await check(language, build(language)));
}
console.table(rows);
console.log(`${rows.length} plugins gave the results that JavaScript gives.`);
