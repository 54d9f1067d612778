/**
 * Certificates, keys and passwords that settings name by file. Each is looked at when a command
 * starts, so that a wrong file is told by its name and not by a handshake that fails later.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import fs from 'node:fs';
import { UsageError } from './process/lifecycle.ts';

/** A setting and the file that it gives. */
export interface FileSetting {
  readonly name: string;
  readonly file: string;
}

/** The file's text. Throws a `UsageError` that names setting and file. */
export function readSetting({ name, file }: FileSetting): string {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch (error) {
    const why = (error as NodeJS.ErrnoException).code ?? String(error);
    throw new UsageError(`${name} ${file}: can't be read (${why})`);
  }
}

/** The secret that a file holds, without the line's end. */
export function readSecret(setting: FileSetting): string {
  const secret = readSetting(setting).replace(/\r?\n$/, '');
  if (secret !== '') return secret;
  throw new UsageError(`${setting.name} ${setting.file}: is empty`);
}

function certificateOf({ name, file }: FileSetting, pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch {
    throw new UsageError(`${name} ${file}: holds no certificate in PEM form`);
  }
}

function checkTime({ name, file }: FileSetting, { validTo }: X509Certificate): void {
  if (Date.parse(validTo) < Date.now())
    throw new UsageError(`${name} ${file}: its certificate expired on ${validTo}: renew it`);
}

/** PEM text of the authorities that a client trusts. */
export function readAuthority(setting: FileSetting): string {
  const pem = readSetting(setting);
  checkTime(setting, certificateOf(setting, pem));
  return pem;
}

/**
 * A certificate (first in its file, then those between it and its authority) and its key, as PEM
 * texts. Throws a `UsageError` where one can't be used or they don't belong together.
 */
export function readIdentity(cert: FileSetting, key: FileSetting): { cert: string; key: string } {
  const texts = { cert: readSetting(cert), key: readSetting(key) };
  const certificate = certificateOf(cert, texts.cert);
  checkTime(cert, certificate);
  let own: boolean;
  try {
    own = certificate.checkPrivateKey(createPrivateKey(texts.key));
  } catch {
    // What the library says of a key may quote it.
    throw new UsageError(`${key.name} ${key.file}: holds no private key in PEM form, unencrypted`);
  }
  if (!own) throw new UsageError(`${key.name} ${key.file}: is not the key of ${cert.file}`);
  return texts;
}

/** One setting of a pair without the other says nothing. */
export function pairOf(
  first: { readonly name: string; readonly file: string | undefined },
  second: { readonly name: string; readonly file: string | undefined },
): readonly [FileSetting, FileSetting] | undefined {
  const [a, b] = [first.file || undefined, second.file || undefined];
  if (a === undefined && b === undefined) return undefined;
  if (a === undefined) throw new UsageError(`${second.name} needs ${first.name} as well`);
  if (b === undefined) throw new UsageError(`${first.name} needs ${second.name} as well`);
  return [
    { name: first.name, file: a },
    { name: second.name, file: b },
  ];
}

/** Of services that listen, for `parseArgs`. */
export const SERVE_FLAGS = {
  'tls-cert': { type: 'string' },
  'tls-key': { type: 'string' },
} as const;

interface ServeFlags {
  readonly 'tls-cert'?: string | undefined;
  readonly 'tls-key'?: string | undefined;
}

/** What a server is made with to speak TLS; nothing where neither flag nor variable is set. */
export function serveTls(flags: ServeFlags, env: NodeJS.ProcessEnv = process.env) {
  const pair = pairOf(
    { name: '--tls-cert', file: flags['tls-cert'] ?? env.TELLTALE_TLS_CERT_FILE },
    { name: '--tls-key', file: flags['tls-key'] ?? env.TELLTALE_TLS_KEY_FILE },
  );
  return pair === undefined
    ? {}
    : { https: { ...readIdentity(...pair), minVersion: 'TLSv1.2' as const } };
}

/** TLS of a store at https://, in the words of its client: `TELLTALE_STORE_{CA,CERT,KEY}_FILE`. */
export function storeTls(env: NodeJS.ProcessEnv = process.env) {
  const ca = env.TELLTALE_STORE_CA_FILE;
  const pair = pairOf(
    { name: 'TELLTALE_STORE_CERT_FILE', file: env.TELLTALE_STORE_CERT_FILE },
    { name: 'TELLTALE_STORE_KEY_FILE', file: env.TELLTALE_STORE_KEY_FILE },
  );
  if (pair !== undefined && !ca)
    throw new UsageError('TELLTALE_STORE_CERT_FILE needs TELLTALE_STORE_CA_FILE as well');
  if (!ca) return undefined;
  const authority = readAuthority({ name: 'TELLTALE_STORE_CA_FILE', file: ca });
  const own = pair === undefined ? {} : readIdentity(...pair);
  return { ca: authority, ...own };
}
