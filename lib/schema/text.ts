/** UTF-8, with a short way for the short and plain texts that most texts in messages are. */

/** Bytes that a text takes. */
export function utf8Bytes(text: string): number {
  return isShortAscii(text) ? text.length : Buffer.byteLength(text);
}

/** Writes a text of `length` bytes. */
export function writeUtf8(target: Uint8Array, at: number, text: string, length: number): void {
  if (length === text.length && length <= SHORT) {
    for (let i = 0; i < length; i++) target[at + i] = text.charCodeAt(i);
  } else {
    ENCODER.encodeInto(text, target.subarray(at, at + length));
  }
}

/** The text in `length` bytes; throws if they are not UTF-8. */
export function readUtf8(bytes: Uint8Array, at: number, length: number): string {
  if (length <= SHORT) {
    let text = '';
    let i = 0;
    for (; i < length; i++) {
      const byte = bytes[at + i] as number;
      if (byte >= 0x80) break;
      text += ASCII[byte] as string;
    }
    if (i === length) return text;
  }
  return DECODER.decode(bytes.subarray(at, at + length));
}

function isShortAscii(text: string): boolean {
  if (text.length > SHORT) return false;
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) >= 0x80) return false;
  return true;
}

/** Up to here a loop is faster than a call. */
const SHORT = 24;

const ASCII: readonly string[] = Array.from({ length: 0x80 }, (_, i) => String.fromCharCode(i));
const ENCODER = new TextEncoder();
const DECODER = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
