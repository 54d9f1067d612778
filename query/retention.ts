/** What was done to sessions as wholes: who holds them, and which are gone by policy. */
import type { Row } from '#schemas';
import { isUuid } from './cursor.ts';
import { badInput } from './errors.ts';
import { holdsPlan, removalPlan } from './retention-plan.ts';
import type { Runner } from './run.ts';

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
