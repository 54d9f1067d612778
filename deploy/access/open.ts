/** Puts together who may ask: tokens, an issuer of accounts, and the journal of what was asked. */
import fs from 'node:fs';
import path from 'node:path';
import type { Clock, Log, Meter, Random, Store } from '#schemas';
import { createRedactor } from '../../collector/redact.ts';
import { ShipError, type Transport } from '../../collector/ship.ts';
import { createFrameIntake } from '../../ingest/http.ts';
import { createIngest } from '../../ingest/loop.ts';
import { bearerOf, findToken, isToken, viewerOf } from '../../query/access/token.ts';
import type { Authenticate } from '../../query/access/viewer.ts';
import { QueryError } from '../../query/errors.ts';
import type { QueryDeps } from '../../query/server.ts';
import { redactionKey } from '../redaction.ts';
import { createJournals } from './journal.ts';
import { createLocalToken, type LocalToken } from './local.ts';
import { createOidc } from './oidc.ts';
import type { AccessSettings } from './settings.ts';
import { watchTokens } from './token-file.ts';

interface Deps {
  readonly store: Store;
  readonly log: Log;
  readonly meter: Meter;
  readonly clock: Clock;
  readonly random: Random;
}

export interface AccessOptions extends Partial<AccessSettings> {
  /** A folder for tokens and the journal's spool; the data directory's `access`. */
  readonly dir: string;
  /** The tenant of this machine: the local token's, and of refusals that belong to nobody. */
  readonly tenant: string;
  /** Whether only this machine can connect: then there is a local token. */
  readonly loopback: boolean;
}

export interface OpenAccess {
  /** What `registerQuery` takes. */
  readonly deps: QueryDeps;
  /** The token of this run; undefined beyond loopback. */
  readonly token: string | undefined;
  /** Leaves the token for the command line, for a service at `url`. */
  publish(url: string): void;
  /** Closes the journal and ships it; the service must have stopped before. */
  stop(): Promise<void>;
}

export const tokensFile = (dir: string): string => path.join(dir, 'tokens.json');

/**
 * The way of the journal into the store: the same frames, numbers and marks as a collector's, without
 * a network between. No rule is run over it, so that looking at alerts raises none.
 */
export function directTransport(deps: Deps): Transport {
  const take = createFrameIntake(createIngest(deps), deps.clock);
  return {
    name: 'the store',
    connect: async () => {},
    close: async () => {},
    send: async (_session, frame) => {
      await take(frame).catch((cause: Error) => {
        throw new ShipError(`the store does not take it: ${cause.message}`, { cause });
      });
    },
  };
}

function authenticator(
  options: AccessOptions,
  local: LocalToken | undefined,
  { clock, log }: Deps,
): Authenticate {
  const kept = watchTokens(options.tokens ?? tokensFile(options.dir), log);
  const oidc = options.oidc === undefined ? undefined : createOidc(options.oidc, { clock, log });
  return async (authorization) => {
    const bearer = bearerOf(authorization);
    if (bearer === undefined)
      throw new QueryError('UNAUTHENTICATED', 'send a token: Authorization: Bearer TOKEN');
    if (isToken(bearer)) {
      const records = [...(local === undefined ? [] : [local.record]), ...kept()];
      const found = findToken(records, bearer, Number(clock.wallNs() / 1_000_000n));
      if (found !== undefined) return viewerOf(found);
    } else if (oidc !== undefined) return oidc(bearer);
    throw new QueryError('UNAUTHENTICATED', 'the token is unknown, revoked or has expired');
  };
}

/** Opens the journal and the ways to tell who asks. */
export function openAccess(options: AccessOptions, deps: Deps): OpenAccess {
  const { dir, tenant, loopback } = options;
  const local = loopback ? createLocalToken(dir, tenant, deps.random) : undefined;
  const spool = path.join(dir, 'journal');
  fs.mkdirSync(spool, { recursive: true, mode: 0o700 });
  const redact = createRedactor({ key: redactionKey(spool), content: 'full' });
  const transport = directTransport(deps);
  const journal = createJournals({ ...deps, dir: spool, transport, redact });
  journal.start();
  return {
    deps: {
      ...deps,
      tenant,
      journals: journal.journals,
      authenticate: authenticator(options, local, deps),
      loopbackOnly: loopback,
      introspection: options.introspection ?? true,
      explorer: options.explorer ?? false,
      arguments: options.arguments ?? 'plain',
      ...(options.requestsPerMinute === undefined
        ? {}
        : { requestsPerMinute: options.requestsPerMinute }),
    },
    token: local?.token,
    publish: (url) => local?.publish(url),
    async stop() {
      local?.withdraw();
      await journal.stop();
    },
  };
}
