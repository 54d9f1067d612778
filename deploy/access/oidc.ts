/** OpenID Connect: bearer tokens (JWT) of an issuer, verified by jose against its published keys. */
import {
  createRemoteJWKSet,
  errors,
  type FlattenedJWSInput,
  type JWTHeaderParameters,
  jwtVerify,
} from 'jose';
import type { Clock, Log } from '#schemas';
import { type ClaimMap, viewerOfClaims } from '../../query/access/claims.ts';
import type { Viewer } from '../../query/access/viewer.ts';
import { QueryError } from '../../query/errors.ts';

export interface OidcSettings {
  /** As it stands in the claim `iss`, to the letter. */
  readonly issuer: string;
  readonly audience: string;
  /** Where its keys are; absent: as its discovery document says. */
  readonly jwksUrl?: string;
  readonly claims: ClaimMap;
}

/** Signatures of a key pair only: with HMAC whoever can verify could also sign. */
const ALGORITHMS = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  ...['ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'],
];
const CLOCK_TOLERANCE_SECONDS = 30;
/** Keys are fetched again when they are this old, and for a key that is not among them … */
const KEYS_MS_MAX = 600_000;
/** … but not more often than this. */
const KEYS_AGAIN_MS = 30_000;
const FETCH_MS_MAX = 5_000;

interface Deps {
  readonly clock: Clock;
  readonly log: Log;
}

const away = (issuer: string, cause: unknown) =>
  new QueryError('IDENTITY_UNAVAILABLE', `the keys of ${issuer} can’t be had now: try again`, {
    cause,
  });
const refused = (why: string) => new QueryError('UNAUTHENTICATED', `the token is not good: ${why}`);

async function discover(issuer: string): Promise<URL> {
  const at = `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`;
  const response = await fetch(at, { signal: AbortSignal.timeout(FETCH_MS_MAX) });
  if (!response.ok) throw new Error(`${at} answers ${response.status}`);
  const found = (await response.json()) as { issuer?: unknown; jwks_uri?: unknown };
  if (found.issuer !== issuer) throw new Error(`${at} names another issuer`);
  if (typeof found.jwks_uri !== 'string' || !URL.canParse(found.jwks_uri))
    throw new Error(`${at} has no jwks_uri`);
  return new URL(found.jwks_uri);
}

/** Makes the check of one issuer's tokens. Rejects with UNAUTHENTICATED or IDENTITY_UNAVAILABLE. */
export function createOidc(
  settings: OidcSettings,
  { clock, log }: Deps,
): (token: string) => Promise<Viewer> {
  const { issuer, audience, jwksUrl } = settings;
  let keys: ReturnType<typeof createRemoteJWKSet> | undefined;

  async function keyFor(header: JWTHeaderParameters, token: FlattenedJWSInput) {
    const url = jwksUrl === undefined ? await discoverOnce() : new URL(jwksUrl);
    keys ??= createRemoteJWKSet(url, {
      cacheMaxAge: KEYS_MS_MAX,
      cooldownDuration: KEYS_AGAIN_MS,
      timeoutDuration: FETCH_MS_MAX,
    });
    return keys(header, token);
  }

  let discovered: Promise<URL> | undefined;
  /** One that failed is tried again by the next request. */
  function discoverOnce(): Promise<URL> {
    discovered ??= discover(issuer).catch((error) => {
      discovered = undefined;
      throw error;
    });
    return discovered;
  }

  return async (token) => {
    const nowMs = Number(clock.wallNs() / 1_000_000n);
    let claims: Record<string, unknown>;
    try {
      const { payload } = await jwtVerify(token, keyFor, {
        issuer,
        audience,
        algorithms: ALGORITHMS,
        clockTolerance: CLOCK_TOLERANCE_SECONDS,
        currentDate: new Date(nowMs),
        requiredClaims: ['exp', 'sub'],
      });
      claims = payload;
    } catch (error) {
      if (error instanceof errors.JWKSTimeout || !(error instanceof errors.JOSEError)) {
        log.warn('access.issuer_away', { issuer, error: (error as Error).message });
        throw away(issuer, error);
      }
      throw refused(error.code.replace(/^ERR_/, ''));
    }
    const viewer = viewerOfClaims(claims, settings.claims, issuer);
    if (typeof viewer === 'string') throw refused(viewer);
    return viewer;
  };
}
