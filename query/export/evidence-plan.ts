/** What an export reads -> the statements. Pure; every value is bound. */
import { type Row, selectEvent } from '#schemas';
import { condition, type ScopedSql, select } from '../sql.ts';

/** Numbers of one stream that are counted together. */
const BUCKET_NUMBERS = 1024;
const BUCKETS_MAX = 1_000_000;

/** Rows of one stream whose numbers lie in one piece of `BUCKET_NUMBERS`. */
export interface Bucket extends Row {
  readonly stream: string;
  readonly first: number;
  readonly last: number;
  readonly rows: string;
  readonly first_ms: string;
  readonly last_ms: string;
}

/** Dead letter of a session, with its bytes. */
export interface DeadRow extends Row {
  readonly stream: string;
  readonly seq: number | null;
  readonly reason: string;
  readonly field: string;
  readonly detail: string;
  readonly bytes_base64: string;
  readonly origin: string;
  readonly parked_ms: string;
}

export interface ErasureRow extends Row {
  readonly number: number;
  readonly fields: readonly string[];
  readonly actor: string;
  readonly reason: string;
  readonly erased_ms: string;
}

interface Span {
  readonly stream: string;
  readonly first: number;
  readonly last: number;
}

const ofSession = (session: string) => condition('session_id = {session:UUID}', { session });

/** How many rows there are where, and when they came in; of key columns alone. */
export const bucketsPlan = (tenant: string, session: string): ScopedSql =>
  select(tenant, {
    columns:
      `toString(stream_id) AS stream, intDiv(seq, ${BUCKET_NUMBERS}) AS bucket, min(seq) AS first, max(seq) AS last, count() AS rows, ` +
      'toString(toUnixTimestamp64Milli(min(ingested_at))) AS first_ms, toString(toUnixTimestamp64Milli(max(ingested_at))) AS last_ms',
    from: 'events',
    where: [ofSession(session)],
    groupBy: 'stream, bucket',
    orderBy: 'stream, bucket',
    limit: BUCKETS_MAX,
  });

/** Whole events of one stream, by number; rows of one number in an order of their own. */
export const pagePlan = (tenant: string, session: string, span: Span): ScopedSql =>
  select(tenant, {
    columns: selectEvent(),
    from: 'events',
    where: [
      ofSession(session),
      condition('stream_id = {stream:UUID}', { stream: span.stream }),
      condition('seq >= {first:UInt32} AND seq <= {last:UInt32}', {
        first: span.first,
        last: span.last,
      }),
    ],
    orderBy: 'seq, ts, kind, observed_ts',
  });

/** Who had what erased of some events, by number, then time. */
export const erasuresPlan = (tenant: string, session: string, span: Span): ScopedSql =>
  select(tenant, {
    columns:
      'assumeNotNull(seq) AS number, fields, actor, reason, toString(toUnixTimestamp64Milli(erased_at)) AS erased_ms',
    from: 'erasures',
    where: [
      ofSession(session),
      condition('stream_id = {stream_text:String}', { stream_text: span.stream }),
      condition("isNotNull(seq) AND origin = ''"),
      condition('seq >= {first:UInt32} AND seq <= {last:UInt32}', {
        first: span.first,
        last: span.last,
      }),
    ],
    orderBy: 'seq, erased_at, actor, reason',
  });

/** All dead letters of a session with their bytes, oldest first. */
export const deadRowsPlan = (tenant: string, session: string): ScopedSql =>
  select(tenant, {
    columns:
      'stream_id AS stream, seq, reason, field, detail, bytes_base64, origin, toString(toUnixTimestamp64Milli(parked_at)) AS parked_ms',
    from: 'dead',
    where: [condition('session_id = {session_text:String}', { session_text: session })],
    orderBy: 'parked_at, stream, seq, origin, reason',
  });
