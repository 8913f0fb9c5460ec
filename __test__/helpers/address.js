/** Addresses for child processes, which cannot import the TypeScript helpers. */

/** An address to listen at that no other process uses; of tcp, only the listener knows the port. */
export function addressFor(scheme, name) {
  if (scheme === 'tcp' || scheme === 'tls') return `${scheme}://127.0.0.1:0`;
  return scheme === 'uds' ? `uds://@${name}-${process.pid}` : `${scheme}://${name}-${process.pid}`;
}
