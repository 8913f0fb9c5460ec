// @ts-check
/** Loads the plugin, calls its methods, and prints what they return. */
import { loadZone } from 'busbar';

const [path] = process.argv.slice(2);
if (path === undefined) throw new Error('usage: node main.js LIBRARY');
const zone = await loadZone({ path, mode: 'inline' });
/** @type {any} the plugin's methods, by their names */
const geometry = zone.interface();
console.log(geometry.length({ x: 3, y: 4 }));
console.log(geometry.mix({ x: 0, y: 0 }, { x: 4, y: 2 }, 0.5));
await zone.close();
