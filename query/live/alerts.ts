/**
 * Follows alerts as they are raised. An alert that is stored again under its fingerprint is no new
 * one. The rule of `arrivals.ts` holds with `raised_at` for the stamp and fingerprints for numbers:
 *
 *     cursor = base64url("a1|" settled "|" newest "|" fingerprint "," …)
 */
import type { Row } from '#schemas';
import { type AlertFilter, type StoredAlert, storedAlerts } from '../alerts.ts';
import { badInput, QueryError } from '../errors.ts';
import { has } from '../plan.ts';
import type { Runner } from '../run.ts';
import { SETTLE_MS } from './arrivals.ts';
import type { Look } from './hub.ts';
import { alertArrivalsPlan, firstRaisedPlan, newestAlertPlan } from './plan.ts';

const LIVE_ALERTS_MAX = 200;
/** Alerts within `SETTLE_MS` that a cursor names, by half of their fingerprint: 64 bits. */
const CURSOR_ALERTS_MAX = 4000;
const NAME_DIGITS = 16;

export interface AlertsMessage {
  readonly cursor: string;
  /** In the order in which they were raised. */
  readonly nodes: readonly StoredAlert[];
}

export interface AlertsRequest {
  readonly filter: AlertFilter;
  readonly after?: string | null | undefined;
  readonly backlog: boolean;
}

interface State {
  readonly settledMs: number;
  readonly newestMs: number;
  /** When they were raised, by name. */
  readonly passed: ReadonlyMap<string, number>;
}

const NOTHING_YET: State = { settledMs: 0, newestMs: 0, passed: new Map() };
const TEXT = /^a1\|(\d{1,15})\|(\d{1,15})\|((?:[0-9a-f]{16}(?:,[0-9a-f]{16})*)?)$/;
const CURSOR_CHARACTERS_MAX = 128 * 1024;

function readState(cursor: string): State {
  const short = cursor.slice(0, CURSOR_CHARACTERS_MAX + 1);
  const match = TEXT.exec(Buffer.from(short, 'base64url').toString('utf8'));
  if (match === null || short.length > CURSOR_CHARACTERS_MAX)
    throw badInput('after: not a cursor of live alerts');
  const newestMs = Number(match[2]);
  const names = (match[3] as string).split(',').filter((name) => name !== '');
  return {
    settledMs: Number(match[1]),
    newestMs,
    passed: new Map(names.map((name) => [name, newestMs])),
  };
}

const cursorOf = ({ settledMs, newestMs, passed }: State): string =>
  Buffer.from(`a1|${settledMs}|${newestMs}|${[...passed.keys()].join(',')}`).toString('base64url');

function passOn(state: State, alerts: readonly StoredAlert[]): State {
  const newestMs = alerts.reduce((most, { raisedMs }) => Math.max(most, raisedMs), state.newestMs);
  const settledMs = Math.max(state.settledMs, newestMs - SETTLE_MS);
  const passed = new Map(state.passed);
  for (const { fingerprint, raisedMs } of alerts)
    passed.set(fingerprint.slice(0, NAME_DIGITS), raisedMs);
  for (const [name, ms] of passed) if (ms <= settledMs) passed.delete(name);
  if (passed.size > CURSOR_ALERTS_MAX)
    throw new QueryError(
      'QUERY_LIMIT_REACHED',
      `more than ${CURSOR_ALERTS_MAX} alerts came within ${SETTLE_MS / 1000} s: follow one rule or level`,
    );
  return { settledMs, newestMs, passed };
}

/** Those that were not raised before under the same fingerprint, beyond what a cursor remembers. */
async function firstOnes(run: Runner, alerts: readonly StoredAlert[], state: State) {
  if (alerts.length === 0) return alerts;
  const ids = [...new Set(alerts.map(({ fingerprint }) => fingerprint))];
  const rows = await run.rows<Row>(firstRaisedPlan(run.tenant, ids));
  const first = new Map(rows.map((row) => [String(row.id), Number(row.first_ms)]));
  const seen = new Set<string>();
  return alerts.filter(({ fingerprint }) => {
    if (seen.has(fingerprint)) return false;
    seen.add(fingerprint);
    return (first.get(fingerprint) ?? 0) > state.settledMs;
  });
}

/** The looks of one view of alerts. */
export function alertLooks(
  run: Runner,
  request: AlertsRequest,
): () => Promise<Look<AlertsMessage>> {
  const { filter, after, backlog } = request;
  let state = has(after) ? readState(after) : backlog ? NOTHING_YET : undefined;

  const read = async (at: State, which: AlertFilter) => {
    const names = [...at.passed.keys()];
    const plan = alertArrivalsPlan(run.tenant, at.settledMs, names, which, LIVE_ALERTS_MAX);
    return storedAlerts(run, await run.rows<Row>(plan));
  };

  async function present(): Promise<State> {
    const [newest] = await run.rows<Row>(newestAlertPlan(run.tenant));
    if (newest === undefined) return NOTHING_YET;
    const newestMs = Number(newest.newest_ms);
    let at: State = { ...NOTHING_YET, settledMs: newestMs - SETTLE_MS, newestMs };
    for (;;) {
      const alerts = await read(at, filter);
      at = passOn(at, alerts);
      if (alerts.length < LIVE_ALERTS_MAX) return at;
    }
  }

  return async () => {
    state ??= await present();
    const alerts = await read(state, filter);
    const nodes = await firstOnes(run, alerts, state);
    state = passOn(state, alerts);
    const message = nodes.length === 0 ? undefined : { cursor: cursorOf(state), nodes };
    return { message, more: alerts.length === LIVE_ALERTS_MAX };
  };
}
