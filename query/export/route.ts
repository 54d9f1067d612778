/**
 * `GET /v1/sessions/:id/events?format=ndjson|csv|parquet|ocsf`: the timeline, or what a filter leaves
 * of it, in its order, in memory that does not grow with it. The filter is that of GraphQL, a parameter
 * each, lists parted by commas:
 *
 *     kinds toolCallId turnId streamId processOf pid text path host verdicts assurances from before
 *     content=full|none      none: commitments in place of content
 *
 * An answer that ends as HTTP has it (the last chunk) is whole; where something fails the connection
 * is cut instead.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { needRole } from '../access/viewer.ts';
import { badInput, QueryError } from '../errors.ts';
import type { EventFilter } from '../event-filter.ts';
import { findSession } from '../load.ts';
import { processScope } from '../process-scope.ts';
import { parseTime } from '../render.ts';
import type { Runner } from '../run.ts';
import { FORMATS, type FormatName, withheld } from './formats.ts';
import { createSlots } from './slots.ts';
import { walkTimeline } from './walk.ts';

/** Exports of timelines that run at once. */
const EVENT_EXPORTS_MAX = 4;

type Parameters = Readonly<Record<string, string>>;

const TEXTS = ['toolCallId', 'turnId', 'streamId', 'processOf', 'text', 'path', 'host'] as const;
const LISTS = ['kinds', 'verdicts', 'assurances'] as const;
const TIMES = ['from', 'before'] as const;
const KNOWN = new Set<string>([...TEXTS, ...LISTS, ...TIMES, 'pid', 'format', 'content']);

/** Each parameter once; a second of the same name would have to be guessed at. */
function parametersOf(query: unknown): Parameters {
  const out: Record<string, string> = {};
  for (const [name, value] of Object.entries((query ?? {}) as object)) {
    if (!KNOWN.has(name)) throw badInput(`${name.slice(0, 40)}: there is no such parameter`);
    if (typeof value !== 'string') throw badInput(`${name}: give it once`);
    out[name] = value;
  }
  return out;
}

function timeOf(name: string, text: string): string {
  const time = parseTime(text);
  if (time === undefined) throw badInput(`${name}: RFC 3339 or 19 digits of nanoseconds`);
  return time;
}

function pidOf(text: string): number {
  const pid = Number(text);
  if (!/^\d{1,10}$/.test(text) || pid < 1) throw badInput('pid: a number from 1 on');
  return pid;
}

/** The filter of the parameters. Throws `QueryError` that names the one at fault. */
function filterOf(given: Parameters): EventFilter {
  const chosen = <N extends string, T>(names: readonly N[], make: (name: N, text: string) => T) =>
    Object.fromEntries(
      names.flatMap((name) => {
        const text = given[name];
        return text === undefined ? [] : [[name, make(name, text)]];
      }),
    );
  return {
    ...chosen(TEXTS, (_name, text) => text),
    ...chosen(LISTS, (_name, text) => text.split(',')),
    ...chosen(TIMES, timeOf),
    ...(given.pid === undefined ? {} : { pid: pidOf(given.pid) }),
  };
}

function formatOf(name: string | undefined): FormatName {
  if (name === undefined || !Object.hasOwn(FORMATS, name))
    throw badInput(`format: one of ${Object.keys(FORMATS).join(', ')}`);
  return name as FormatName;
}

/** Makes the route's answer; at most `EVENT_EXPORTS_MAX` run at once. */
export function createEventExports() {
  const inSlot = createSlots(EVENT_EXPORTS_MAX);
  return async (run: Runner, request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
    needRole(run.viewer, 'investigator', 'exporting');
    const { id } = request.params as { id: string };
    const given = parametersOf(request.query);
    const format = FORMATS[formatOf(given.format)];
    const { content = 'full' } = given;
    if (content !== 'full' && content !== 'none') throw badInput('content: full or none');
    const filter = filterOf(given);
    return inSlot(async (streamOf) => {
      const session = await findSession(run, id);
      if (session === undefined) throw new QueryError('NOT_FOUND', 'no such session');
      const scope = await processScope(run, session.id, filter);
      const pages = walkTimeline(run, session.id, { filter, scope });
      // The first page is read before the head is sent, so that a bad filter has a status of its own.
      const whole = await begun(pages);
      return reply
        .type(format.mediaType)
        .header('cache-control', 'no-store')
        .header(
          'content-disposition',
          `attachment; filename="telltale-${session.id}.${format.extension}"`,
        )
        .send(streamOf(format.bytes(content === 'none' ? withheld(whole) : whole)));
    });
  };
}

/** The same pages, of which the first is read already. */
async function begun<T>(pages: AsyncGenerator<T>): Promise<AsyncGenerator<T>> {
  const first = await pages.next();
  async function* all(): AsyncGenerator<T> {
    if (first.done) return;
    yield first.value;
    yield* pages;
  }
  return all();
}
