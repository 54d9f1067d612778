/** OpenID Connect against an issuer of this test: real keys, real HTTP, keys that rotate. */
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createOidc } from '../../../deploy/access/oidc.ts';
import type { QueryError } from '../../../query/errors.ts';
import { fakeLog } from '../../fakes/ports.ts';

type Pair = Awaited<ReturnType<typeof generateKeyPair>>;
const clock = { wallNs: () => BigInt(Date.now()) * 1_000_000n } as never;
let keys: JWK[] = [];
let asked = 0;
let issuer = '';
let pair: Pair;
const server = http.createServer((request, response) => {
  response.setHeader('content-type', 'application/json');
  if (request.url?.endsWith('/.well-known/openid-configuration'))
    return response.end(JSON.stringify({ issuer, jwks_uri: `${issuer}/keys` }));
  asked++;
  return response.end(JSON.stringify({ keys }));
});

async function addKey(kid: string): Promise<Pair> {
  const made = await generateKeyPair('ES256');
  keys.push({ ...(await exportJWK(made.publicKey)), kid, alg: 'ES256', use: 'sig' });
  return made;
}

beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  pair = await addKey('one');
});
afterAll(() => server.close());

const open = (more: object = {}) =>
  createOidc(
    {
      issuer,
      audience: 'telltale',
      claims: {
        nameClaim: 'sub',
        tenant: { claim: 'tenant' },
        rolesClaim: 'groups',
        roles: new Map([['secops', 'investigator']]),
        content: new Set(['readers']),
      },
      ...more,
    },
    { clock, log: fakeLog() },
  );

interface Over {
  readonly claims?: object;
  readonly audience?: string;
  readonly issuer?: string;
  readonly expires?: string | number;
  readonly kid?: string;
  readonly key?: Parameters<SignJWT['sign']>[0];
  readonly alg?: string;
}
const sign = (over: Over = {}) =>
  new SignJWT({ tenant: 'acme', groups: ['secops', 'readers'], ...over.claims })
    .setProtectedHeader({ alg: over.alg ?? 'ES256', kid: over.kid ?? 'one' })
    .setSubject('kim')
    .setIssuer(over.issuer ?? issuer)
    .setAudience(over.audience ?? 'telltale')
    .setExpirationTime(over.expires ?? '5m')
    .sign(over.key ?? pair.privateKey);

const codeOf = (work: Promise<unknown>) =>
  work.then(
    () => 'let in',
    (error: QueryError) => error.code,
  );

describe('a token of the issuer', () => {
  it('is a viewer by its claims; keys are found by discovery and fetched once', async () => {
    const check = open();
    const before = asked;
    expect(await check(await sign())).toEqual({
      id: 'kim',
      tenant: 'acme',
      roles: new Set(['investigator']),
      scopes: new Set(['content']),
      by: `oidc ${issuer}`,
    });
    await check(await sign());
    expect(asked - before).toBe(1);
  });

  it('is refused for another audience, issuer, time, key, algorithm, or without a tenant', async () => {
    const check = open();
    const other = await generateKeyPair('ES256');
    const secret = new TextEncoder().encode('a'.repeat(64));
    const nowS = Math.floor(Date.now() / 1000);
    const bad: Over[] = [
      { audience: 'another' },
      { issuer: 'https://evil.example' },
      { expires: nowS - 60 },
      { key: other.privateKey },
      { key: secret, alg: 'HS256' },
      { claims: { tenant: undefined } },
    ];
    for (const over of bad)
      expect(await codeOf(sign(over).then(check)), JSON.stringify(over)).toBe('UNAUTHENTICATED');
    const [head = '', body = ''] = (await sign()).split('.');
    const none = Buffer.from('{"alg":"none"}').toString('base64url');
    for (const text of [`${none}.${body}.`, `${head}.${body}.`, 'x', 'a.b.c'])
      expect(await codeOf(check(text))).toBe('UNAUTHENTICATED');
    // Clocks may differ by half a minute.
    expect(await codeOf(sign({ expires: nowS - 10 }).then(check))).toBe('let in');
  });

  it('may be signed with a key that came later', async () => {
    const check = open({ jwksUrl: `${issuer}/keys` });
    const second = await addKey('two');
    expect(await codeOf(sign({ kid: 'two', key: second.privateKey }).then(check))).toBe('let in');
    keys = keys.filter(({ kid }) => kid === 'two');
    expect(await codeOf(sign({ kid: 'two', key: second.privateKey }).then(open()))).toBe('let in');
    expect(await codeOf(sign().then(open()))).toBe('UNAUTHENTICATED');
  });

  it('can’t be judged while the issuer is away, which is no fault of the caller', async () => {
    const check = open({ jwksUrl: 'http://127.0.0.1:1/keys' });
    expect(await codeOf(sign().then(check))).toBe('IDENTITY_UNAVAILABLE');
  });
});
