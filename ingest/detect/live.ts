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
import type { Alert, Clock, Engine, Log, Meter, Outcome, Store, TelltaleEvent } from '#schemas';
import type { Writer } from '../write.ts';
import {
  alertsOfSession,
  HISTORY_EVENTS_MAX,
  nameOf,
  type SessionKey,
  type StoredAlert,
  sessionHistory,
} from './history.ts';
import { type Book, createRaiser, openBook } from './raise.ts';
import type { Sink } from './sink.ts';
import { type Found, findTogether, isOver } from './together.ts';

export interface DetectLimits {
  /** Sessions whose place is known; the least recently seen are read again when they come back. */
  readonly sessionsMax: number;
  /** Alerts of one rule in one session; what is more is counted and said. */
  readonly alertsPerRuleMax: number;
  /** How far behind the clock it is certain that nothing comes any more: absences fire then. */
  readonly latenessMs: number;
  /** A session with an event that came too late is read again, at most so often … */
  readonly rereadMs: number;
  /** … and so many sessions between two looks for absences. */
  readonly rereadsMax: number;
  /** Events of one session that are read again; of a longer one the last, and no alert is withdrawn. */
  readonly historyEventsMax: number;
}

export const DETECT_LIMITS: DetectLimits = {
  sessionsMax: 50_000,
  alertsPerRuleMax: 200,
  latenessMs: 600_000,
  rereadMs: 10_000,
  rereadsMax: 20,
  historyEventsMax: HISTORY_EVENTS_MAX,
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
  /**
   * Raises what is overdue: an event that should have come and did not. Sessions in which an event
   * came too late to be put in its place are read again.
   */
  advance(signal: AbortSignal): Promise<void>;
  /** Another worker may have seen these sessions: everything is read again. */
  forget(): void;
}

interface Session {
  readonly key: SessionKey;
  /** The last number of each stream that the engine has seen. */
  readonly seen: Map<string, number>;
  readonly book: Book;
  /** When it may be read again; reading a session costs what it is long. */
  rereadNs: bigint;
  stale: boolean;
}

/** Reading a session again may take one part in so many of the time. */
const REREAD_SHARE = 20n;

/** A session as it is begun from what the table has of its alerts. */
const sessionOf = (key: SessionKey, stored: readonly StoredAlert[]): Session => ({
  key,
  seen: new Map(),
  book: openBook(stored),
  rereadNs: 0n,
  stale: false,
});

const joined = (outcomes: readonly Outcome[]): Pick<Outcome, 'raised' | 'withdrawn'> => ({
  raised: outcomes.flatMap(({ raised }) => raised),
  withdrawn: outcomes.flatMap(({ withdrawn }) => withdrawn),
});

/** The events of a session that the engine has not seen, each stream in order. */
function unseen(session: Session, events: readonly TelltaleEvent[]): TelltaleEvent[] {
  return events.filter(({ stream_id, seq }) => {
    if (seq <= (session.seen.get(stream_id) ?? -1)) return false;
    session.seen.set(stream_id, seq);
    return true;
  });
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

export function createDetect(deps: DetectDeps): Detect {
  const { store, writer, log, meter, clock, engine } = deps;
  const limits = deps.limits ?? DETECT_LIMITS;
  /** In the order of last use. */
  const sessions = new Map<string, Session>();
  const raiser = createRaiser(deps, limits.alertsPerRuleMax);
  let evictedBefore = 0;
  const certainNs = () => clock.wallNs() - BigInt(limits.latenessMs) * 1_000_000n;

  /** Begins a session with all that the table has of it, and runs the rules over it. */
  async function open(key: SessionKey, signal: AbortSignal, found?: Found): Promise<Outcome> {
    const name = nameOf(key);
    const stored =
      found?.stored ?? (await writer.persist(() => alertsOfSession(store, key), 'alerts', signal));
    const history = () =>
      found?.events === undefined
        ? sessionHistory(store, key, limits.historyEventsMax, signal)
        : [found.events];
    const read = async () => {
      const begunNs = clock.monotonicNs();
      const session = sessionOf(key, stored);
      const raised = new Map<string, Alert>();
      const take = (outcome: Outcome) => {
        for (const { fingerprint } of outcome.withdrawn) raised.delete(fingerprint);
        for (const alert of outcome.raised) raised.set(alert.fingerprint, alert);
      };
      const replay = engine.replay(key);
      let count = 0;
      for await (const events of history()) {
        count += events.length;
        replay.add(unseen(session, events));
      }
      take(replay.finish());
      take(engine.advance(certainNs()));
      const nowNs = clock.monotonicNs();
      const pauseNs = BigInt(limits.rereadMs) * 1_000_000n;
      const shareNs = (nowNs - begunNs) * REREAD_SHARE;
      session.rereadNs = nowNs + (shareNs > pauseNs ? shareNs : pauseNs);
      sessions.set(name, session);
      return { raised, whole: count < limits.historyEventsMax };
    };
    const { raised, whole } = await writer.persist(read, 'history', signal);
    // Raised by a worker that had not seen a late event, which is in its place now. Of a session
    // that was not read whole nobody can say so.
    const gone = stored.filter(
      ({ alert, withdrawn }) =>
        whole && !withdrawn && !raised.has(alert.fingerprint) && deps.rules.has(alert.rule.id),
    );
    return { raised: [...raised.values()], withdrawn: gone.map(({ alert }) => alert), stale: [] };
  }

  const write = (outcome: Pick<Outcome, 'raised' | 'withdrawn'>, signal: AbortSignal) =>
    raiser.write(outcome, (alert) => sessions.get(nameOf(alert))?.book, signal);

  function trim(): void {
    for (const [name, { key }] of sessions) {
      if (sessions.size <= limits.sessionsMax) return;
      sessions.delete(name);
      engine.forget(key.tenant, key.session_id);
    }
  }

  /** What the engine had to let go is said once for each batch in which it grew. */
  function report(): void {
    const { evicted, hits, groups } = engine.stats();
    meter.gauge('telltale.detect.hits', hits);
    meter.gauge('telltale.detect.groups', groups);
    if (evicted > evictedBefore) {
      meter.count('telltale.detect.evicted', evicted - evictedBefore);
      log.warn('detect.evicted', { states: evicted - evictedBefore });
    }
    evictedBefore = evicted;
  }

  async function seeSession(
    events: readonly TelltaleEvent[],
    found: Found | undefined,
    signal: AbortSignal,
  ) {
    const key = events[0] as TelltaleEvent;
    const session = sessions.get(nameOf(key));
    if (session === undefined) {
      const { tenant, session_id } = key;
      return open({ tenant, session_id }, signal, found);
    }
    sessions.delete(nameOf(key));
    sessions.set(nameOf(key), session);
    const sorted = [...events].sort((a, b) => a.seq - b.seq);
    const outcome = engine.add(unseen(session, sorted));
    if (outcome.stale.length > 0) session.stale = true;
    return outcome;
  }

  /** Runs `work` for sessions; what a rule breaks is told and costs those sessions' states only. */
  async function guarded(
    keys: readonly SessionKey[],
    signal: AbortSignal,
    work: () => Promise<void>,
  ): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (isOver(error, signal)) throw error;
      meter.count('telltale.detect.failures', 1);
      log.error('detect.failed', { session: keys[0]?.session_id, error: String(error) });
      for (const key of keys) {
        sessions.delete(nameOf(key));
        engine.forget(key.tenant, key.session_id);
      }
    }
  }

  return {
    async see(events, signal) {
      const batch = bySession(events);
      const unknown = new Map([...batch].filter(([name]) => !sessions.has(name)));
      const found = await findTogether(deps, unknown, signal);
      const keys = [...batch.values()].map(([first]) => first as TelltaleEvent);
      const outcomes: Outcome[] = [];
      for (const [name, ofSession] of batch)
        await guarded(ofSession.slice(0, 1), signal, async () => {
          outcomes.push(await seeSession(ofSession, found.get(name), signal));
        });
      // One insert for all sessions: it costs the engine as much as thousands of rows do.
      await guarded(keys, signal, () => write(joined(outcomes), signal));
      trim();
      report();
    },
    async advance(signal) {
      const nowNs = clock.monotonicNs();
      const due = [...sessions.values()].filter((one) => one.stale && one.rereadNs <= nowNs);
      for (const { key } of due.slice(0, limits.rereadsMax)) {
        meter.count('telltale.detect.rereads', 1);
        await guarded([key], signal, async () => write(await open(key, signal), signal));
      }
      await guarded([], signal, () => write(engine.advance(certainNs()), signal));
    },
    forget() {
      for (const { key } of sessions.values()) engine.forget(key.tenant, key.session_id);
      sessions.clear();
    },
  };
}
