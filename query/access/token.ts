/**
 * API tokens: `tt_` and 256 random bits in base64url. What is kept of one is its SHA-256; with so
 * much randomness a slow hash would guard nothing more. Pure.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { Random } from '#schemas';
import type { Role, Scope, Viewer } from './viewer.ts';

export const TOKEN_PREFIX = 'tt_';
const SECRET_BYTES = 32;
const ID_BYTES = 6;
const TOKEN = /^tt_[A-Za-z0-9_-]{43}$/;
const BEARER = /^Bearer +(\S+)$/i;

/** What is kept of a token. Times are RFC 3339 in UTC. */
export interface TokenRecord {
  readonly id: string;
  /** What it is for; stands as the actor of what is done with it. */
  readonly name: string;
  /** Of the whole token, lower-case hex. */
  readonly sha256: string;
  readonly tenant: string;
  readonly roles: readonly Role[];
  readonly scopes: readonly Scope[];
  readonly created: string;
  readonly expires?: string;
  readonly revoked?: string;
}

/** What stands behind `Bearer` in the header `Authorization`; undefined for anything else. */
export const bearerOf = (authorization: string | undefined): string | undefined =>
  BEARER.exec(authorization ?? '')?.[1];

export const isToken = (text: string): boolean => TOKEN.test(text);

const digestOf = (token: string): Buffer => createHash('sha256').update(token).digest();

/** A new token and what to keep of it. */
export function createToken(
  random: Random,
  record: Omit<TokenRecord, 'id' | 'sha256'>,
): { readonly token: string; readonly record: TokenRecord } {
  const token = `${TOKEN_PREFIX}${Buffer.from(random.bytes(SECRET_BYTES)).toString('base64url')}`;
  const id = Buffer.from(random.bytes(ID_BYTES)).toString('hex');
  return { token, record: { id, ...record, sha256: digestOf(token).toString('hex') } };
}

/**
 * The record of a token that is good at `nowMs`. All records are compared, each in constant time, so
 * that how long it takes tells nothing.
 */
export function findToken(
  records: readonly TokenRecord[],
  token: string,
  nowMs: number,
): TokenRecord | undefined {
  const digest = digestOf(token);
  let found: TokenRecord | undefined;
  for (const record of records) {
    const kept = Buffer.from(record.sha256, 'hex');
    const same = kept.length === digest.length && timingSafeEqual(kept, digest);
    if (same) found = record;
  }
  if (found === undefined || found.revoked !== undefined) return undefined;
  return found.expires === undefined || Date.parse(found.expires) > nowMs ? found : undefined;
}

/** Whom a token stands for. */
export const viewerOf = ({ id, name, tenant, roles, scopes }: TokenRecord): Viewer => ({
  id: name,
  tenant,
  roles: new Set(roles),
  scopes: new Set(scopes),
  by: `token ${id}`,
});
