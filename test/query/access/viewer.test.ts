/** Tokens, claims and operations: pure, so each is tried alone. */
import fc from 'fast-check';
import { parse } from 'graphql';
import { describe, expect, it } from 'vitest';
import { type ClaimMap, viewerOfClaims } from '../../../query/access/claims.ts';
import { caseworkSession } from '../../../query/access/journal.ts';
import { describeOperation } from '../../../query/access/operation.ts';
import { createSlots } from '../../../query/access/slots.ts';
import {
  bearerOf,
  createToken,
  findToken,
  isToken,
  type TokenRecord,
  viewerOf,
} from '../../../query/access/token.ts';
import { hasRole, needContent, needRole } from '../../../query/access/viewer.ts';
import { fakeRandom } from '../../fakes/ports.ts';
import { viewer } from '../access.ts';

const NOW = Date.parse('2026-06-01T00:00:00Z');
const base = {
  name: 'grafana',
  tenant: 'acme',
  roles: ['viewer'],
  scopes: [],
  created: '2026-01-01T00:00:00.000Z',
} as const;

describe('a token', () => {
  it('is found by itself alone, and what is kept does not hold it', () => {
    const random = fakeRandom();
    const made = Array.from({ length: 20 }, () => createToken(random, base));
    const records = made.map(({ record }) => record);
    for (const { token, record } of made) {
      expect(isToken(token)).toBe(true);
      expect(findToken(records, token, NOW)).toBe(record);
      expect(JSON.stringify(records)).not.toContain(token.slice(3));
    }
    expect(new Set(made.map(({ token }) => token)).size).toBe(20);
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(findToken(records, text, NOW)).toBeUndefined();
        expect(findToken(records, `tt_${text}`, NOW)).toBeUndefined();
      }),
    );
    expect(findToken(records, records[0]?.sha256 ?? '', NOW)).toBeUndefined();
  });

  it('is no good once it has expired or was revoked', () => {
    const { token, record } = createToken(fakeRandom(), base);
    const found = (more: Partial<TokenRecord>) => findToken([{ ...record, ...more }], token, NOW);
    expect(found({ expires: '2026-06-01T00:00:00.001Z' })).toBeDefined();
    expect(found({ expires: '2026-06-01T00:00:00.000Z' })).toBeUndefined();
    expect(found({ revoked: '2026-05-01T00:00:00.000Z' })).toBeUndefined();
    expect(viewerOf(record)).toMatchObject({
      id: 'grafana',
      tenant: 'acme',
      by: `token ${record.id}`,
    });
  });

  it('stands behind Bearer and nowhere else', () => {
    expect(bearerOf('Bearer abc')).toBe('abc');
    expect(bearerOf('bearer  abc')).toBe('abc');
    for (const text of [undefined, '', 'abc', 'Basic abc', 'Bearer', 'Bearer a b', 'xBearer a'])
      expect(bearerOf(text)).toBeUndefined();
  });
});

describe('roles', () => {
  it('have all of those below them', () => {
    const investigator = viewer('acme', ['investigator'], []);
    expect(hasRole(investigator, 'viewer')).toBe(true);
    expect(hasRole(investigator, 'admin')).toBe(false);
    expect(hasRole(viewer('acme', []), 'viewer')).toBe(false);
    expect(() => needRole(investigator, 'admin', 'this')).toThrow('this needs the role admin');
    expect(() => needContent(investigator, 'that')).toThrow('that needs the scope content');
    expect(() => needContent(viewer('acme', ['viewer']), 'that')).not.toThrow();
  });
});

describe('claims', () => {
  const map: ClaimMap = {
    nameClaim: 'sub',
    tenant: { claim: 'org.tenant' },
    rolesClaim: 'realm_access.roles',
    roles: new Map([['secops', 'investigator']]),
    content: new Set(['readers']),
  };
  const claims = {
    sub: 'kim',
    org: { tenant: 'acme' },
    realm_access: { roles: ['secops', 7, 'readers'] },
  };

  it('become a viewer', () => {
    expect(viewerOfClaims(claims, map, 'https://idp')).toEqual({
      id: 'kim',
      tenant: 'acme',
      roles: new Set(['investigator']),
      scopes: new Set(['content']),
      by: 'oidc https://idp',
    });
    const fixed = { ...map, tenant: { fixed: 'globex' } };
    expect(viewerOfClaims(claims, fixed, 'i')).toMatchObject({ tenant: 'globex' });
    const own = viewerOfClaims({ ...claims, realm_access: { roles: 'admin other' } }, map, 'i');
    expect(own).toMatchObject({ roles: new Set(['admin']), scopes: new Set() });
  });

  it('that lack a name or a tenant are none, and those without a role have none', () => {
    expect(viewerOfClaims({ ...claims, sub: '' }, map, 'i')).toMatch('no claim sub');
    expect(viewerOfClaims({ ...claims, sub: 'a\nb' }, map, 'i')).toMatch('no claim sub');
    expect(viewerOfClaims({ ...claims, org: { tenant: ['acme'] } }, map, 'i')).toMatch('no tenant');
    expect(viewerOfClaims({ sub: 'k', org: { tenant: 'a' } }, map, 'i')).toMatchObject({
      roles: new Set(),
    });
  });

  it('are never read off a prototype', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('constructor', '__proto__', 'toString', 'a.constructor.name'),
        (at) => {
          const odd = { ...map, tenant: { claim: at }, rolesClaim: at };
          expect(viewerOfClaims({ sub: 'kim', a: {} }, odd, 'i')).toMatch('no tenant');
        },
      ),
    );
  });
});

describe('what is said of an operation', () => {
  const SESSION = '0193a5e0-0000-7000-8000-00000000000a';
  const document = parse(
    `query Look($text: String, $n: Int) { session(id: "${SESSION}") { timeline(first: $n, filter: { text: $text, kinds: ["exec"] }) { nodes { id } } } }`,
  );
  const args = (policy: 'plain' | 'full', variables = { text: 'ghp_a secret', n: 7 }) =>
    JSON.parse(describeOperation(document, variables, policy).details?.arguments ?? '[]');

  it('has ids, numbers and kinds, and of other text its length', () => {
    expect(describeOperation(document, {}, 'plain')).toMatchObject({
      operation: 'graphql query Look',
      details: { fields: 'session' },
    });
    expect(args('plain')).toEqual([
      ['session.id', SESSION],
      ['timeline.first', 7],
      ['timeline.filter', { text: 'text of 12 characters', kinds: ['exec'] }],
    ]);
    expect(JSON.stringify(args('full'))).toContain('ghp_a secret');
  });

  it('never holds a text that was given, whatever it is', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[!-~]{12,60}$/), (text) => {
        const said = describeOperation(document, { text, n: 1 }, 'plain');
        if (!/^[0-9a-f-]+$/.test(text))
          expect(JSON.stringify(said)).not.toContain(JSON.stringify(text));
      }),
    );
  });
});

describe('slots', () => {
  it('hold so many of each, and let go once', () => {
    const slots = createSlots(2);
    const first = slots.take('a');
    expect(slots.take('a')).toBeDefined();
    expect(slots.take('a')).toBeUndefined();
    expect(slots.take('b')).toBeDefined();
    first?.();
    first?.();
    expect(slots.take('a')).toBeDefined();
    expect(slots.take('a')).toBeUndefined();
    expect(slots.held).toBe(3);
  });
});

describe('the casework session of a tenant', () => {
  it('is one UUID of version 8, another for each tenant', () => {
    const pattern = /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
    expect(caseworkSession('acme')).toMatch(pattern);
    expect(caseworkSession('acme')).toBe(caseworkSession('acme'));
    expect(caseworkSession('acme')).not.toBe(caseworkSession('acmf'));
  });
});
