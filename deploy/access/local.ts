/**
 * The local token: made when a service starts on this machine, in memory there and in a file of its
 * owner's for the command line, and good for nothing once the service has ended.
 */
import fs from 'node:fs';
import path from 'node:path';
import type { Random } from '#schemas';
import { createToken, type TokenRecord } from '../../query/access/token.ts';

const FILE = 'local.json';

/** Where a data directory keeps what has to do with accounts. */
export const accessDir = (data: string): string => path.join(data, 'access');

export interface LocalToken {
  readonly token: string;
  readonly record: TokenRecord;
  /** Leaves the token for commands that ask `url`. */
  publish(url: string): void;
  withdraw(): void;
}

/** Makes the token of one run: all of this machine's tenant is its owner's to see. */
export function createLocalToken(dir: string, tenant: string, random: Random): LocalToken {
  const { token, record } = createToken(random, {
    name: 'local',
    tenant,
    roles: ['admin'],
    scopes: ['content'],
    created: new Date().toISOString(),
  });
  const file = path.join(dir, FILE);
  return {
    token,
    record,
    publish(url) {
      fs.mkdirSync(dir, { recursive: true, mode: 0o700 });
      const temporary = `${file}.${process.pid}.new`;
      fs.writeFileSync(temporary, JSON.stringify({ url, token }), { mode: 0o600 });
      fs.renameSync(temporary, file);
    },
    withdraw() {
      fs.rmSync(file, { force: true });
    },
  };
}

/** The token that a service on `url` left in a data directory; undefined where there is none. */
export function localTokenFor(data: string, url: URL): string | undefined {
  try {
    const text = fs.readFileSync(path.join(accessDir(data), FILE), 'utf8');
    const found = JSON.parse(text) as { url?: unknown; token?: unknown };
    const same = typeof found.url === 'string' && new URL(found.url).origin === url.origin;
    return same && typeof found.token === 'string' ? found.token : undefined;
  } catch {
    return undefined;
  }
}
