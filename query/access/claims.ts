/** A verified OpenID Connect token's claims -> a viewer. Pure. */
import { ROLES, type Role, type Scope, type Viewer } from './viewer.ts';

export interface ClaimMap {
  /** The claim that names the person: one that its issuer never gives to another. */
  readonly nameClaim: string;
  /** The tenant of all, or the claim that holds it. */
  readonly tenant: { readonly fixed: string } | { readonly claim: string };
  /** Where groups or roles stand; a dot goes into an object: `realm_access.roles`. */
  readonly rolesClaim: string;
  /** Which of those give which role. A value that is the role's own name needs no entry. */
  readonly roles: ReadonlyMap<string, Role>;
  /** Those that give the scope content. */
  readonly content: ReadonlySet<string>;
}

/** Values of the roles' claim that are looked at. */
const VALUES_MAX = 1000;
const NAME = /^[^\p{Cc}]{1,200}$/u;

function claimAt(claims: Readonly<Record<string, unknown>>, path: string): unknown {
  if (Object.hasOwn(claims, path)) return claims[path];
  let at: unknown = claims;
  for (const name of path.split('.')) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, name)) return undefined;
    at = (at as Readonly<Record<string, unknown>>)[name];
  }
  return at;
}

const nameAt = (claims: Readonly<Record<string, unknown>>, path: string): string | undefined => {
  const value = claimAt(claims, path);
  return typeof value === 'string' && NAME.test(value) ? value : undefined;
};

/**
 * The viewer, or in words what is missing. Whoever has no role is a viewer without one, who is
 * refused everything.
 */
export function viewerOfClaims(
  claims: Readonly<Record<string, unknown>>,
  map: ClaimMap,
  issuer: string,
): Viewer | string {
  const id = nameAt(claims, map.nameClaim);
  if (id === undefined) return `the token has no claim ${map.nameClaim}`;
  const tenant = 'fixed' in map.tenant ? map.tenant.fixed : nameAt(claims, map.tenant.claim);
  if (tenant === undefined) return 'the token names no tenant';
  const given = claimAt(claims, map.rolesClaim);
  const list = typeof given === 'string' ? given.split(' ') : Array.isArray(given) ? given : [];
  const values = list.slice(0, VALUES_MAX).filter((value) => typeof value === 'string');
  const own = (value: string) => ROLES.find((role) => role === value);
  const roles = new Set(values.flatMap((value) => map.roles.get(value) ?? own(value) ?? []));
  const scopes = new Set<Scope>(values.some((value) => map.content.has(value)) ? ['content'] : []);
  return { id, tenant, roles, scopes, by: `oidc ${issuer}` };
}
