/**
 * What becomes of what rules say: alerts that are new are stored, and then told to the sinks; what
 * does not hold any more is stored and told as withdrawn. The same for rules of a session, of a
 * whole tenant, and for the baseline.
 */
import {
  ALERT_STATES_TABLE,
  ALERTS_TABLE,
  type Alert,
  alertLine,
  alertStateLine,
  type Clock,
  type Log,
  type Meter,
  type Outcome,
} from '#schemas';
import { slotsOf, type Writer } from '../write.ts';
import type { StoredAlert } from './history.ts';
import type { Sink } from './sink.ts';

/** What is known of the alerts of a session, or of a tenant. */
export interface Book {
  /** Fingerprints that are stored already. */
  readonly known: Set<string>;
  /** Those of them that were withdrawn since. */
  readonly withdrawn: Set<string>;
  /** Alerts raised, by rule. */
  readonly raised: Map<string, number>;
}

const fingerprintOf = ({ alert }: StoredAlert) => alert.fingerprint;

/** A book as the table has it. */
export function openBook(stored: readonly StoredAlert[]): Book {
  const raised = new Map<string, number>();
  for (const { alert } of stored) raised.set(alert.rule.id, (raised.get(alert.rule.id) ?? 0) + 1);
  return {
    raised,
    known: new Set(stored.map(fingerprintOf)),
    withdrawn: new Set(stored.filter((one) => one.withdrawn).map(fingerprintOf)),
  };
}

export interface RaiseDeps {
  readonly writer: Writer;
  readonly log: Log;
  readonly meter: Meter;
  readonly clock: Clock;
  readonly sinks: readonly Sink[];
}

export interface Raiser {
  /**
   * Stores and tells what is new in an outcome. `bookOf`: where an alert is noted; without a book it
   * counts as new. Rejects where `signal` is aborted or the store is closed.
   */
  write(
    outcome: Pick<Outcome, 'raised' | 'withdrawn'>,
    bookOf: (alert: Alert) => Book | undefined,
    signal: AbortSignal,
  ): Promise<void>;
}

const WHY_WITHDRAWN = 'an event that came late changed the order';

/** `alertsPerRuleMax`: alerts of one rule in one book; what is more is counted and said. */
export function createRaiser(deps: RaiseDeps, alertsPerRuleMax: number): Raiser {
  const { writer, log, meter, clock } = deps;

  /** Notes a raised alert: is it new, does it stand again, or is it one too many or known? */
  function sort(alert: Alert, book: Book | undefined): 'new' | 'again' | 'nothing' {
    if (book === undefined) return 'new';
    if (book.withdrawn.delete(alert.fingerprint)) return 'again';
    if (book.known.has(alert.fingerprint)) return 'nothing';
    book.known.add(alert.fingerprint);
    const count = (book.raised.get(alert.rule.id) ?? 0) + 1;
    book.raised.set(alert.rule.id, count);
    if (count <= alertsPerRuleMax) return 'new';
    meter.count('telltale.detect.alerts_suppressed', 1);
    if (count === alertsPerRuleMax + 1)
      log.warn('detect.alerts_suppressed', { rule: alert.rule.id, session: alert.session_id });
    return 'nothing';
  }

  /** From the last event of an alert until now; clocks of others may be ahead of ours. */
  function lateSeconds({ events }: Alert): number {
    const last = events.at(-1)?.ts ?? '';
    const lateNs = /^\d{1,19}$/.test(last) ? clock.wallNs() - BigInt(last) : 0n;
    return Math.max(0, Number(lateNs) / 1e9);
  }

  return {
    async write({ raised, withdrawn }, bookOf, signal) {
      if (raised.length === 0 && withdrawn.length === 0) return;
      for (const alert of withdrawn) bookOf(alert)?.withdrawn.add(alert.fingerprint);
      const sorted = raised.map((alert) => ({ alert, as: sort(alert, bookOf(alert)) }));
      const alerts = sorted.filter(({ as }) => as === 'new').map(({ alert }) => alert);
      const again = sorted.filter(({ as }) => as === 'again').map(({ alert }) => alert);
      const nowMs = Number(clock.wallNs() / 1_000_000n);
      const states = [
        ...withdrawn.map((one) => alertStateLine(one, 'withdrawn', 'engine', WHY_WITHDRAWN, nowMs)),
        ...again.map((one) => alertStateLine(one, 'standing', 'engine', WHY_WITHDRAWN, nowMs + 1)),
      ];
      await writer.insert(ALERTS_TABLE, slotsOf(alerts.map(alertLine)), 'alerts', signal);
      await writer.insert(ALERT_STATES_TABLE, slotsOf(states), 'alerts', signal);
      meter.count('telltale.detect.alerts', alerts.length);
      for (const alert of alerts) meter.record('telltale.detect.alert_latency', lateSeconds(alert));
      for (const sink of deps.sinks) {
        sink.withdraw(withdrawn);
        sink.raise([...alerts, ...again]);
      }
    },
  };
}
