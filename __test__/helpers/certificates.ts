/** Certificates for specs, made by the `openssl` command when they are needed. */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A certificate and its key, in PEM. */
export interface Issued {
  readonly cert: string;
  readonly key: string;
}

/** Who signs certificates. */
export interface Authority {
  /** Its own certificate, in PEM. */
  readonly ca: string;
  issue(subject: string, extensions?: readonly string[], days?: readonly string[]): Issued;
}

/** The subjectAltName of this machine, as specs dial it. */
export const HERE = 'subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1';

/** An authority of its own. */
export function authority(name = 'Busbar test authority'): Authority {
  const folder = mkdtempSync(join(tmpdir(), 'busbar-ca-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  const at = (file: string): string => join(folder, file);
  const run = (...args: string[]): void => {
    execFileSync('openssl', args, { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
  };
  const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  run('req', '-x509', ...ec, '-keyout', 'ca.key', '-out', 'ca.pem', '-subj', `/CN=${name}`);
  let serial = 0;
  return {
    ca: readFileSync(at('ca.pem'), 'utf8'),
    issue(subject, extensions = [HERE], days = ['-days', '30']) {
      const own = `end-${++serial}`;
      writeFileSync(
        at(`${own}.cnf`),
        ['basicConstraints=critical,CA:FALSE', ...extensions].join('\n'),
      );
      run('req', ...ec, '-keyout', `${own}.key`, '-out', `${own}.csr`, '-subj', `/CN=${subject}`);
      const by = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-set_serial', String(serial)];
      const files = ['-in', `${own}.csr`, '-out', `${own}.pem`, '-extfile', `${own}.cnf`];
      run('x509', '-req', ...by, ...files, ...days);
      const read = (kind: string): string => readFileSync(at(`${own}.${kind}`), 'utf8');
      return { cert: read('pem'), key: read('key') };
    },
  };
}
