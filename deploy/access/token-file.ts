/**
 * The file of API tokens: JSON, its owner's alone, replaced whole by each change. In a cluster it is
 * mounted; it is read again when it is another file or has another time or size.
 */
import fs from 'node:fs';
import path from 'node:path';
import type { Log } from '#schemas';
import type { TokenRecord } from '../../query/access/token.ts';
import { ROLES, SCOPES } from '../../query/access/viewer.ts';
import { lockDir } from '../process/lock.ts';

const FORMAT = 'telltale-tokens/1';
const NAME = /^[A-Za-z0-9][A-Za-z0-9 ._@:/-]{0,99}$/;
export const TENANT = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/** What is wrong with a file of tokens, or with what is to be put into it. */
export class TokenFileError extends Error {
  override readonly name = 'TokenFileError';
}

const isTime = (value: unknown): boolean =>
  typeof value === 'string' && !Number.isNaN(Date.parse(value));
const isOneOf = (values: unknown, of: readonly string[]): boolean =>
  Array.isArray(values) && values.every((value) => of.includes(value as string));

/** What is wrong with a record, in words; undefined where nothing is. */
export function tokenFault(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null) return 'not an object';
  const one = value as Readonly<Record<string, unknown>>;
  if (typeof one.id !== 'string' || !/^[0-9a-f]{12}$/.test(one.id)) return 'id: 12 hex digits';
  if (typeof one.name !== 'string' || !NAME.test(one.name))
    return 'name: 1 to 100 letters, digits, blanks and ._@:/-, a letter or digit first';
  if (typeof one.sha256 !== 'string' || !/^[0-9a-f]{64}$/.test(one.sha256))
    return 'sha256: 64 hex digits';
  if (typeof one.tenant !== 'string' || !TENANT.test(one.tenant))
    return 'tenant: 1 to 128 letters, digits and ._-';
  if (!isOneOf(one.roles, ROLES)) return `roles: of ${ROLES.join(', ')}`;
  if (!isOneOf(one.scopes, SCOPES)) return `scopes: of ${SCOPES.join(', ')}`;
  if (!isTime(one.created)) return 'created: a time';
  if (one.expires !== undefined && !isTime(one.expires)) return 'expires: a time';
  if (one.revoked !== undefined && !isTime(one.revoked)) return 'revoked: a time';
  return undefined;
}

/** The tokens of a file; none where there is no file. Throws `TokenFileError` with its place. */
export function readTokens(file: string): readonly TokenRecord[] {
  let text: string;
  try {
    text = fs.readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
  let parsed: { format?: unknown; tokens?: unknown };
  try {
    parsed = JSON.parse(text) as typeof parsed;
  } catch {
    throw new TokenFileError(`${file}: no JSON`);
  }
  if (parsed?.format !== FORMAT || !Array.isArray(parsed.tokens))
    throw new TokenFileError(`${file}: not a file of tokens (format ${FORMAT})`);
  for (const [index, record] of parsed.tokens.entries()) {
    const fault = tokenFault(record);
    if (fault !== undefined) throw new TokenFileError(`${file}: token ${index + 1}: ${fault}`);
  }
  return parsed.tokens as readonly TokenRecord[];
}

function replace(file: string, text: string): void {
  const temporary = `${file}.${process.pid}.new`;
  const fd = fs.openSync(temporary, 'w', 0o600);
  try {
    fs.writeSync(fd, text);
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
  fs.renameSync(temporary, file);
}

/** Changes the file: one process at a time, all of it or nothing. */
export function changeTokens(
  file: string,
  change: (records: readonly TokenRecord[]) => readonly TokenRecord[],
): void {
  const letGo = lockDir(path.dirname(file));
  try {
    const tokens = change(readTokens(file));
    replace(file, `${JSON.stringify({ format: FORMAT, tokens }, null, 2)}\n`);
  } finally {
    letGo();
  }
}

/**
 * The tokens of a file as they are now. A file that can't be read any more lets nobody in, and says
 * so once.
 */
export function watchTokens(file: string, log: Log): () => readonly TokenRecord[] {
  let seen = '';
  let records: readonly TokenRecord[] = [];
  const stamp = () => {
    try {
      const { ino, size, mtimeMs, mode } = fs.statSync(file);
      return `${ino} ${size} ${mtimeMs} ${mode}`;
    } catch {
      return 'none';
    }
  };
  return () => {
    const now = stamp();
    if (now === seen) return records;
    seen = now;
    try {
      records = readTokens(file);
    } catch (error) {
      records = [];
      log.error('access.tokens_unreadable', { error: (error as Error).message });
    }
    return records;
  };
}
