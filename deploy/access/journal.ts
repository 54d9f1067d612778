/**
 * The journal as streams of the collector's own making: a session of accesses and one of casework
 * for each tenant, numbered, chained and sealed like an agent's, in a spool on disk, shipped to the
 * store by the normal way in. What `append` promises is a synced file, not a row.
 */
import os from 'node:os';
import path from 'node:path';
import type { Clock, Draft, Log, Meter, Random } from '#schemas';
import { type Disk, systemDisk } from '../../collector/disk.ts';
import { openSession, SESSION_DEFAULTS, type Session } from '../../collector/session.ts';
import { createShipper, type Shipper, type Transport } from '../../collector/ship.ts';
import {
  abandonedStreams,
  adoptSpool,
  createSpool,
  SPOOL_DEFAULTS,
  type Spool,
} from '../../collector/spool.ts';
import type { StampedEvent } from '../../collector/stamp.ts';
import {
  caseworkSession,
  JOURNAL_AGENT,
  type Journal,
  type JournalDraft,
  type JournalEntry,
  JournalError,
  type Journals,
} from '../../query/access/journal.ts';
import { uuidv7 } from '../process/ids.ts';
import { createSyncedDisk } from './synced-disk.ts';

/** Nobody is held up for a full disk: the request is refused at once. */
const SETTINGS = { ...SESSION_DEFAULTS, idleHeartbeatMs: 600_000, blockMsMax: 0 };
/** What waits to be shipped of one stream before requests are refused. */
const SPOOL_BYTES_MAX = 256 * 1024 ** 2;
const DRAIN_MS_MAX = 10_000;

export interface JournalDeps {
  /** Where what is not shipped yet lies. */
  readonly dir: string;
  /** The way into the store; the same for all streams. */
  readonly transport: Transport;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly meter: Meter;
  /** The machine's own where nothing is said. */
  readonly disk?: Disk;
  readonly bytesMax?: number;
  /** Takes secrets out of what is written down: who looks for a leaked key has it in the query. */
  readonly redact?: (draft: Draft) => Draft;
}

export interface JournalPart {
  readonly journals: Journals;
  /** Takes over what an earlier process left, and ships it beside what comes. */
  start(): void;
  /** Closes all streams and ships what is left, for a bounded time; the rest waits on disk. */
  stop(): Promise<void>;
}

interface Stream {
  append(draft: JournalDraft): Promise<JournalEntry>;
  close(): Promise<void>;
}

/** Opens the streams as they are needed. */
export function createJournals(deps: JournalDeps): JournalPart {
  const { clock, log, meter, random, transport } = deps;
  const disk = createSyncedDisk(deps.disk ?? systemDisk);
  const settings = {
    ...SPOOL_DEFAULTS,
    dir: deps.dir,
    bytesMax: deps.bytesMax ?? SPOOL_BYTES_MAX,
  };
  const streams = new Map<string, Stream>();
  const leftovers: { readonly spool: Spool; readonly shipper: Shipper }[] = [];
  let stopped = false;

  const shipperOf = (spool: Spool): Shipper => {
    const shipper = createShipper({ spool, transport, log, meter, clock });
    shipper.start();
    return shipper;
  };

  function openStream(tenant: string, kind: JournalDraft['kind']): Stream {
    const identity = {
      tenant,
      session_id: kind === 'annotation' ? caseworkSession(tenant) : uuidv7(),
      stream_id: uuidv7(),
      agent: JOURNAL_AGENT[kind],
      host: os.hostname(),
      user: os.userInfo().username,
    };
    const spool = createSpool(identity, settings, { disk, clock, log });
    const kept: StampedEvent[] = [];
    const watched: Spool = Object.create(spool, {
      append: {
        value: (events: readonly StampedEvent[]) => {
          const taken = spool.append(events);
          if (taken) kept.push(...events);
          return taken;
        },
      },
    });
    const session = openSession(
      {
        ...{ spool: watched, clock, random, log, meter, settings: SETTINGS },
        ...(deps.redact === undefined ? {} : { redact: deps.redact }),
      },
      { commandArgs: ['telltale', kind], cwd: path.resolve(deps.dir), settings: {} },
    );
    return streamOf(spool, session, kept, shipperOf(spool));
  }

  function streamOf(
    spool: Spool,
    session: Session,
    kept: StampedEvent[],
    shipper: Shipper,
  ): Stream {
    let turn: Promise<unknown> = Promise.resolve();
    let lastNs = 0n;

    /** One after the other, so that what was kept is known to be this one. */
    async function put(draft: JournalDraft): Promise<JournalEntry> {
      const nowNs = clock.wallNs();
      lastNs = nowNs > lastNs ? nowNs : lastNs + 1n;
      const ts = lastNs.toString();
      kept.length = 0;
      await session.add([{ ...draft, ts, source: 'query', assurance: 'verified' }]);
      const mine = kept.find(({ event }) => event.ts === ts && event.kind === draft.kind)?.event;
      if (mine === undefined)
        throw new JournalError('the journal’s disk is full, or can’t be written');
      const { session_id: of, stream_id, seq } = mine;
      return { id: `${stream_id}-${seq}`, session: of, ts };
    }

    return {
      append(draft) {
        const mine = turn.then(() => put(draft));
        turn = mine.catch(() => {});
        return mine.then(async (entry) => {
          await disk.flush().catch((cause) => {
            throw new JournalError('the journal’s disk can’t be synced', { cause });
          });
          return entry;
        });
      },
      async close() {
        await turn;
        await session.close({ close_reason: 'stopped' });
        await shipper.drain(DRAIN_MS_MAX);
        await shipper.stop();
        if (spool.pending > 0) log.warn('journal.not_shipped', { waiting: spool.pending });
        spool.close({ finished: true });
      },
    };
  }

  function streamFor(tenant: string, kind: JournalDraft['kind']): Stream {
    const key = `${kind} ${tenant}`;
    let stream = streams.get(key);
    if (stream === undefined) {
      stream = openStream(tenant, kind);
      streams.set(key, stream);
    }
    return stream;
  }

  const journals = new Map<string, Journal>();
  function journalOf(tenant: string): Journal {
    let failing = false;
    async function append(draft: JournalDraft): Promise<JournalEntry> {
      try {
        if (stopped) throw new JournalError('the service is stopping');
        const entry = await streamFor(tenant, draft.kind).append(draft);
        failing = false;
        return entry;
      } catch (error) {
        if (!failing) log.error('journal.failing', { error: String(error) });
        failing = true;
        meter.count('telltale.query.journal_failures', 1);
        if (error instanceof JournalError) throw error;
        throw new JournalError('the journal can’t be opened', { cause: error });
      }
    }
    return {
      append,
      get failing() {
        return failing;
      },
    };
  }

  return {
    journals(tenant) {
      const known = journals.get(tenant) ?? journalOf(tenant);
      journals.set(tenant, known);
      return known;
    },
    start() {
      for (const stream of abandonedStreams(deps.dir, disk)) {
        const spool = adoptSpool(stream, settings, { disk, clock, log });
        if (spool !== undefined) leftovers.push({ spool, shipper: shipperOf(spool) });
      }
    },
    async stop() {
      if (stopped) return;
      stopped = true;
      await Promise.all([...streams.values()].map((stream) => stream.close()));
      for (const { spool, shipper } of leftovers) {
        await shipper.drain(DRAIN_MS_MAX);
        await shipper.stop();
        spool.close({ finished: true });
      }
      await transport.close();
    },
  };
}
