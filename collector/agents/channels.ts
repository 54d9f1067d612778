/**
 * The channels of one run: an OTLP receiver on loopback, the agent's session files, its hooks. What
 * they bring goes through the agent's mapper to the session, in this order for each delivery: first
 * what the session files have by now (they know the turns), then the records.
 */
import { type Clock, type Draft, HTTP_STATUSES, type Log, labelOf, type Meter } from '#schemas';
import type { Channels } from '../record.ts';
import type { Adapter, Mapped, Mapper, SessionFiles } from './adapter.ts';
import { createReceiver, RECEIVER_DEFAULTS, type ReceiverLimits } from './otlp/receiver.ts';
import type { Parsed } from './otlp/shape.ts';
import { createTail, findFiles, firstLine, type Tail } from './tail.ts';

export interface ChannelSettings {
  readonly pollMs: number;
  /** The end has come when this long nothing arrived … */
  readonly quietMs: number;
  /** … or after this long in any case. */
  readonly settleMsMax: number;
  readonly receiver: ReceiverLimits;
}

export const CHANNEL_DEFAULTS: ChannelSettings = {
  pollMs: 200,
  quietMs: 400,
  settleMsMax: 5000,
  receiver: RECEIVER_DEFAULTS,
};

export interface ChannelDeps {
  readonly adapter: Adapter;
  /** A directory of this run's own, for files that a setup may need. */
  readonly dir: string;
  readonly log: Log;
  readonly clock: Clock;
  readonly meter: Meter;
  readonly settings?: ChannelSettings;
}

type Sink = (drafts: readonly Draft[]) => void;
type Channel = 'otlp' | 'files' | 'hook';

interface Intake {
  /** Maps one record and hands its drafts on; whatever goes wrong is counted. */
  take(channel: Channel, map: () => Mapped): void;
  /** Records that were not even objects. */
  malformed(channel: Channel, count: number): void;
  readonly seen: Readonly<Record<Channel, number>>;
  readonly unmapped: Readonly<Record<Channel, number>>;
}

/** Conversations of one run that are followed; sub-agents have their own. */
const CONVERSATIONS_MAX = 256;
const FIRST_LINE_BYTES_MAX = 1024 * 1024;
/** Files of one conversation. */
const FILES_MAX = 16;
const SUBAGENTS_MAX = 1024;
/** Session files looked at when no telemetry named one. */
const CANDIDATES_MAX = 32;
const NS_PER_MS = 1_000_000n;

type RecordOutcome = 'mapped' | 'ignored' | 'unknown' | 'failed';

function createIntake({ log, meter }: ChannelDeps, sink: Sink): Intake {
  const seen: Record<Channel, number> = { otlp: 0, files: 0, hook: 0 };
  const unmapped: Record<Channel, number> = { otlp: 0, files: 0, hook: 0 };
  const tell = (channel: Channel, outcome: RecordOutcome, count: number) => {
    seen[channel] += count;
    if (outcome === 'unknown' || outcome === 'failed') unmapped[channel] += count;
    meter.count('telltale.agents.records', count, { channel, outcome });
  };
  return {
    seen,
    unmapped,
    malformed(channel, count) {
      if (count > 0) tell(channel, 'failed', count);
    },
    take(channel, map) {
      let outcome: RecordOutcome = 'unknown';
      try {
        const drafts = map();
        if (drafts !== undefined) outcome = drafts.length > 0 ? 'mapped' : 'ignored';
        if (drafts !== undefined && drafts.length > 0) sink(drafts);
      } catch (error) {
        outcome = 'failed';
        log.debug('agents.record_failed', { channel, reason: String(error) });
      }
      tell(channel, outcome, 1);
    },
  };
}

interface Sessions {
  /** Follows the session file of a conversation, as soon as there is one. */
  follow(conversationId: string): void;
  /** Reads what is new. Resolves with the bytes that were read. */
  read(): Promise<number>;
  /** When no telemetry named a conversation: files that began in this run, in its directory. */
  followUnnamed(): Promise<void>;
  files: SessionFiles | undefined;
  readonly idle: boolean;
}

function createSessions(tail: Tail): Sessions {
  const followed = new Set<string>();
  const missing = new Set<string>();
  const folders: { readonly dir: string; readonly suffix: string }[] = [];
  return {
    files: undefined,
    get idle() {
      return tail.files.length + missing.size === 0;
    },
    follow(id) {
      if (followed.has(id) || followed.size >= CONVERSATIONS_MAX) return;
      followed.add(id);
      missing.add(id);
    },
    async read() {
      for (const conversation of missing) {
        if (this.files === undefined) break;
        const ending = this.files.suffix(conversation);
        const { root, subagents } = this.files;
        const found = await findFiles(root, (name) => name.endsWith(ending), FILES_MAX);
        if (found.length > 0) missing.delete(conversation);
        // The oldest first: a resumed conversation may go on in a file of its own.
        for (const file of found.reverse()) {
          tail.follow(file);
          if (subagents !== undefined) folders.push(subagents(file));
        }
      }
      for (const { dir, suffix } of folders)
        for (const file of await findFiles(dir, (name) => name.endsWith(suffix), SUBAGENTS_MAX))
          tail.follow(file);
      return tail.poll();
    },
    async followUnnamed() {
      if (this.files === undefined || followed.size > 0) return;
      for (const file of await findFiles(this.files.root, () => true, CANDIDATES_MAX)) {
        const line = await firstLine(file, FIRST_LINE_BYTES_MAX);
        try {
          if (line !== undefined && this.files.isOurs(line)) tail.follow(file);
        } catch {
          // A file whose first line is no session is not ours.
        }
      }
      await tail.poll();
    },
  };
}

/** What a channel brought, said at the end, when it is known. */
function coverage(ts: string, name: string, records: number, lost: number, none: string): Draft {
  const level = records === 0 ? 'none' : lost > 0 ? 'partial' : 'complete';
  const reason = level === 'none' ? none : `${lost} of ${records} could not be mapped`;
  return {
    kind: 'sensor',
    ts,
    source: 'collector',
    assurance: 'verified',
    sensor_name: name,
    coverage: level,
    ...(level === 'complete' ? {} : { reason }),
    attrs: { records: String(records), unmapped: String(lost) },
  };
}

/** One piece of work after the other: the order of events is the order of their arrival. */
function createQueue(log: Log) {
  let turn: Promise<unknown> = Promise.resolve();
  return {
    add<T>(work: () => Promise<T>): Promise<T> {
      const done = turn.then(work);
      turn = done.catch((error: unknown) =>
        log.error('agents.channel_failed', { reason: String(error) }),
      );
      return done;
    },
    empty: async () => void (await turn),
  };
}

/** Maps one delivery: first the files, then spans, then logs; each tells turns to the next. */
async function takeOtlp(parsed: Parsed, mapper: Mapper, intake: Intake, sessions: Sessions) {
  for (const record of parsed.logs) {
    const id = mapper.conversationOf?.(record);
    if (id !== undefined) sessions.follow(id);
  }
  await sessions.read();
  for (const span of parsed.spans) intake.take('otlp', () => mapper.span(span));
  for (const record of parsed.logs) intake.take('otlp', () => mapper.log(record));
  intake.malformed('otlp', parsed.malformed);
}

/** Makes the channels; nothing listens or reads before `start`. */
export function createAgentChannels(deps: ChannelDeps, sink: Sink): Channels {
  const { adapter, clock, log, meter } = deps;
  const settings = deps.settings ?? CHANNEL_DEFAULTS;
  // Session files tell whole milliseconds, so the run begins with one.
  const startNs = (clock.wallNs() / NS_PER_MS) * NS_PER_MS;
  const mapper = adapter.mapper(startNs);
  const intake = createIntake(deps, sink);
  const tail = createTail((line, file) => intake.take('files', () => mapper.line?.(line, file)));
  const sessions = createSessions(tail);
  const queue = createQueue(log);
  let warning: string | undefined;
  let hooks = false;
  let telemetry = true;
  let refused = 0;
  let lastNs = clock.monotonicNs();
  let timer: NodeJS.Timeout | undefined;

  const arrived = () => {
    lastNs = clock.monotonicNs();
  };
  const receiver = createReceiver(
    {
      async otlp(_signal, parsed) {
        meter.count('telltale.agents.metric_points', parsed.metricPoints);
        await queue.add(() => takeOtlp(parsed, mapper, intake, sessions));
        arrived();
      },
      async hook(name, payload) {
        const receivedNs = clock.wallNs().toString();
        const id = mapper.hookConversationOf?.(payload);
        if (id !== undefined) sessions.follow(id);
        await queue.add(async () =>
          intake.take('hook', () => mapper.hook?.(name, payload, receivedNs)),
        );
        arrived();
      },
      refused(status) {
        refused++;
        meter.count('telltale.agents.requests_refused', 1, {
          status: labelOf(HTTP_STATUSES, String(status)),
        });
      },
    },
    log,
    settings.receiver,
  );
  const read = () =>
    queue.add(async () => {
      if ((await sessions.read()) > 0) arrived();
    });

  function report(): void {
    const ts = clock.wallNs().toString();
    const { seen, unmapped } = intake;
    const none = warning ?? 'no telemetry arrived';
    const drafts =
      telemetry || seen.otlp > 0
        ? [coverage(ts, 'otlp', seen.otlp, unmapped.otlp + refused, none)]
        : [];
    const lost = unmapped.files + tail.lost;
    const { fileSource = 'rollout' } = adapter;
    if (mapper.line !== undefined)
      drafts.push(coverage(ts, fileSource, seen.files, lost, 'no session file was found'));
    if (seen.hook > 0 || hooks)
      drafts.push(coverage(ts, 'hook', seen.hook, unmapped.hook, 'no hook was run'));
    sink(drafts);
  }

  return {
    async start() {
      await receiver.start();
      timer = setInterval(() => sessions.idle || void read(), settings.pollMs);
      timer.unref();
    },
    async prepare(command) {
      const prepared = adapter.prepare(command, {
        url: receiver.url,
        startNs,
        dir: deps.dir,
      });
      sessions.files = prepared.files;
      hooks = prepared.hooks === true;
      telemetry = prepared.noTelemetry !== true;
      if (prepared.file !== undefined) tail.follow(prepared.file);
      warning = prepared.warning;
      if (warning !== undefined) log.warn('agents.no_telemetry', { reason: warning });
      return prepared.command;
    },
    async settle() {
      const beganNs = clock.monotonicNs();
      const since = (ns: bigint) => Number((clock.monotonicNs() - ns) / NS_PER_MS);
      arrived();
      while (since(beganNs) < settings.settleMsMax) {
        await read();
        if (receiver.active === 0 && since(lastNs) >= settings.quietMs) break;
        await clock.sleep(settings.pollMs / 2);
      }
      await queue.add(() => sessions.followUnnamed());
      await queue.add(async () => sink(mapper.end?.() ?? []));
      report();
    },
    async stop() {
      clearInterval(timer);
      await receiver.stop();
      await queue.empty();
    },
  };
}
