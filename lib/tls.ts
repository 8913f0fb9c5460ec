/** What an end of `tls://` shows and trusts: the options, their check, what the core is given. */

import { readFileSync } from 'node:fs';
import * as nodeTls from 'node:tls';

import { BusbarError, invalidArgument, show } from './errors.js';
import type { NativeTlsOptions } from './internal/binding.js';
import { checkFlag, checkObject, unknownOption } from './internal/checks.js';

/** Certificates or a key in PEM: the text itself, or where the file is. */
export type Pem = string | URL | Uint8Array;

/**
 * Options of an end of `tls://`, with the names and meanings of Node's `tls` module. A listener
 * needs `cert` and `key`; so does a dialer whose listener asks for a certificate (mutual TLS).
 *
 * A string that has no `-----BEGIN` in it is the path of a file, which is read at once.
 *
 * @example
 * ```ts
 * import { dial, listen } from 'busbar';
 *
 * declare const cert: string, key: string, ca: string; // PEM, or paths of files
 *
 * await using listener = await listen('tls://127.0.0.1:0', { tls: { cert, key } });
 * const [server, client] = await Promise.all([
 *   listener.accept(),
 *   dial(listener.address, { tls: { ca } }),
 * ]);
 * console.log(client.peer?.certificate?.subject);
 * await server.close();
 * await client.close();
 * ```
 */
export interface TlsOptions {
  /** This end's certificate, followed by those of its issuers. */
  readonly cert?: Pem;
  /** The private key of `cert`, without a passphrase. */
  readonly key?: Pem;
  /**
   * The authorities that the peer's certificate is checked against. Dialing: by default those that
   * Node trusts. Listening: needed if dialers must show a certificate.
   */
  readonly ca?: Pem | readonly Pem[];
  /** Dialing: the name that the listener's certificate must be for (SNI). The host dialed. */
  readonly servername?: string;
  /** Listening: whether dialers are asked for a certificate. `false`. */
  readonly requestCert?: boolean;
  /**
   * Whether peers are turned away whose certificate is not trusted, or who have none though asked.
   * With `false`, `authorize` and `pipe.peer.authorizationError` say what is wrong. `true`.
   */
  readonly rejectUnauthorized?: boolean;
  /** The oldest version that is spoken. `'TLSv1.2'`. */
  readonly minVersion?: TlsVersion;
}

/** A version of TLS. */
export type TlsVersion = 'TLSv1.2' | 'TLSv1.3';

/** Checks the option `tls` of a listener, and reads its files. */
export function listenerTls(options: unknown): NativeTlsOptions {
  return settingsOf(checked(options));
}

/** Checks the option `tls` of a dialer, and reads its files. */
export function dialerTls(options: unknown): NativeTlsOptions {
  const settings = settingsOf(checked(options));
  if (settings.ca === undefined) settings.ca = standardAuthorities();
  return settings;
}

function checked(options: unknown): TlsOptions {
  for (const name of Object.keys(checkObject(options as object))) {
    if (name === 'passphrase') {
      const message = 'tls.passphrase is not supported: decrypt the key first, for instance with';
      throw new BusbarError('ERR_NOT_SUPPORTED', `${message} \`openssl pkey -in key.pem\``);
    }
    if (!NAMES.includes(name)) throw unknownOption(`tls.${name}`, NAMES);
  }
  return options as TlsOptions;
}

function settingsOf(options: TlsOptions): NativeTlsOptions {
  const { requestCert = false, rejectUnauthorized = true, minVersion = VERSIONS[0] } = options;
  checkFlag('tls.requestCert', requestCert);
  checkFlag('tls.rejectUnauthorized', rejectUnauthorized);
  if (!VERSIONS.includes(minVersion as TlsVersion)) {
    const list = VERSIONS.map((version) => `'${version}'`).join(', ');
    throw invalidArgument(`tls.minVersion is ${show(minVersion)}; it must be one of ${list}`);
  }
  const { servername } = options;
  if (servername !== undefined && (typeof servername !== 'string' || servername === '')) {
    throw invalidArgument(`tls.servername is ${show(servername)}; it must be the name of a host`);
  }
  return {
    cert: pem('tls.cert', options.cert),
    key: pem('tls.key', options.key),
    ca: authorities(options.ca),
    servername: servername ?? '',
    requestCert: Number(requestCert),
    rejectUnauthorized: Number(rejectUnauthorized),
    minVersion: VERSIONS.indexOf(minVersion as TlsVersion),
  };
}

function authorities(ca: TlsOptions['ca']): Uint8Array | undefined {
  if (!Array.isArray(ca)) return pem('tls.ca', ca as Pem | undefined);
  const parts = (ca as readonly Pem[]).flatMap((one) => [pem('tls.ca', one) ?? EMPTY, NEWLINE]);
  return Buffer.concat(parts);
}

/** What Node trusts, which depends on its command line, its environment and its version. */
function standardAuthorities(): Uint8Array {
  // Not every version that this package runs on has it.
  const { getCACertificates } = nodeTls as { getCACertificates?: (of: 'default') => string[] };
  const all = getCACertificates?.('default') ?? nodeTls.rootCertificates;
  return Buffer.from(all.join('\n'));
}

function pem(name: string, value: unknown): Uint8Array | undefined {
  if (value === undefined) return undefined;
  if (value instanceof Uint8Array) return value;
  const isText = typeof value === 'string' && value.includes('-----BEGIN');
  if (isText) return Buffer.from(value);
  if ((typeof value !== 'string' || value === '') && !(value instanceof URL)) {
    throw invalidArgument(`${name} is ${show(value)}; it must be PEM, or the path of a file`);
  }
  try {
    return readFileSync(value);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const message = `${name} is neither PEM nor a file that can be read: ${why}`;
    throw new BusbarError('ERR_INVALID_ARGUMENT', message, { cause });
  }
}

const VERSIONS: readonly [TlsVersion, TlsVersion] = ['TLSv1.2', 'TLSv1.3'];
const EMPTY = Buffer.alloc(0);
const NEWLINE = Buffer.from('\n');
const NAMES: readonly string[] = [
  'cert',
  'key',
  'ca',
  'servername',
  'requestCert',
  'rejectUnauthorized',
  'minVersion',
];
