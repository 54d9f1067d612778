/** What was done to sessions as wholes: who holds them, and which are gone by policy. */
import type { Ranges, Row } from '#schemas';
import { isUuid, type SessionPlace } from './cursor.ts';
import { badInput } from './errors.ts';
import { has } from './plan.ts';
import { type SessionHead, type SessionRow, sessionHead } from './render.ts';
import { holdsPlan, removalPlan, tombstonesPlan } from './retention-plan.ts';
import type { Runner } from './run.ts';
import type { SessionFilter } from './session-plan.ts';

/** A legal hold: retention leaves the session alone. */
export interface Hold {
  readonly by: string;
  readonly reason: string;
  /** Decimal nanoseconds. */
  readonly sinceNs: string;
}

const asked = new WeakMap<Runner, Promise<ReadonlyMap<string, Hold>>>();

async function readHolds(run: Runner): Promise<ReadonlyMap<string, Hold>> {
  const rows = await run.rows<Row>(holdsPlan(run.tenant));
  const holdOf = ({ who, why, since }: Row): Hold => ({
    by: String(who),
    reason: String(why),
    sinceNs: `${since}000000`,
  });
  return new Map(rows.map((row) => [String(row.session), holdOf(row)]));
}

/** The hold on a session; a request reads those of its tenant once. */
export async function holdOf(run: Runner, session: string): Promise<Hold | undefined> {
  let holds = asked.get(run);
  if (holds === undefined) {
    holds = readHolds(run);
    asked.set(run, holds);
  }
  return (await holds).get(session);
}

/** How a session went by policy, as `GET /v1/sessions/:id/removal` tells it. */
export interface Removal {
  readonly policy: string;
  readonly days: number;
  readonly by: string;
  readonly removed_ms: number;
  readonly streams: readonly {
    readonly stream_id: string;
    readonly last_seq: number;
    readonly events: number;
  }[];
}

/** The tombstone of a session; undefined where retention removed none of that id. */
export async function removalOf(run: Runner, session: string): Promise<Removal | undefined> {
  if (!isUuid(session)) throw badInput('id: give a session’s UUID in lower case');
  const rows = await run.rows<Row>(removalPlan(run.tenant, session));
  const [first] = rows;
  if (first === undefined) return undefined;
  return {
    policy: String(first.by_policy),
    days: Number(first.after_days),
    by: String(first.who),
    removed_ms: Math.max(...rows.map(({ at }) => Number(at))),
    streams: rows.map(({ stream, last, stored }) => ({
      stream_id: String(stream),
      last_seq: Number(last),
      events: Number(stored),
    })),
  };
}

/** What the tombstones of one session's streams say together. */
export interface Tombstone {
  readonly policy: string;
  readonly days: number;
  readonly by: string;
  /** Decimal nanoseconds. */
  readonly removedNs: string;
  /** Events that were stored of it. */
  readonly events: number;
}

/** A session of which the tombstone stands alone, or beside what is still there. */
export type RemovedHead = SessionHead & { readonly removal: Tombstone };

interface TombstoneRow extends SessionRow {
  readonly policy: string;
  readonly days: number;
  readonly actor: string;
  readonly removed_ms: string;
  readonly events: string;
}

const removedHead = (row: TombstoneRow): RemovedHead => ({
  ...sessionHead(row),
  removal: {
    policy: row.policy,
    days: Number(row.days),
    by: row.actor,
    removedNs: `${row.removed_ms}000000`,
    events: Number(row.events),
  },
});

/** Sessions that retention removed, newest first, and one more than `size`. */
export async function removedSessions(
  run: Runner,
  size: number,
  filter: SessionFilter,
  after?: SessionPlace,
): Promise<readonly RemovedHead[]> {
  const { agent, host, user, journal } = filter;
  if ([agent, host, user, journal].some(has))
    throw badInput(
      'removed: a tombstone names no agent, host or user; only the times can be given',
    );
  const plan = tombstonesPlan(run.tenant, size + 1, filter, after);
  return (await run.rows<TombstoneRow>(plan)).map(removedHead);
}

/** A session by its tombstone; undefined where retention removed none of that id. */
export async function removedSession(run: Runner, id: string): Promise<RemovedHead | undefined> {
  if (!isUuid(id)) return undefined;
  const [row] = await run.rows<TombstoneRow>(tombstonesPlan(run.tenant, 1, { id }));
  return row === undefined ? undefined : removedHead(row);
}

/**
 * Whether all that is missing of a session's streams went by policy: each number lies within a
 * tombstone of its stream. `missing` is by stream.
 */
export function isRemoved(removal: Removal, missing: ReadonlyMap<string, Ranges>): boolean {
  const last = new Map(removal.streams.map((stream) => [stream.stream_id, stream.last_seq]));
  return [...missing].every(([stream, ranges]) =>
    ranges.every(([, to]) => to <= (last.get(stream) ?? -1)),
  );
}
