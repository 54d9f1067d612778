/** Entities looked up: where seen, how rare, and which sessions share the rare ones. */
import type { Row } from '#schemas';
import { readSessionCursor, sessionCursor } from '../cursor.ts';
import { badInput } from '../errors.ts';
import { type Page, type SessionHead, type SessionRow, sessionHead } from '../render.ts';
import type { Runner } from '../run.ts';
import {
  entityPlan,
  entityType,
  fleetPlan,
  listedTypes,
  raritiesPlan,
  sessionsByIdPlan,
  sessionValuesPlans,
  sightingsPlan,
  similarPlan,
  VALUES_MAX,
  valuesPlan,
  type Weighted,
} from './entity-plan.ts';

/** One value, and what the whole fleet has of it. Times in decimal nanoseconds. */
export interface Entity {
  readonly type: string;
  readonly value: string;
  /** In how many sessions it is. */
  readonly sessions: number;
  readonly firstNs: string;
  readonly lastNs: string;
}

/** An entity in one session. */
export interface Sighting {
  readonly session: SessionHead;
  readonly firstNs: string;
  readonly lastNs: string;
}

/** A session that shares rare entities with another. */
export interface Similar {
  readonly session: SessionHead;
  /** The weight of what both have, as a share of the weight of all that was compared: 0 to 1. */
  readonly score: number;
  readonly entities: number;
  readonly shared: readonly Weighted[];
}

const entityOf = (type: string, value: string, row: Row): Entity => ({
  type,
  value,
  sessions: Number(row.sessions),
  firstNs: String(row.first),
  lastNs: String(row.last),
});

/** One entity; undefined where no session has it. */
export async function findEntity(
  run: Runner,
  type: string,
  value: string,
): Promise<Entity | undefined> {
  const [row] = await run.rows<Row>(entityPlan(run.tenant, type, value));
  return Number(row?.sessions ?? 0) === 0 ? undefined : entityOf(type, value, row as Row);
}

/** How many sessions there are in all. */
export async function fleetSize(run: Runner): Promise<number> {
  const [row] = await run.rows<Row>(fleetPlan(run.tenant));
  return Number(row?.sessions ?? 0);
}

async function headsOf(run: Runner, ids: readonly string[]): Promise<Map<string, SessionHead>> {
  if (ids.length === 0) return new Map();
  const rows = await run.rows<SessionRow>(sessionsByIdPlan(run.tenant, ids));
  return new Map(rows.map((row) => [row.id, sessionHead(row)]));
}

/** A page of the sessions that an entity is in, newest first. */
export async function sightings(
  run: Runner,
  { type, value }: Entity,
  size: number,
  after: string | null | undefined,
): Promise<Page<Sighting>> {
  const place = typeof after === 'string' ? readSessionCursor(after) : undefined;
  const rows = await run.rows<Row>(sightingsPlan(run.tenant, type, value, size + 1, place));
  const heads = await headsOf(
    run,
    rows.slice(0, size).map((row) => String(row.session)),
  );
  const edges = rows.slice(0, size).flatMap((row) => {
    const session = heads.get(String(row.session));
    if (session === undefined) return [];
    const firstNs = String(row.first);
    const cursor = sessionCursor({ startedNs: firstNs, id: session.id });
    return [{ cursor, node: { session, firstNs, lastNs: String(row.last) } }];
  });
  const endCursor = edges.at(-1)?.cursor ?? null;
  return { edges, pageInfo: { hasNextPage: rows.length > size, endCursor } };
}

const CURSOR = /^v1\|([\s\S]*)$/;
const write = (value: string): string => Buffer.from(`v1|${value}`).toString('base64url');
function read(cursor: string): string {
  const value = CURSOR.exec(Buffer.from(cursor, 'base64url').toString('utf8'))?.[1];
  if (value === undefined) throw badInput('after: not a cursor of this list');
  return value;
}

/** A page of the values that begin with `prefix`, in order. */
export async function entitiesByPrefix(
  run: Runner,
  type: string,
  prefix: string,
  size: number,
  after: string | null | undefined,
): Promise<Page<Entity>> {
  const behind = typeof after === 'string' ? read(after) : undefined;
  const plan = valuesPlan(run.tenant, entityType(type), prefix, size + 1, behind);
  const rows = await run.rows<Row>(plan);
  const edges = rows
    .slice(0, size)
    .map((row) => entityOf(type, String(row.found), row))
    .map((node) => ({ cursor: write(node.value), node }));
  const endCursor = edges.at(-1)?.cursor ?? null;
  return { edges, pageInfo: { hasNextPage: rows.length > size, endCursor } };
}

interface ListedRow extends Row {
  readonly sort: string;
  readonly found: string;
}

const keyOf = ({ sort, found }: ListedRow): string => `${sort} ${found}`;

function bySort(rows: readonly ListedRow[]): Map<string, string[]> {
  const out = new Map<string, string[]>();
  for (const { sort, found } of rows) {
    const list = out.get(sort);
    if (list === undefined) out.set(sort, [found]);
    else list.push(found);
  }
  return out;
}

/** An entity as a session has it, and as the fleet has it. */
export interface SessionEntity extends Entity {
  /** In this session. */
  readonly firstHereNs: string;
  readonly lastHereNs: string;
}

/** The entities of a session, the rarest in the fleet first; of very many the earliest. */
export async function sessionEntities(
  run: Runner,
  session: string,
  types?: readonly string[] | null,
): Promise<readonly SessionEntity[]> {
  const plans = sessionValuesPlans(run.tenant, session, listedTypes(types));
  const lists = await Promise.all(plans.map((plan) => run.rows<ListedRow>(plan)));
  const here = lists.flat().slice(0, VALUES_MAX);
  if (here.length === 0) return [];
  const found = await run.rows<ListedRow>(raritiesPlan(run.tenant, bySort(here), VALUES_MAX));
  const fleet = new Map(found.map((row) => [keyOf(row), row]));
  const all = here.map((row) => {
    // The view may be behind by what a crash cut off: this session has it, whatever it says.
    const known = fleet.get(keyOf(row)) ?? { ...row, sessions: 1 };
    const seen = { firstHereNs: String(row.first), lastHereNs: String(row.last) };
    return { ...entityOf(row.sort, row.found, known), ...seen };
  });
  return all.sort((a, b) => a.sessions - b.sessions || (a.firstHereNs < b.firstHereNs ? -1 : 1));
}

/** What is compared: the rarest values of a session, and none that is in half of the fleet. */
const COMPARED_MAX = 300;
const COMMON_SHARE = 0.5;

/**
 * Sessions that share rare entities with one. A value weighs log(sessions in all / sessions with
 * it), as in inverse document frequency; the score is the weight that is shared, over the weight
 * of all that was compared, so that it is told by the very entities that are given as `shared`.
 */
export async function similarSessions(
  run: Runner,
  session: string,
  size: number,
): Promise<readonly Similar[]> {
  const [all, entities] = await Promise.all([fleetSize(run), sessionEntities(run, session)]);
  const telling = entities.filter(({ sessions }) => sessions > 1 && sessions < all * COMMON_SHARE);
  const hosts = telling.flatMap(({ type, value }) => (type === 'host' ? `.${value}` : []));
  const compared = telling
    // A domain counts where no host of it does: one thing is not counted twice.
    .filter(
      ({ type, value }) => type !== 'domain' || !hosts.some((host) => host.endsWith(`.${value}`)),
    )
    .slice(0, COMPARED_MAX)
    .map(({ type, value, sessions }) => ({ type, value, weight: Math.log(all / sessions) }));
  if (compared.length === 0) return [];
  const total = compared.reduce((sum, { weight }) => sum + weight, 0);
  const rows = await run.rows<Row>(similarPlan(run.tenant, session, compared, size));
  const heads = await headsOf(
    run,
    rows.map((row) => String(row.session)),
  );
  return rows.flatMap((row) => {
    const head = heads.get(String(row.session));
    if (head === undefined) return [];
    const why = row.why as readonly (readonly [number, string, string])[];
    return {
      session: head,
      score: Number(row.shared) / total,
      entities: Number(row.entities),
      shared: why.map(([weight, type, value]) => ({ type, value, weight })),
    };
  });
}
