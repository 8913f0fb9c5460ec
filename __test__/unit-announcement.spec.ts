/** Announcements: their bytes, and what is refused. */

import { readFileSync } from 'node:fs';

import test from 'ava';

import {
  ANNOUNCEMENTS,
  decodeAnnouncement,
  encodeAnnouncement,
} from '../lib/internal/announcement.js';

const GOLDEN = '01 00 07 00 00 00 00 00 22 8d 53 aa b1 54 0e 80 7b 7d';
const ANNOUNCEMENT = { channel: 7, hash: 0x800e54b1aa538d22n, descriptor: '{}' };

test('[T18] an announcement has the documented bytes', (t) => {
  const bytes = Buffer.from(GOLDEN.replaceAll(' ', ''), 'hex');
  t.deepEqual(encodeAnnouncement(ANNOUNCEMENT), bytes);
  t.deepEqual(decodeAnnouncement(bytes), ANNOUNCEMENT);
  const document = new URL('../docs/formats/announcement.md', import.meta.url);
  t.true(readFileSync(document, 'utf8').includes(`\`${GOLDEN}\``));
});

test('[T18 D45] announcements of unknown kinds are passed over, malformed ones refused', (t) => {
  const bytes = encodeAnnouncement(ANNOUNCEMENT);
  t.is(decodeAnnouncement(Buffer.from([2])), null);
  const broken = [
    Buffer.alloc(0),
    bytes.subarray(0, 15),
    patched(bytes, 1),
    patched(bytes, 5),
    encodeAnnouncement({ ...ANNOUNCEMENT, channel: ANNOUNCEMENTS }),
  ];
  for (const each of broken) t.throws(() => decodeAnnouncement(each), { code: 'ERR_PROTOCOL' });
});

function patched(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[at] = 1;
  return copy;
}
