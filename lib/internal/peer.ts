/** Who is at the other end of a pipe: what the core says, for users. */

import { X509Certificate } from 'node:crypto';

import { fromNative, type BusbarError } from '../errors.js';
import type { TlsVersion } from '../tls.js';
import type { NativePeer } from './binding.js';

/** Who is at the other end. What is known depends on the scheme of the address. */
export interface Peer {
  /** shm, uds: its process id, as this process sees it. */
  readonly pid?: number;
  /** shm, uds: the user it runs as. */
  readonly uid?: number;
  /** shm, uds: the primary group of that user's process. */
  readonly gid?: number;
  /** tcp, tls: its IP address. */
  readonly remoteAddress?: string;
  /** tcp, tls: its port. */
  readonly remotePort?: number;
  /** tls: the version that was agreed on. */
  readonly protocol?: TlsVersion;
  /** tls: its certificate, with `subject`, `subjectAltName`, `fingerprint256` and more. */
  readonly certificate?: X509Certificate;
  /** tls: whether it has shown a certificate that this end trusts. */
  readonly authorized?: boolean;
  /** tls: why not, where it was let in all the same. */
  readonly authorizationError?: BusbarError;
}

/** What users see of a peer. */
export function peerOf(native: NativePeer): Peer {
  const { certificate: der, code, message, ...rest } = native;
  if (rest.protocol === undefined) return rest;
  const error = code === undefined ? undefined : fromNative({ code, message: message ?? '' });
  return {
    ...rest,
    ...(der && { certificate: new X509Certificate(der) }),
    authorized: der !== undefined && error === undefined,
    ...(error && { authorizationError: error }),
  };
}
