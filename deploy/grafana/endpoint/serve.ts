/**
 * ClickHouse's HTTP interface as far as Grafana's data source speaks it, over the gate of the query
 * service: who asks, how often, what of which tenant may be seen and what is journaled is the same as
 * for GraphQL. It answers the statements that Grafana is provisioned with, and no other.
 *
 *     POST /   Basic authorization, the password is a token; the statement is the body, or `?query=`
 *     GET /    the same
 *     GET /ping
 *
 * What else stands in the URL (settings, a database, parameters) reaches nothing.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { QueryLimits } from '#schemas';
import { createGate } from '../../../query/access/gate.ts';
import { passedOf, registerGuard } from '../../../query/access/guard.ts';
import { sha256 } from '../../../query/access/operation.ts';
import type { Authenticate } from '../../../query/access/viewer.ts';
import { isUuid } from '../../../query/cursor.ts';
import { MASKED_CODE, type QueryCode, QueryError } from '../../../query/errors.ts';
import type { QueryDeps } from '../../../query/server.ts';
import { within } from '../../../query/sql.ts';
import { FORMATS } from './format.ts';
import { createGreeter } from './hello.ts';
import { type Recognised, recognise } from './shapes.ts';

/** What one statement may cost. */
export const PANEL_LIMITS: QueryLimits = {
  timeMs: 30_000,
  memoryBytesMax: 512 * 1024 ** 2,
  rowsMax: 20_000,
};
export const ANSWER_BYTES_MAX = 16 * 1024 ** 2;
/** A panel with all that drop-downs hold picked: 500 values in three of them, each named twice. */
export const STATEMENT_BYTES_MAX = 2 * 1024 ** 2;
/** Grafana asks for each panel at once, and all who look at it share one token. */
export const REQUESTS_AT_ONCE_MAX = 64;
const VERSION_LIMITS: QueryLimits = { timeMs: 10_000, memoryBytesMax: 64 * 1024 ** 2, rowsMax: 1 };
const CLAIM_CHARACTERS_MAX = 200;
const MS_PER_SECOND = 1000;

/** ClickHouse's error numbers and their names (`src/Common/ErrorCodes.cpp`), by our codes. */
const ENGINE_CODES: Readonly<Record<QueryCode, readonly [number, string]>> = {
  BAD_USER_INPUT: [36, 'BAD_ARGUMENTS'],
  UNAUTHENTICATED: [516, 'AUTHENTICATION_FAILED'],
  FORBIDDEN: [497, 'ACCESS_DENIED'],
  NOT_FOUND: [36, 'BAD_ARGUMENTS'],
  REQUEST_TOO_LARGE: [307, 'TOO_MANY_BYTES'],
  SESSION_TOO_LARGE: [307, 'TOO_MANY_BYTES'],
  WRONG_CONTENT_TYPE: [36, 'BAD_ARGUMENTS'],
  WRONG_HOST: [497, 'ACCESS_DENIED'],
  RATE_LIMITED: [202, 'TOO_MANY_SIMULTANEOUS_QUERIES'],
  QUERY_LIMIT_REACHED: [159, 'TIMEOUT_EXCEEDED'],
  STORE_UNAVAILABLE: [210, 'NETWORK_ERROR'],
  JOURNAL_UNAVAILABLE: [243, 'NOT_ENOUGH_SPACE'],
  IDENTITY_UNAVAILABLE: [210, 'NETWORK_ERROR'],
};
const UNKNOWN = [1002, 'UNKNOWN_EXCEPTION'] as const;

/** An error as ClickHouse writes one: Grafana shows it to its user as it is. */
function engineFault(code: QueryCode | typeof MASKED_CODE, message: string) {
  const [number, name] = code === MASKED_CODE ? UNKNOWN : ENGINE_CODES[code];
  const body = `Code: ${number}. DB::Exception: ${message}. (${name})\n`;
  return { type: 'text/plain; charset=UTF-8', body };
}

const BASIC = /^Basic +([A-Za-z0-9+/]+={0,2})$/i;

/** Whoever stands behind the password of `Authorization: Basic`; the name before it says nothing. */
export const withPassword =
  (authenticate: Authenticate): Authenticate =>
  (authorization) => {
    const pair = BASIC.exec(authorization ?? '')?.[1];
    if (pair === undefined) return authenticate(undefined);
    const [, ...password] = Buffer.from(pair, 'base64').toString('utf8').split(':');
    return authenticate(`Bearer ${password.join(':')}`);
  };

/** Looked for at the end alone: a pattern over all of a long text could take long. */
const FORMAT_CLAUSE = /\s+FORMAT\s+(\w{1,40})\s*$/;
const CLAUSE_CHARACTERS_MAX = 80;

interface Asked {
  readonly text: string;
  readonly format: string;
}

type Fields = Readonly<Record<string, unknown>>;
const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');

function askedOf({ body, query }: FastifyRequest): Asked {
  const { query: inUrl, default_format: given } = query as Fields;
  const whole = textOf(body) === '' ? textOf(inUrl) : textOf(body);
  const tail = Math.max(0, whole.length - CLAUSE_CHARACTERS_MAX);
  const clause = FORMAT_CLAUSE.exec(whole.slice(tail));
  const format = clause?.[1] ?? (typeof given === 'string' ? given : 'JSONEachRow');
  if (!Object.hasOwn(FORMATS, format)) {
    const known = Object.keys(FORMATS).join(', ');
    throw new QueryError('BAD_USER_INPUT', `no such format here: ask for one of ${known}`);
  }
  return { text: whole.slice(0, clause === null ? undefined : tail + clause.index).trim(), format };
}

/**
 * Who looks, as Grafana says: its header of that name, else what its data source adds to the name of
 * its program. A claim: whoever has the token can say what they like.
 */
function claimsOf({ headers }: FastifyRequest): Readonly<Record<string, string>> {
  const named = headers['x-grafana-user'];
  const agent = /grafana_user:([^;)]{1,200})/.exec(headers['user-agent'] ?? '')?.[1];
  const user = typeof named === 'string' ? named : agent;
  if (user === undefined) return {};
  return { grafana_user: user.slice(0, CLAIM_CHARACTERS_MAX).toWellFormed() };
}

/** The values of a panel as the journal has them: times, and the session that is looked at. */
function describe({ shape, params }: Recognised): Readonly<Record<string, string>> {
  const time = (name: string, value: unknown) =>
    value === undefined ? {} : { [name]: new Date(Number(value) * MS_PER_SECOND).toISOString() };
  return {
    grafana_query: shape.of,
    ...(shape.dashboard === undefined ? {} : { grafana_dashboard: shape.dashboard }),
    ...time('from', params.from_seconds),
    ...time('to', params.to_seconds),
  };
}

/** A session that is picked is one that this access names. */
const sessionOf = ({ params }: Recognised) =>
  isUuid(String(params.picked_session)) ? { session: String(params.picked_session) } : {};

/** The time that the client waits, where that is less than what one statement may take. */
function limitsFor({ query }: FastifyRequest): QueryLimits {
  const seconds = Number((query as Fields).max_execution_time);
  const wanted = seconds > 0 ? seconds * MS_PER_SECOND : PANEL_LIMITS.timeMs;
  return { ...PANEL_LIMITS, timeMs: Math.min(PANEL_LIMITS.timeMs, wanted) };
}

async function engineVersion({ store }: Pick<QueryDeps, 'store'>): Promise<string> {
  const asked = { text: 'SELECT version() AS version', params: {} };
  const [row] = await store.query<{ readonly version: string }>(asked, VERSION_LIMITS);
  return row?.version ?? '';
}

/** Mounts the endpoint; `deps` are those of the query service, with its journal and its accounts. */
export async function registerEndpoint(app: FastifyInstance, deps: QueryDeps): Promise<void> {
  const greet = createGreeter(await engineVersion(deps));

  async function answer(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
    const { access, run } = passedOf(request);
    access.describe({ operation: 'grafana query', details: claimsOf(request) });
    const { text, format } = askedOf(request);
    const send = (bytes: Buffer) =>
      reply
        .type(FORMATS[format]?.type ?? '')
        .header('x-clickhouse-format', format)
        .header('x-clickhouse-timezone', 'UTC')
        .send(bytes);
    const greeting = greet(text, format);
    if (greeting !== undefined) {
      access.describe({ operation: 'grafana greeting' });
      return send(greeting);
    }
    const found = recognise(text);
    if (found === undefined) {
      access.describe({ details: { statement_sha256: sha256(text) } });
      const what =
        'only the statements of the dashboards that come with Telltale are answered here';
      throw new QueryError('FORBIDDEN', `${what}; ask GraphQL for anything else`);
    }
    access.describe({ details: describe(found) });
    const params = { ...found.params, ...sessionOf(found) };
    const rows = await run.rows(within(run.tenant, found.text, params), limitsFor(request));
    const bytes = (FORMATS[format] ?? FORMATS.JSONEachRow)?.write(found.shape.columns, rows);
    if (bytes === undefined || bytes.length > ANSWER_BYTES_MAX)
      throw new QueryError('QUERY_LIMIT_REACHED', 'the answer is too large: look at less time');
    return send(bytes);
  }

  app.get('/ping', (_, reply) => reply.type('text/plain').send('Ok.\n'));
  await app.register(async (scope) => {
    await registerGuard(scope, createGate(deps), deps, {
      ...deps,
      authenticate: withPassword(deps.authenticate),
      requestsAtOnce: REQUESTS_AT_ONCE_MAX,
      faultBody: engineFault,
    });
    scope.removeAllContentTypeParsers();
    const parser = { parseAs: 'string', bodyLimit: STATEMENT_BYTES_MAX } as const;
    scope.addContentTypeParser('*', parser, (_, body, done) => done(null, body));
    scope.route({ method: ['GET', 'POST'], url: '/', handler: answer });
  });
}
