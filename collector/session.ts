/**
 * One recorded session: sensors and agent channels put drafts in, the spool gets numbered events
 * out. Here stand the stream's first and last event, its heartbeats and its declared gaps.
 */
import type { Clock, Draft, DraftOf, GapReason, Log, Meter, Random } from '#schemas';
import { SCHEMA_VERSION } from '#schemas';
import type { Spool } from './spool.ts';
import { createStamper, type StampedEvent } from './stamp.ts';

export interface SessionSettings {
  /** A signed checkpoint at least every so many events … */
  readonly checkpointEvents: number;
  /** … and this often while events come, */
  readonly heartbeatMs: number;
  /** and this often while none come: the stream is alive. */
  readonly idleHeartbeatMs: number;
  /** How long a full spool holds the agent up before events are dropped and counted. */
  readonly blockMsMax: number;
}

export const SESSION_DEFAULTS: SessionSettings = {
  checkpointEvents: 1000,
  heartbeatMs: 1000,
  idleHeartbeatMs: 30_000,
  blockMsMax: 10_000,
};

export interface OpenFields {
  readonly commandArgs: readonly string[];
  readonly cwd: string;
  readonly settings: Readonly<Record<string, string>>;
}

export type CloseFields = Pick<
  DraftOf<'session.close'>,
  'close_reason' | 'exit_code' | 'exit_signal' | 'reason'
>;

export interface Session {
  /**
   * Takes drafts in the order in which they came. Resolves when they are in the spool; waits while
   * it is full, and after `blockMsMax` drops and counts them. Calls may overlap.
   */
  add(drafts: readonly Draft[]): Promise<void>;
  /** Writes the last checkpoint as session.close. Nothing can be added afterwards. */
  close(fields: CloseFields): Promise<void>;
  readonly eventCount: number;
}

interface SessionDeps {
  readonly spool: Spool;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly meter: Meter;
  readonly settings?: SessionSettings;
  /** Takes secrets out of a draft before it is numbered. */
  readonly redact?: (draft: Draft) => Draft;
}

/** Opens the stream: writes session.open and starts its heartbeat. */
export function openSession(deps: SessionDeps, open: OpenFields): Session {
  const { spool, clock, log, meter } = deps;
  const settings = deps.settings ?? SESSION_DEFAULTS;
  const stamper = createStamper(spool.identity, clock, deps.random, deps.redact);
  let sinceCheckpoint = 0;
  let dropped = 0;
  let closed = false;
  let turn: Promise<void> = Promise.resolve();

  const own = () => ({
    ts: clock.wallNs().toString(),
    source: 'collector',
    assurance: 'verified' as const,
  });
  const heartbeat = (): Draft => ({ kind: 'session.heartbeat', ...own() });
  const gap = (reason: GapReason, count: number): Draft => ({
    kind: 'gap',
    ...own(),
    gap_reason: reason,
    gap_count: count,
  });

  /** Stamps and spools a batch. Once stamped, an event's number is given out and must not be lost. */
  function write(drafts: readonly Draft[]): void {
    const events: StampedEvent[] = [];
    for (const draft of drafts) {
      events.push(stamper.stamp(draft));
      if (draft.kind !== 'session.heartbeat') sinceCheckpoint++;
      if (sinceCheckpoint >= settings.checkpointEvents && draft.kind !== 'session.close') {
        events.push(stamper.stamp(heartbeat()));
        sinceCheckpoint = 0;
      }
    }
    if (events.length === 0) return;
    if (refused.length > 0 || !spool.append(events)) refused.push(...events);
    meter.count('telltale.collector.events', events.length);
  }

  /** Stamped events that a full disk had no room for; they go before anything else. */
  const refused: StampedEvent[] = [];

  /** Waits for room, so that nothing is given a number which could then not be kept. */
  async function makeRoom(patienceMs = settings.blockMsMax): Promise<boolean> {
    const end = clock.monotonicNs() + BigInt(patienceMs) * 1_000_000n;
    for (;;) {
      if (refused.length > 0 && spool.append(refused)) refused.length = 0;
      if (refused.length === 0 && !spool.isFull) return true;
      if (clock.monotonicNs() >= end) return false;
      await clock.sleep(50);
    }
  }

  /** What was dropped since the last gap, as drafts: one gap, or nothing. */
  function declareDropped(): readonly Draft[] {
    const lost = dropped === 0 ? [] : [gap('spool_full', dropped)];
    if (dropped > 0) meter.count('telltale.collector.gaps', 1, { reason: 'spool_full' });
    dropped = 0;
    return lost;
  }

  async function take(drafts: readonly Draft[]): Promise<void> {
    if (closed || drafts.length === 0) return;
    // The agent is held up once, not anew for each batch: from the first loss on it goes on.
    if (!(await makeRoom(dropped === 0 ? settings.blockMsMax : 0))) {
      if (dropped === 0) log.error('session.spool_full', { waiting: spool.pending });
      dropped += drafts.length;
      meter.count('telltale.collector.events_dropped', drafts.length);
      return;
    }
    write([...declareDropped(), ...drafts]);
    // Where the disk is full, what was just numbered is not safe before it is on it.
    if (refused.length > 0) await makeRoom();
  }

  /** One after the other; a work that fails spoils no later one. */
  const queue = (work: () => Promise<void>): Promise<void> => {
    const mine = turn.then(work);
    turn = mine.catch(() => {});
    return mine;
  };

  /** A checkpoint, unless there is no room: then the next one covers as much. */
  async function beat(): Promise<void> {
    if (closed || refused.length > 0 || spool.isFull) return;
    write(declareDropped());
    write([heartbeat()]);
    sinceCheckpoint = 0;
  }

  let idleMs = 0;
  const endBeats = clock.every(settings.heartbeatMs, () => {
    idleMs += settings.heartbeatMs;
    if (sinceCheckpoint === 0 && idleMs < settings.idleHeartbeatMs) return;
    idleMs = 0;
    queue(beat).catch((error) => log.error('session.no_heartbeat', { error: String(error) }));
  });

  write([
    {
      kind: 'session.open',
      ...own(),
      schema_version: SCHEMA_VERSION,
      command_args: [...open.commandArgs],
      cwd: open.cwd,
      public_key: stamper.publicKey,
      settings: open.settings,
    },
  ]);

  return {
    add: (drafts) => queue(() => take(drafts)),
    close: (fields) =>
      queue(async () => {
        if (closed) return;
        endBeats();
        // Both go in beyond the spool's bound; only a full disk can keep them out.
        write(declareDropped());
        write([{ kind: 'session.close', ...own(), ...fields }]);
        closed = true;
        if (refused.length > 0) await makeRoom();
        if (refused.length > 0)
          log.error('session.not_closed', { waiting: refused.length, reason: 'disk full' });
      }),
    get eventCount() {
      return stamper.count;
    },
  };
}
