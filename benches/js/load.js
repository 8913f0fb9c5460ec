// @ts-check
/**
 * Other work for an event loop to serve while latency is measured: a timer every millisecond that
 * hashes a little and asks the file system something, as a server's housekeeping would.
 */
import { createHash } from 'node:crypto';
import { stat } from 'node:fs';
import { fileURLToPath } from 'node:url';

/**
 * Starts the work on the calling thread.
 *
 * @returns {() => void} stops it
 */
export function startLoad() {
  const file = fileURLToPath(import.meta.url);
  const block = Buffer.alloc(256, 1);
  const timer = setInterval(() => {
    createHash('sha1').update(block).digest();
    stat(file, (error) => {
      if (error) throw error;
    });
  }, 1);
  return () => clearInterval(timer);
}
