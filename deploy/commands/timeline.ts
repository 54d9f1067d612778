import fs from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import Fastify from 'fastify';
import { registerQuery } from '../../query/server.ts';
import { assess } from '../../query/timeline/assess.ts';
import { escapeText, safeJson } from '../../query/timeline/escape.ts';
import { dateTime, duration } from '../../query/timeline/format.ts';
import { type PrintOptions, printStory } from '../../query/timeline/print.ts';
import { printTriage } from '../../query/timeline/print-triage.ts';
import { buildStory, type SessionData } from '../../query/timeline/story.ts';
import { buildTriage } from '../../query/timeline/triage.ts';
import { authorizationFor, NO_TOKEN } from '../access/credentials.ts';
import { openDirect } from '../access/direct.ts';
import { accessDir } from '../access/local.ts';
import { migrate } from '../migrate.ts';
import { UsageError } from '../process/lifecycle.ts';
import { terminalLog } from '../process/log.ts';
import { DEFAULT_URL, integerOf, tenant } from '../settings.ts';
import { openStore } from '../stores/open.ts';

const SESSIONS_FIRST = 20;
const SESSIONS_MAX = 1000;
const ANSWER_MS_MAX = 60_000;
const WIDTH_OF_A_PIPE = 100;
/** What a server's error says, at most so much of it is repeated. */
const DETAIL_CHARS_MAX = 500;

/** An answer of the query service's routes. */
interface Answer {
  readonly status: number;
  readonly body: string;
}

/** Asks for one path; over HTTP, or of a store that is opened here. */
type Ask = (path: string) => Promise<Answer>;

interface Where {
  readonly from?: string | undefined;
  readonly data?: string | undefined;
}

function serverUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol))
    throw new UsageError(`--from ${text}: give a URL such as ${DEFAULT_URL}`);
  return url;
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

/** `token`: instead of the one that the command line finds by itself. */
function askServer(base: URL, token?: string): Ask {
  return async (route) => {
    const url = new URL(route, base);
    try {
      const headers = token === undefined ? authorizationFor(base) : bearer(token);
      const signal = AbortSignal.timeout(ANSWER_MS_MAX);
      const response = await fetch(url, { signal, headers });
      return { status: response.status, body: await response.text() };
    } catch (error) {
      const late = error instanceof Error && error.name === 'TimeoutError';
      throw new Error(
        late
          ? `${base.origin} gave no answer within ${ANSWER_MS_MAX / 1000} s`
          : `no telltale answers at ${base.origin}: start one with "telltale up", or say --from URL or --data DIR`,
        { cause: late ? undefined : ((error as Error).cause ?? error) },
      );
    }
  };
}

/** The same routes over a store of this process, without a port. */
async function withStore<T>(dir: string, use: (ask: Ask) => Promise<T>): Promise<T> {
  if (!fs.existsSync(path.join(dir)))
    throw new Error(`${dir}: there is no such directory; nothing was recorded there`);
  const log = terminalLog(false);
  const store = await openStore(`chdb:${dir}`, { log }).catch((error: Error) => {
    throw new Error(
      `the store in ${dir} can't be opened; if "telltale up" has it open, ask that: --from ${DEFAULT_URL}`,
      { cause: error },
    );
  });
  await migrate(store, { log });
  const app = Fastify({ logger: false });
  const access = openDirect({ store, log, tenant: tenant(), dir: accessDir(dir) });
  try {
    await registerQuery(app, access.deps);
    const headers = bearer(access.token ?? '');
    return await use(async (url) => {
      const response = await app.inject({ method: 'GET', url, headers });
      return { status: response.statusCode, body: response.body };
    });
  } finally {
    await app.close();
    await access.stop();
    await store.close();
  }
}

function withAsk<T>(where: Where, use: (ask: Ask) => Promise<T>): Promise<T> {
  if (where.from !== undefined && where.data !== undefined)
    throw new UsageError('give --from or --data, not both');
  if (where.data !== undefined) return withStore(where.data, use);
  return use(askServer(serverUrl(where.from ?? process.env.TELLTALE_FROM ?? DEFAULT_URL)));
}

/** The message of an error's body, made safe for a terminal; the body may be of any server. */
function detailOf(body: string): string {
  let text = body;
  try {
    const { error, message } = JSON.parse(body) as {
      error?: { message?: unknown } | string;
      message?: unknown;
    };
    text = String((typeof error === 'object' ? error.message : undefined) ?? message ?? body);
  } catch {
    // No JSON: the text itself says what there is to say.
  }
  return escapeText(text.slice(0, DETAIL_CHARS_MAX).toWellFormed());
}

function parsed<T>(answer: Answer, what: string): T {
  if (answer.status === 401) throw new Error(`${what}: the server does not know you: ${NO_TOKEN}`);
  if (answer.status !== 200)
    throw new Error(`${what}: the server answers ${answer.status}: ${detailOf(answer.body)}`);
  try {
    return JSON.parse(answer.body) as T;
  } catch (error) {
    throw new Error(`${what}: the server’s answer is no JSON; is it a telltale server?`, {
      cause: error,
    });
  }
}

/** Loads one session, by id or `latest`. */
async function loadSession(ask: Ask, id: string): Promise<SessionData> {
  const answer = await ask(`/v1/sessions/${encodeURIComponent(id)}/story`);
  if (answer.status === 404 || answer.status === 400)
    throw new Error(
      id === 'latest'
        ? 'no session is recorded yet: "telltale run -- COMMAND" records one'
        : `there is no session ${JSON.stringify(escapeText(id))}: "telltale sessions" lists them`,
      { cause: new Error(detailOf(answer.body)) },
    );
  return parsed<SessionData>(answer, `session ${escapeText(id)}`);
}

/** The timeline of a session that a server holds, as text for `width` columns, and its data. */
export async function timelineFrom(
  url: string,
  id: string,
  options: {
    readonly width: number;
    readonly color: boolean;
    readonly verbose: boolean;
    readonly token?: string;
  },
): Promise<{ readonly text: string; readonly data: SessionData }> {
  const data = await loadSession(askServer(serverUrl(url), options.token), id);
  return { text: printStory(buildStory(data), options), data };
}

/** How a text is printed on this standard output. */
export function outputStyle(): { readonly width: number; readonly color: boolean } {
  const { isTTY, columns } = process.stdout;
  const plain = (process.env.NO_COLOR ?? '') !== '' || process.env.TERM === 'dumb';
  return { width: columns ?? WIDTH_OF_A_PIPE, color: isTTY === true && !plain };
}

/** Writes all of it before it returns; a reader that has gone away (`| head`) is no error. */
export async function writeOut(text: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    process.stdout.once('error', reject);
    process.stdout.write(text, (error) => {
      // A failed write tells the listener next, so it stays until then.
      if (error) return;
      process.stdout.off('error', reject);
      resolve();
    });
  }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
}

const WHERE = { from: { type: 'string' }, data: { type: 'string' } } as const;

/** A session as its story, or as the packet that somebody with an alert reads first. */
function textOf(data: SessionData, asTriage: boolean, options: PrintOptions): string {
  const assessment = assess(data.events, data.streams);
  const story = buildStory(data, assessment);
  return asTriage
    ? printTriage(buildTriage(data, assessment, story), options)
    : printStory(story, options);
}

/**
 * `telltale timeline`: one session as a story, with --triage in short and with proofs, or with
 * --json all that the story is made of.
 */
export async function timeline(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      ...WHERE,
      json: { type: 'boolean', default: false },
      verbose: { type: 'boolean', default: false },
      triage: { type: 'boolean', default: false },
    },
  });
  const [id = 'latest', ...rest] = positionals;
  if (rest.length > 0) throw new UsageError('one session at a time');
  const data = await withAsk(values, (ask) => loadSession(ask, id));
  await writeOut(
    values.json
      ? `${safeJson(data)}\n`
      : textOf(data, values.triage, { ...outputStyle(), verbose: values.verbose }),
  );
  return 0;
}

interface Head {
  readonly id: string;
  readonly agent: string;
  readonly host: string;
  readonly user: string;
  readonly startedNs: string;
  readonly endedNs: string;
}

function headLine({ id, agent, host, user, startedNs, endedNs }: Head): string {
  const took = duration(Number(BigInt(endedNs) - BigInt(startedNs)));
  const who = `${agent || 'unknown agent'}  ${user || '?'}@${host || '?'}`;
  return `${escapeText(id)}  ${dateTime(startedNs)}  ${took.padStart(12)}  ${escapeText(who)}`;
}

/** `telltale sessions`: what is recorded, newest first. */
export async function sessions(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      ...WHERE,
      first: { type: 'string' },
      json: { type: 'boolean', default: false },
    },
  });
  const first = integerOf('first', values.first, SESSIONS_FIRST, SESSIONS_MAX);
  const answer = await withAsk(values, (ask) => ask(`/v1/sessions?first=${first}`));
  const { sessions: heads } = parsed<{ sessions: readonly Head[] }>(answer, 'the sessions');
  const lines = heads.map((head) => `${headLine(head)}\n`).join('');
  const none = 'no session is recorded yet: "telltale run -- COMMAND" records one\n';
  await writeOut(values.json ? `${safeJson(heads)}\n` : lines || none);
  return 0;
}
