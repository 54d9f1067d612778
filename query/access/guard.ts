/**
 * The guard: what stands before and behind every route of the service, as hooks of Fastify.
 *
 *     Host -> who (401) -> how often (429) -> an open access -> route -> recorded -> answer leaves
 *
 * The last hook has each answer in its hands before the first byte of it is sent, whatever route it
 * is from, so a route that records nothing can't be written.
 */
import { setMaxListeners } from 'node:events';
import { finished, type Readable } from 'node:stream';
import rateLimit from '@fastify/rate-limit';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { MASKED_CODE, type QueryCode, QueryError, STATUS } from '../errors.ts';
import type { Runner } from '../run.ts';
import type { Access, AccessOutcome } from './access.ts';
import { type Gate, type GateDeps, NOBODY } from './gate.ts';
import { createSlots } from './slots.ts';
import { type Authenticate, needRole, type Viewer } from './viewer.ts';

export interface GuardSettings {
  readonly authenticate: Authenticate;
  /** Only requests that name this machine are answered: without TLS and accounts, on loopback. */
  readonly loopbackOnly: boolean;
  /** Requests of one viewer in a minute. */
  readonly requestsPerMinute?: number;
  /** Requests that one viewer may have at work at once. */
  readonly requestsAtOnce?: number;
  /** An error as this kind of caller reads it; as JSON of ours where nothing is said. */
  readonly faultBody?: (code: FaultCode, message: string) => FaultBody;
}

export type FaultCode = QueryCode | typeof MASKED_CODE;
export interface FaultBody {
  readonly type: string;
  readonly body: string;
}

export const REQUESTS_PER_MINUTE = 1200;
/** Requests that one viewer may have at work at once; others wait for none of them. */
export const REQUESTS_AT_ONCE_MAX = 16;
/** Requests in a minute from one address that show no right to be here. */
export const REFUSALS_PER_MINUTE = 60;
const WINDOW_MS = 60_000;
const JSON_TYPE = 'application/json; charset=utf-8';

const LOOPBACK_NAMES: ReadonlySet<string> = new Set(['localhost', '127.0.0.1', '[::1]']);

/** Whether a Host header names this machine itself; the port does not matter. */
export function isLoopbackHost(host: string | undefined): boolean {
  const name = /^(\[[0-9a-fA-F:]+\]|[^:]+)(?::\d{1,5})?$/.exec(host ?? '')?.[1];
  return name !== undefined && LOOPBACK_NAMES.has(name.toLowerCase());
}

/** One request's own: what it may read with, and how it went. */
export interface Passed {
  readonly access: Access;
  readonly viewer: Viewer;
  readonly run: Runner;
  readonly signal: AbortSignal;
  /** Set by a route whose answer tells of a failure under status 200, as GraphQL's does. */
  outcome?: { readonly outcome: AccessOutcome; readonly reason: string };
  /** Set when its answer leaves in pieces: the end of those ends the access. */
  inPieces?: boolean;
  /** Called once the request is over, however it ended. */
  readonly after: (() => void)[];
}

const passed = new WeakMap<FastifyRequest, Passed>();

/** What the guard let a request through with. Throws where it did not. */
export function passedOf(request: FastifyRequest): Passed {
  const found = passed.get(request);
  if (found === undefined) throw new Error('a route that the guard does not stand before');
  return found;
}

const keyOf = ({ tenant, id, by }: Viewer) => JSON.stringify([tenant, id, by]);

/** Aborted when the caller goes away before it is answered. */
function signalOf(request: FastifyRequest, reply: FastifyReply): AbortSignal {
  const abort = new AbortController();
  // One listener a statement, and how many statements a request may run is bounded elsewhere.
  setMaxListeners(0, abort.signal);
  request.raw.once('close', () => {
    if (!reply.raw.writableEnded && request.raw.destroyed && reply.raw.destroyed) abort.abort();
  });
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) abort.abort();
  });
  return abort.signal;
}

const isStream = (payload: unknown): payload is Readable =>
  typeof (payload as Readable | undefined)?.pipe === 'function';

/** The code of an error that the answer tells of. */
const codes = new WeakMap<FastifyReply, string>();
const codeOf = (reply: FastifyReply): string | undefined => codes.get(reply);

/** The outcome of an answer: as its route says, or by its status. */
function outcomeOf(reply: FastifyReply, told: Passed['outcome']) {
  if (told !== undefined) return told;
  const { statusCode } = reply;
  if (statusCode < 400) return { outcome: 'success' as const, reason: undefined };
  const denied = statusCode === STATUS.FORBIDDEN || statusCode === STATUS.RATE_LIMITED;
  const reason = codeOf(reply) ?? `HTTP ${statusCode}`;
  return { outcome: denied ? ('denied' as const) : ('failure' as const), reason };
}

type Deps = Pick<GateDeps, 'log' | 'meter'> & Pick<GuardSettings, 'faultBody'>;

/** GraphQL's form on its route, ours on all others. */
function jsonFault(request: FastifyRequest, code: FaultCode, message: string): FaultBody {
  const graphql = request.routeOptions.url === '/graphql';
  const body = graphql
    ? { errors: [{ message, extensions: { code } }] }
    : { error: { code, message } };
  return { type: JSON_TYPE, body: JSON.stringify(body) };
}

/** An error as the caller may read it. */
function answerFault(
  { log, meter, faultBody }: Deps,
  error: unknown,
  request: FastifyRequest,
): FaultBody & { readonly status: number; readonly code: FaultCode } {
  const known = error instanceof QueryError;
  const asked = error as { statusCode?: number; message?: string };
  const client = !known && (asked.statusCode ?? 500) < 500;
  if (!known && !client) {
    meter.count('telltale.query.errors', 1);
    log.error('query.failed', { error: error instanceof Error ? error.message : String(error) });
  }
  const status = known ? STATUS[error.code] : client ? (asked.statusCode as number) : 500;
  const code = known ? error.code : client ? 'BAD_USER_INPUT' : MASKED_CODE;
  const message = known || client ? String(asked.message) : 'Unexpected error.';
  const shown = faultBody?.(code, message) ?? jsonFault(request, code, message);
  return { status, code, ...shown };
}

/** Puts the guard before all routes that are mounted on `scope` after it. */
export async function registerGuard(
  scope: FastifyInstance,
  gate: Gate,
  deps: Deps,
  settings: GuardSettings,
): Promise<void> {
  const { log, meter } = deps;
  const faults =
    settings.faultBody === undefined ? deps : { ...deps, faultBody: settings.faultBody };
  const atOnce = settings.requestsAtOnce ?? REQUESTS_AT_ONCE_MAX;
  const requests = createSlots(atOnce);
  const viewers = new WeakMap<FastifyRequest, Viewer>();
  await scope.register(rateLimit, { global: false, timeWindow: WINDOW_MS });
  const often = scope.createRateLimit({
    max: settings.requestsPerMinute ?? REQUESTS_PER_MINUTE,
    keyGenerator: (request) => keyOf(viewers.get(request as FastifyRequest) as Viewer),
  });
  const strangers = scope.createRateLimit({
    max: REFUSALS_PER_MINUTE,
    keyGenerator: (request) => request.ip,
  });
  const asked = (request: FastifyRequest) => ({
    operation: `${request.method} ${request.routeOptions.url ?? 'unknown route'}`,
    details: { remote_address: request.ip },
  });

  /** Refuses who is nobody; past the limit it is counted and no longer written down. */
  async function refuse(request: FastifyRequest, error: unknown): Promise<never> {
    const limit = await strangers(request);
    const code = error instanceof QueryError ? error.code : 'UNAUTHENTICATED';
    meter.count('telltale.query.refused', 1, { code });
    if (!limit.isAllowed && limit.isExceeded)
      throw new QueryError('RATE_LIMITED', `too many refused requests of ${NOBODY}: wait a minute`);
    await gate.refused(asked(request), 'denied', code);
    throw error;
  }

  async function letIn(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    if (settings.loopbackOnly && !isLoopbackHost(request.headers.host)) {
      const what = 'this service answers to localhost, 127.0.0.1 and [::1] only';
      await refuse(request, new QueryError('WRONG_HOST', what));
    }
    const viewer = await settings
      .authenticate(request.headers.authorization)
      .catch((error) => refuse(request, error));
    viewers.set(request, viewer);
    const access = gate.open(viewer, asked(request));
    const signal = signalOf(request, reply);
    const one: Passed = { access, viewer, run: gate.run(access, signal), signal, after: [] };
    passed.set(request, one);
    reply.raw.once('close', () => {
      for (const work of one.after) work();
      if (access.isOpen && !one.inPieces) access.end('cancelled').catch(notRecorded);
    });
    const limit = await often(request);
    if (!limit.isAllowed && limit.isExceeded)
      throw new QueryError('RATE_LIMITED', `at most ${limit.max} requests in a minute: wait`);
    const letGo = requests.take(keyOf(viewer));
    if (letGo === undefined)
      throw new QueryError('RATE_LIMITED', `at most ${atOnce} requests at once`);
    one.after.push(letGo);
    needRole(viewer, 'viewer', 'reading');
    await access.ready();
  }

  const notRecorded = (error: unknown) =>
    log.error('query.access_not_recorded', { error: String(error) });

  async function write(one: Passed, reply: FastifyReply, payload: unknown): Promise<void> {
    if (codeOf(reply) === 'JOURNAL_UNAVAILABLE') {
      // Nothing was read, or nothing of it leaves; that the next try fails as well is no news.
      await one.access.end('failure', 'JOURNAL_UNAVAILABLE').catch(() => {});
      return;
    }
    if (!isStream(payload)) {
      const { outcome, reason } = outcomeOf(reply, one.outcome);
      return one.access.end(outcome, reason);
    }
    await one.access.begin();
    one.inPieces = true;
    finished(payload, (error) => {
      const gone = one.signal.aborted ? 'cancelled' : 'failure';
      const how = error == null ? 'success' : gone;
      one.access.end(one.outcome?.outcome ?? how, one.outcome?.reason).catch(notRecorded);
    });
  }

  /** Has the answer in its hands: what can't be written down is answered with that instead. */
  async function record(request: FastifyRequest, reply: FastifyReply, payload: unknown) {
    const one = passed.get(request);
    if (one === undefined || !one.access.isOpen) return payload;
    try {
      await write(one, reply, payload);
      return payload;
    } catch (error) {
      if (isStream(payload)) payload.destroy();
      const { status, type, body } = answerFault(faults, error, request);
      reply.code(status).type(type);
      return body;
    }
  }

  scope.addHook('onRequest', letIn);
  scope.addHook('onSend', record);
  scope.setErrorHandler((error, request, reply) => {
    const { status, code, type, body } = answerFault(faults, error, request);
    codes.set(reply, code);
    if (code === 'UNAUTHENTICATED') reply.header('www-authenticate', 'Bearer realm="telltale"');
    if (code === 'RATE_LIMITED') reply.header('retry-after', String(WINDOW_MS / 1000));
    return reply.code(status).type(type).send(body);
  });
}
