/** The methods of plugins as interfaces, for `zone.interface<Physics>()`. */

import { resolve } from 'node:path';

import { BusbarError, callNative } from '../errors.js';
import type { NativeMethod, NativePlugin } from '../internal/binding.js';
import { native } from '../internal/native.js';
import { isNamedAfter } from '../internal/zone-methods.js';
import type { Descriptor, TypeDescriptor } from '../schema/descriptor.js';
import { pascalCase } from '../schema/pascal.js';

/** The plugins among some files; libraries with types only are none. */
export function pluginsOf(files: readonly string[]): NativePlugin[] {
  return files
    .filter((file) => !file.endsWith('.json'))
    .flatMap((file) => {
      try {
        return [callNative(() => native.describePlugin(resolve(file)))];
      } catch (error) {
        if (error instanceof BusbarError && error.code === 'ERR_PLUGIN_SYMBOL') return [];
        throw error;
      }
    });
}

/** The source of an interface for each plugin, whose types `nameOf` names. */
export function interfacesOf(
  plugins: readonly NativePlugin[],
  { types }: Descriptor,
  nameOf: (type: string) => string,
): string {
  const taken = new Set(Object.keys(types).map(nameOf));
  const texts = plugins.map(({ id, methods }) => {
    const name = pascalCase((id.split('.').at(-1) ?? id).replaceAll('-', '_'));
    const own = taken.has(name) ? `${name}Methods` : name;
    taken.add(own);
    const lines = methods.map((method) => `${functionOf(method, types, nameOf)};`);
    const doc = `/** Methods of the plugin \`${id}\`. */`;
    return `${doc}\nexport interface ${own} {\n${lines.join('\n')}\n}`;
  });
  return texts.join('\n\n');
}

function functionOf(
  { name, inHash, outHash }: NativeMethod,
  types: Descriptor['types'],
  nameOf: (type: string) => string,
): string {
  const key = /^[A-Za-z_]\w*$/.test(name) ? name : JSON.stringify(name);
  const [argument, result] = [typeOf(types, inHash), typeOf(types, outHash)];
  return `${key}(${parametersOf(name, argument, nameOf)}): ${resultOf(name, result, nameOf)}`;
}

type Named = readonly [name: string, type: TypeDescriptor];

/** The type with a hash; `null` for bytes or nothing. */
function typeOf(types: Descriptor['types'], hash: bigint): Named | null {
  if (hash === 0n) return null;
  const text = hash.toString(16).padStart(16, '0');
  const found = Object.entries(types).find(([, type]) => type.hash === text);
  if (found !== undefined) return found;
  throw new BusbarError(
    'ERR_TYPE_NOT_FOUND',
    `the library describes no type with the hash ${text}`,
  );
}

function parametersOf(
  method: string,
  argument: Named | null,
  nameOf: (type: string) => string,
): string {
  if (argument === null) return 'bytes?: Uint8Array';
  const [name, type] = argument;
  const own = nameOf(name);
  if (!isNamedAfter(method, 'Arguments', name) || type.kind !== 'struct') return `value: ${own}`;
  const parameters = type.fields.map(({ name: field }) => {
    return `${RESERVED.has(field) ? `${field}_` : field}: ${own}['${field}']`;
  });
  return parameters.join(', ');
}

function resultOf(method: string, result: Named | null, nameOf: (type: string) => string): string {
  if (result === null) return 'Buffer';
  const own = nameOf(result[0]);
  return isNamedAfter(method, 'Result', result[0]) ? `${own}[0]` : own;
}

/** Words of TypeScript that are names in Rust and C. */
const RESERVED = new Set(
  (
    'arguments await break case catch class const continue debugger default delete do else enum ' +
    'eval export extends false finally for function if implements import in instanceof interface ' +
    'let new null package private protected public return static super switch this throw true ' +
    'try typeof var void while with yield'
  ).split(' '),
);
