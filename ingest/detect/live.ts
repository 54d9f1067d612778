/**
 * The live side of rules. It sees the events of a batch when they are stored and before the batch
 * is committed, so whatever is killed, the batch comes again and its alerts are found again; an
 * alert that the table has is not raised twice.
 *
 *     batch stored ─> sessions not known are read from the table ─> engine ─> alerts stored
 *                                                                          └─> sinks
 *
 * Rules never hold ingest up for long and never stop it: a rule that fails is an ERROR, and its
 * session is begun anew from the table with its next event.
 */
import {
  ALERT_STATES_TABLE,
  ALERTS_TABLE,
  type Alert,
  alertLine,
  alertStateLine,
  type Clock,
  type Engine,
  type Log,
  type Meter,
  type Outcome,
  type Store,
  StoreError,
  type TelltaleEvent,
} from '#schemas';
import { slotsOf, type Writer } from '../write.ts';
import { type SessionKey, type StoredAlert, sessionHistory, storedAlerts } from './history.ts';
import type { Sink } from './sink.ts';

export interface DetectLimits {
  /** Sessions whose place is known; the least recently seen are read again when they come back. */
  readonly sessionsMax: number;
  /** Alerts of one rule in one session; what is more is counted and said. */
  readonly alertsPerRuleMax: number;
  /** How far behind the clock it is certain that nothing comes any more: absences fire then. */
  readonly latenessMs: number;
}

export const DETECT_LIMITS: DetectLimits = {
  sessionsMax: 50_000,
  alertsPerRuleMax: 200,
  latenessMs: 600_000,
};

export interface DetectDeps {
  readonly store: Store;
  readonly writer: Writer;
  readonly log: Log;
  readonly meter: Meter;
  readonly clock: Clock;
  readonly engine: Engine;
  /** Ids of the engine's rules whose state stays within a session. */
  readonly rules: ReadonlySet<string>;
  readonly sinks: readonly Sink[];
  readonly limits?: DetectLimits;
}

export interface Detect {
  /**
   * Runs the rules over events that are stored. Resolves when what they raised is stored too;
   * rejects only where `signal` is aborted or the store is closed.
   */
  see(events: readonly TelltaleEvent[], signal: AbortSignal): Promise<void>;
  /** Raises what is overdue: an event that should have come and did not. */
  advance(signal: AbortSignal): Promise<void>;
  /** Another worker may have seen these sessions: everything is read again. */
  forget(): void;
}

const fingerprintOf = ({ alert }: StoredAlert) => alert.fingerprint;

interface Session {
  readonly key: SessionKey;
  /** The last number of each stream that the engine has seen. */
  readonly seen: Map<string, number>;
  /** Fingerprints that are stored already. */
  readonly known: Set<string>;
  /** Those of them that were withdrawn since. */
  readonly withdrawn: Set<string>;
  /** Alerts raised, by rule. */
  readonly raised: Map<string, number>;
}

const nameOf = ({ tenant, session_id }: SessionKey) => `${session_id}/${tenant}`;

export function createDetect(deps: DetectDeps): Detect {
  const { store, writer, log, meter, clock, engine } = deps;
  const limits = deps.limits ?? DETECT_LIMITS;
  /** In the order of last use. */
  const sessions = new Map<string, Session>();
  const lost = { evicted: 0, late: 0 };
  const certainNs = () => clock.wallNs() - BigInt(limits.latenessMs) * 1_000_000n;

  /** Reads a session from the table, with what was just stored, and runs the rules over it. */
  async function open(key: SessionKey, signal: AbortSignal): Promise<Outcome> {
    const stored = await writer.persist(() => storedAlerts(store, key), 'alerts', signal);
    const before = new Map(stored.map((one) => [one.alert.fingerprint, one]));
    const read = async () => {
      engine.forget(key.tenant, key.session_id);
      const session: Session = {
        key,
        seen: new Map(),
        known: new Set(before.keys()),
        withdrawn: new Set(stored.filter((one) => one.withdrawn).map(fingerprintOf)),
        raised: new Map(),
      };
      const found = new Map<string, Alert>();
      const take = ({ raised, withdrawn }: Outcome) => {
        for (const { fingerprint } of withdrawn) found.delete(fingerprint);
        for (const alert of raised) found.set(alert.fingerprint, alert);
      };
      for await (const events of sessionHistory(store, key, signal))
        take(engine.add(unseen(session, events)));
      take(engine.advance(certainNs()));
      sessions.set(nameOf(key), session);
      return found;
    };
    const found = await writer.persist(read, 'history', signal);
    // Raised by a worker that had not seen a late event, which is in its place now.
    const gone = stored.filter(
      ({ alert, withdrawn }) =>
        !withdrawn && !found.has(alert.fingerprint) && deps.rules.has(alert.rule.id),
    );
    return { raised: [...found.values()], withdrawn: gone.map(({ alert }) => alert) };
  }

  /** The events of a session that the engine has not seen, each stream in order. */
  function unseen(session: Session, events: readonly TelltaleEvent[]): TelltaleEvent[] {
    return events.filter(({ stream_id, seq }) => {
      if (seq <= (session.seen.get(stream_id) ?? -1)) return false;
      session.seen.set(stream_id, seq);
      return true;
    });
  }

  /** Notes a raised alert: is it new, does it stand again, or is it one too many or known? */
  function sort(alert: Alert): 'new' | 'again' | 'nothing' {
    const session = sessions.get(nameOf(alert));
    if (session === undefined) return 'new';
    if (session.withdrawn.delete(alert.fingerprint)) return 'again';
    if (session.known.has(alert.fingerprint)) return 'nothing';
    session.known.add(alert.fingerprint);
    const count = (session.raised.get(alert.rule.id) ?? 0) + 1;
    session.raised.set(alert.rule.id, count);
    if (count <= limits.alertsPerRuleMax) return 'new';
    meter.count('telltale.detect.alerts_suppressed', 1);
    if (count === limits.alertsPerRuleMax + 1)
      log.warn('detect.alerts_suppressed', { rule: alert.rule.id, session: alert.session_id });
    return 'nothing';
  }

  async function write({ raised, withdrawn }: Outcome, signal: AbortSignal): Promise<void> {
    if (raised.length === 0 && withdrawn.length === 0) return;
    for (const alert of withdrawn) sessions.get(nameOf(alert))?.withdrawn.add(alert.fingerprint);
    const sorted = raised.map((alert) => ({ alert, as: sort(alert) }));
    const alerts = sorted.filter(({ as }) => as === 'new').map(({ alert }) => alert);
    const again = sorted.filter(({ as }) => as === 'again').map(({ alert }) => alert);
    const nowMs = Number(clock.wallNs() / 1_000_000n);
    const why = 'an event that came late changed the order';
    const states = [
      ...withdrawn.map((alert) => alertStateLine(alert, 'withdrawn', 'engine', why, nowMs)),
      ...again.map((alert) => alertStateLine(alert, 'standing', 'engine', why, nowMs + 1)),
    ];
    await writer.insert(ALERTS_TABLE, slotsOf(alerts.map(alertLine)), 'alerts', signal);
    await writer.insert(ALERT_STATES_TABLE, slotsOf(states), 'alerts', signal);
    meter.count('telltale.detect.alerts', alerts.length);
    for (const sink of deps.sinks) {
      sink.withdraw(withdrawn);
      sink.raise([...alerts, ...again]);
    }
  }

  function trim(): void {
    for (const [name, { key }] of sessions) {
      if (sessions.size <= limits.sessionsMax) return;
      sessions.delete(name);
      engine.forget(key.tenant, key.session_id);
    }
  }

  /** What the engine had to let go is said once for each batch in which it grew. */
  function report(): void {
    const { evicted, late, hits, groups } = engine.stats();
    meter.gauge('telltale.detect.hits', hits);
    meter.gauge('telltale.detect.groups', groups);
    if (evicted > lost.evicted) {
      meter.count('telltale.detect.evicted', evicted - lost.evicted);
      log.warn('detect.evicted', { hits: evicted - lost.evicted });
    }
    if (late > lost.late) meter.count('telltale.detect.late', late - lost.late);
    Object.assign(lost, { evicted, late });
  }

  function bySession(events: readonly TelltaleEvent[]): Map<string, TelltaleEvent[]> {
    const out = new Map<string, TelltaleEvent[]>();
    for (const event of events) {
      const name = nameOf(event);
      const list = out.get(name);
      if (list === undefined) out.set(name, [event]);
      else list.push(event);
    }
    return out;
  }

  async function seeSession(events: readonly TelltaleEvent[], signal: AbortSignal) {
    const key = events[0] as TelltaleEvent;
    const session = sessions.get(nameOf(key));
    if (session === undefined) {
      const { tenant, session_id } = key;
      return open({ tenant, session_id }, signal);
    }
    sessions.delete(nameOf(key));
    sessions.set(nameOf(key), session);
    const sorted = [...events].sort((a, b) => a.seq - b.seq);
    return engine.add(unseen(session, sorted));
  }

  /** Runs `work` for a session; what a rule breaks is told and costs that session's state only. */
  async function guarded(
    key: SessionKey | undefined,
    signal: AbortSignal,
    work: () => Promise<void>,
  ): Promise<void> {
    try {
      await work();
    } catch (error) {
      const closed = error instanceof StoreError && error.fault.code === 'closed';
      if (closed || signal.aborted) throw error;
      meter.count('telltale.detect.failures', 1);
      log.error('detect.failed', { session: key?.session_id, error: String(error) });
      if (key === undefined) return;
      sessions.delete(nameOf(key));
      engine.forget(key.tenant, key.session_id);
    }
  }

  return {
    async see(events, signal) {
      for (const ofSession of bySession(events).values())
        await guarded(ofSession[0], signal, async () =>
          write(await seeSession(ofSession, signal), signal),
        );
      trim();
      report();
    },
    advance: (signal) =>
      guarded(undefined, signal, () => write(engine.advance(certainNs()), signal)),
    forget() {
      for (const { key } of sessions.values()) engine.forget(key.tenant, key.session_id);
      sessions.clear();
    },
  };
}
