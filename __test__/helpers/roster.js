/** The codec of what the mapped files of tests hold. */
import { compile } from '../../index.js';

const fields = [
  { name: 'version', kind: 'u32' },
  { name: 'names', kind: 'vec', elem: { kind: 'string' } },
];

export const rosterCodec = compile({
  abi: 1,
  format: 'rkyv0.8/le/aligned/p32',
  root: 'game.Roster',
  types: { 'game.Roster': { kind: 'struct', fields } },
});
