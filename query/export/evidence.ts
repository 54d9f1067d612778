/**
 * `GET /v1/sessions/:id/export?content=full|none`: all that is stored of a session, as lines of JSON in
 * memory that does not grow with it. In this order, each line one object with one member that names it:
 *
 *     {"export":{format, session_id, tenant, content}}
 *     {"event":{…wire form…},"erasures":[…],"withheld":[…]}   by stream id, then number
 *     {"dead_letter":{…}}                                    by time
 *     {"stream":{stream_id, first_ms, last_ms}}              when its rows came in
 *     {"end":{lines, sha256}}                                over all bytes before this line
 *
 * An answer without its end is broken: the connection may have ended cleanly all the same.
 */
import { createHash } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { evidenceOf, formsOf, REGISTRY, type Row, StoreError, type TelltaleEvent } from '#schemas';
import { needContent, needRole } from '../access/viewer.ts';
import { badInput, QueryError } from '../errors.ts';
import { findSession } from '../load.ts';
import type { Runner } from '../run.ts';
import { withhold } from '../withhold.ts';
import {
  type Bucket,
  bucketsPlan,
  type DeadRow,
  deadRowsPlan,
  type ErasureRow,
  erasuresPlan,
  pagePlan,
} from './evidence-plan.ts';
import { createSlots } from './slots.ts';

export const EXPORT_FORMAT = 'telltale-export/1';
/** Exports that run at once: each keeps one of the store's readers busy. */
const EXPORTS_MAX = 2;
/** Rows that one statement reads; fewer where they are too large for its memory. */
const PAGE_ROWS = 8192;
const PAGE_COST = { timeMs: 30_000, memoryBytesMax: 768 * 1024 ** 2, rowsMax: 4_000_000 };
const BUCKETS_COST = { timeMs: 60_000, memoryBytesMax: 1024 ** 3, rowsMax: 4_000_000 };
/** Text is sent in pieces of about so many characters. */
const PIECE_CHARACTERS = 64 * 1024;

interface Span {
  readonly stream: string;
  readonly first: number;
  readonly last: number;
}

/** Consecutive buckets put together to pages of about `PAGE_ROWS` rows. */
export function pagesOf(buckets: readonly Bucket[]): Span[] {
  const pages: (Span & { readonly rows: number })[] = [];
  for (const { stream, first, last, rows } of buckets) {
    const page = pages.at(-1);
    const [from, to, count] = [Number(first), Number(last), Number(rows)];
    if (page?.stream === stream && page.rows + count <= PAGE_ROWS)
      pages[pages.length - 1] = { stream, first: page.first, last: to, rows: page.rows + count };
    else pages.push({ stream, first: from, last: to, rows: count });
  }
  return pages;
}

const isLimit = (error: unknown): boolean => {
  const cause = error instanceof QueryError ? error.cause : error;
  return cause instanceof StoreError && cause.fault.code === 'limit';
};

/**
 * The rows of a span, by number. Where they are too large for one statement the span is halved: a
 * sorted answer begins only when all of it was read, so nothing was given yet.
 */
async function* rowsOf(run: Runner, session: string, span: Span): AsyncGenerator<readonly Row[]> {
  let begun = false;
  try {
    for await (const rows of run.evidence<Row>(pagePlan(run.tenant, session, span), PAGE_COST)) {
      begun = true;
      yield rows;
    }
  } catch (error) {
    if (begun || span.first === span.last || !isLimit(error)) throw error;
    const middle = Math.floor((span.first + span.last) / 2);
    yield* rowsOf(run, session, { ...span, last: middle });
    yield* rowsOf(run, session, { ...span, first: middle + 1 });
  }
}

interface ErasureRecord {
  readonly at_ms: number;
  readonly by: string;
  readonly fields: readonly string[];
  readonly reason: string;
}

/** Who had content of the rows erased: of each number, in order of time. */
async function erasuresOf(run: Runner, session: string, span: Span, rows: readonly Row[]) {
  const found = new Map<number, ErasureRecord[]>();
  const concerned = rows.some(({ erased }) => Object.keys((erased as object) ?? {}).length > 0);
  if (!concerned) return found;
  const [first, last] = [Number(rows[0]?.seq), Number(rows.at(-1)?.seq)];
  const plan = erasuresPlan(run.tenant, session, { ...span, first, last });
  for (const row of await run.rows<ErasureRow>(plan, PAGE_COST)) {
    const { actor: by, fields, reason } = row;
    const record = { at_ms: Number(row.erased_ms), by, fields, reason };
    found.set(row.number, [...(found.get(row.number) ?? []), record]);
  }
  return found;
}

/** Those parts of the records that are true of the row: its content may be there after all. */
function trueErasures(event: TelltaleEvent, records: readonly ErasureRecord[]): ErasureRecord[] {
  const left = new Set(Object.keys(event.erased ?? {}));
  return records.flatMap((record) => {
    const fields = record.fields.filter((name) => left.delete(name)).sort();
    return fields.length === 0 ? [] : [{ ...record, fields }];
  });
}

/** Members that formsOf does not write: what the row's kind does not have. */
function strangers(event: TelltaleEvent): Record<string, unknown> {
  const fields = REGISTRY.get(event.kind)?.fields ?? {};
  return Object.fromEntries(Object.entries(event).filter(([name]) => fields[name] === undefined));
}

function eventText(row: Row, records: readonly ErasureRecord[], content: 'full' | 'none'): string {
  const stored = evidenceOf(row);
  if (!REGISTRY.has(stored.kind)) {
    const { kind, seq, session_id, stream_id, tenant } = stored;
    return JSON.stringify({ unknown: { kind, seq, session_id, stream_id, tenant } });
  }
  const erasures = trueErasures(stored, records);
  const { event, withheld } =
    content === 'none' ? withhold(stored) : { event: stored, withheld: [] };
  const extra = strangers(event);
  const more = {
    ...(erasures.length === 0 ? {} : { erasures }),
    ...(withheld.length === 0 ? {} : { withheld }),
    ...(Object.keys(extra).length === 0 || content === 'none' ? {} : { strangers: extra }),
    ...(Object.keys(extra).length > 0 && content === 'none'
      ? { strangers: { withheld: '1' } }
      : {}),
  };
  const rest = Object.keys(more).length === 0 ? '' : `,${JSON.stringify(more).slice(1, -1)}`;
  return `{"event":${formsOf(event).line}${rest}}`;
}

function deadText(tenant: string, session: string, row: DeadRow): string {
  const { bytes_base64, detail, field, origin, parked_ms, reason, seq, stream } = row;
  const letter = {
    ...{ bytes_base64, detail, field, origin, parked_ms: Number(parked_ms), reason },
    ...(seq === null ? {} : { seq }),
    ...{ session_id: session, stream_id: stream, tenant },
  };
  return JSON.stringify({ dead_letter: letter });
}

interface StreamTimes {
  readonly stream_id: string;
  first_ms: number;
  last_ms: number;
}

function timesOf(buckets: readonly Bucket[]): StreamTimes[] {
  const out: StreamTimes[] = [];
  for (const { stream, first_ms, last_ms } of buckets) {
    const known = out.at(-1);
    const [from, to] = [Number(first_ms), Number(last_ms)];
    if (known?.stream_id !== stream) out.push({ stream_id: stream, first_ms: from, last_ms: to });
    else {
      known.first_ms = Math.min(known.first_ms, from);
      known.last_ms = Math.max(known.last_ms, to);
    }
  }
  return out;
}

/** The lines of an export, without their LF and without the end. */
async function* linesOf(
  run: Runner,
  session: string,
  content: 'full' | 'none',
): AsyncGenerator<string> {
  const { tenant } = run;
  const head = { format: EXPORT_FORMAT, session_id: session, tenant, content };
  yield JSON.stringify({ export: head });
  const buckets = await run.rows<Bucket>(bucketsPlan(tenant, session), BUCKETS_COST);
  for (const span of pagesOf(buckets))
    for await (const rows of rowsOf(run, session, span)) {
      const erasures = await erasuresOf(run, session, span, rows);
      for (const row of rows) yield eventText(row, erasures.get(Number(row.seq)) ?? [], content);
    }
  for await (const rows of run.stream<DeadRow>(deadRowsPlan(tenant, session), PAGE_COST))
    for (const row of rows) yield deadText(tenant, session, row);
  for (const times of timesOf(buckets)) yield JSON.stringify({ stream: times });
}

/** The bytes of an export, in pieces, with its end. */
async function* piecesOf(lines: AsyncIterable<string>): AsyncGenerator<Buffer> {
  const digest = createHash('sha256');
  let count = 0;
  let text = '';
  for await (const line of lines) {
    count++;
    text += `${line}\n`;
    if (text.length < PIECE_CHARACTERS) continue;
    const piece = Buffer.from(text);
    digest.update(piece);
    text = '';
    yield piece;
  }
  const rest = Buffer.from(text);
  const sha256 = digest.update(rest).digest('hex');
  yield Buffer.concat([rest, Buffer.from(`{"end":{"lines":${count},"sha256":"${sha256}"}}\n`)]);
}

/** Makes the route's answer; at most `EXPORTS_MAX` run at once. */
export function createExports() {
  const inSlot = createSlots(EXPORTS_MAX);
  return async (run: Runner, request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
    const { id } = request.params as { id: string };
    const { content = 'full' } = request.query as { content?: unknown };
    if (content !== 'full' && content !== 'none') throw badInput('content: full or none');
    needRole(run.viewer, 'investigator', 'an export');
    if (content === 'full') needContent(run.viewer, 'an export with content (content=full)');
    return inSlot(async (streamOf) => {
      const head = await findSession(run, id);
      if (head === undefined) throw new QueryError('NOT_FOUND', 'no such session');
      return reply
        .type('application/x-ndjson; charset=utf-8')
        .header('cache-control', 'no-store')
        .send(streamOf(piecesOf(linesOf(run, head.id, content))));
    });
  };
}
