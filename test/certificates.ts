/**
 * Certificates for tests of TLS, made by the openssl program: two authorities, a server's certificate
 * for 127.0.0.1 and localhost, one that has expired, one for another name, and a client's.
 */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

export interface Pair {
  /** Paths of the PEM files. */
  readonly cert: string;
  readonly key: string;
}

export interface Certificates {
  readonly dir: string;
  readonly ca: string;
  /** An authority that has signed none of the others. */
  readonly otherCa: string;
  readonly server: Pair;
  readonly expired: Pair;
  readonly otherName: Pair;
  readonly client: Pair;
  remove(): void;
}

const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-noenc'];

/** Whether the program is there; `CI=true` has it. */
export function hasOpenssl(): boolean {
  try {
    execFileSync('openssl', ['version'], { stdio: 'ignore' });
    return true;
  } catch (error) {
    if (process.env.CI === 'true') throw error;
    console.warn('SKIPPED: these tests make certificates by the openssl program');
    return false;
  }
}

/** Makes them all in a folder of their own; some 0.2 s. */
export function makeCertificates(): Certificates {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-tls-'));
  const file = (name: string) => path.join(dir, name);
  const openssl = (...args: string[]) =>
    execFileSync('openssl', args, { cwd: dir, stdio: ['ignore', 'pipe', 'pipe'] });
  const authority = (name: string) => {
    openssl(
      ...['req', '-x509', ...KEY, '-keyout', `${name}.key`, '-out', `${name}.pem`],
      ...['-days', '30', '-subj', `/CN=${name}`],
    );
    return file(`${name}.pem`);
  };
  const signed = (name: string, names: string, days: number): Pair => {
    openssl(
      'req',
      '-new',
      ...KEY,
      '-keyout',
      `${name}.key`,
      '-out',
      `${name}.csr`,
      '-subj',
      '/CN=t',
    );
    fs.writeFileSync(file(`${name}.ext`), `subjectAltName=${names}\n`);
    openssl(
      ...['x509', '-req', '-in', `${name}.csr`, '-CA', 'ca.pem', '-CAkey', 'ca.key'],
      ...['-CAcreateserial', '-days', String(days), '-extfile', `${name}.ext`],
      ...['-out', `${name}.pem`],
    );
    return { cert: file(`${name}.pem`), key: file(`${name}.key`) };
  };
  const here = 'IP:127.0.0.1,DNS:localhost';
  return {
    dir,
    ca: authority('ca'),
    otherCa: authority('other'),
    server: signed('server', here, 30),
    expired: signed('expired', here, -1),
    otherName: signed('elsewhere', 'DNS:elsewhere.example', 30),
    client: signed('client', 'DNS:client.example', 30),
    remove: () => fs.rmSync(dir, { recursive: true, force: true }),
  };
}

/** Both files as text. */
export const textsOf = ({ cert, key }: Pair) => ({
  cert: fs.readFileSync(cert, 'utf8'),
  key: fs.readFileSync(key, 'utf8'),
});
