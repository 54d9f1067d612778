/** What is stored, declared missing and parked of a session -> the statements that read it. */
import { LETTER_ID } from '#schemas';
import { ofSession } from './plan.ts';
import { condition, type ScopedSql, select } from './sql.ts';
import { kindsWith } from './timeline/view.ts';

/** The most ranges of stored numbers that are read of one session. */
export const RANGES_MAX = 100_000;
/** The most dead letters that are read of one session. */
export const DEAD_LETTERS_MAX = 1000;
/** The most marks of replayed letters that are read of one session. */
export const REPLAYS_MAX = 10_000;

/** Rows of the kinds that have a field. */
const ofKinds = (name: string) =>
  condition('has({kinds:Array(String)}, toString(kind))', { kinds: kindsWith(name) });

/**
 * Ranges of consecutive numbers (`first`, `last`) per `stream`, of rows of `stream` and `number`, by
 * the engine: numbers minus their rank are islands.
 */
export function ranges(tenant: string, distinct: ScopedSql): ScopedSql {
  const ranked = select(tenant, {
    columns:
      'stream, number, number - row_number() OVER (PARTITION BY stream ORDER BY number) AS island',
    from: distinct,
  });
  return select(tenant, {
    columns: 'stream, min(number) AS first, max(number) AS last',
    from: ranked,
    groupBy: 'stream, island',
    orderBy: 'stream, first',
    limit: RANGES_MAX + 1,
  });
}

/** The stored numbers of each stream of a session, as ranges. */
export const storedRangesPlan = (tenant: string, session: string): ScopedSql =>
  ranges(
    tenant,
    select(tenant, {
      columns: 'DISTINCT toString(stream_id) AS stream, toInt64(seq) AS number',
      from: 'events',
      where: [ofSession(session)],
    }),
  );

/** The parked numbers of each stream of a session, as ranges. */
export const parkedRangesPlan = (tenant: string, session: string): ScopedSql =>
  ranges(
    tenant,
    select(tenant, {
      columns: 'DISTINCT stream_id AS stream, toInt64(assumeNotNull(seq)) AS number',
      from: 'dead',
      where: [
        condition('session_id = {session_text:String}', { session_text: session }),
        condition('isNotNull(seq)'),
      ],
    }),
  );

/** Declared gaps of a session's streams. */
export const gapsPlan = (tenant: string, session: string): ScopedSql =>
  select(tenant, {
    columns: 'toString(stream_id) AS stream, gap_first_seq, gap_last_seq, gap_count',
    from: 'events',
    where: [ofSession(session), ofKinds('gap_reason')],
    orderBy: 'stream, ts, seq',
    limit: RANGES_MAX + 1,
  });

/** The count in each stream's close. */
export const closesPlan = (tenant: string, session: string): ScopedSql =>
  select(tenant, {
    columns: 'toString(stream_id) AS stream, max(chain_count) AS count',
    from: 'events',
    where: [ofSession(session), ofKinds('close_reason')],
    groupBy: 'stream',
    limit: RANGES_MAX,
  });

/** Dead letters of a session, oldest first, without their bytes: those of `replayed`, or the others. */
export const deadLettersPlan = (
  tenant: string,
  session: string,
  replayed: readonly string[],
  which: 'standing' | 'replayed',
): ScopedSql =>
  select(tenant, {
    columns: `${LETTER_ID} AS id, stream_id AS stream, seq, reason, field, detail, origin, toString(toUnixTimestamp64Milli(parked_at)) AS parked_ms`,
    from: 'dead',
    where: [
      condition('session_id = {session_text:String}', { session_text: session }),
      condition(`has({replayed:Array(String)}, id) = ${which === 'replayed'}`, { replayed }),
    ],
    orderBy: 'parked_at, stream, seq',
    limit: DEAD_LETTERS_MAX,
  });

/** What became of dead letters of a session that were tried again, the newest first. */
export const replaysPlan = (tenant: string, session: string): ScopedSql =>
  select(tenant, {
    columns:
      'letter_id AS letter, outcome, toString(toUnixTimestamp64Milli(replayed_at)) AS replayed_ms',
    from: 'replays',
    where: [condition('session_id = {session_text:String}', { session_text: session })],
    orderBy: 'replayed_at DESC, letter',
    limit: REPLAYS_MAX,
  });
