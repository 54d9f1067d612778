/**
 * The channels of one run: an OTLP receiver on loopback, the agent's session files, its hooks. What
 * they bring goes through the agent's mapper to the session, in this order for each delivery: first
 * what the session files have by now (they know the turns), then the records.
 */
import type { Clock, Draft, Log, Meter } from '#schemas';
import type { Channels } from '../record.ts';
import type { Adapter, Mapped, SessionFiles } from './adapter.ts';
import { createReceiver, RECEIVER_DEFAULTS, type ReceiverLimits } from './otlp/receiver.ts';
import type { Parsed } from './otlp/shape.ts';
import { createTail, findFiles, firstLine } from './tail.ts';

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
type Channel = 'otlp' | 'rollout' | 'hook';

/** Conversations of one run that are followed; sub-agents have their own. */
const CONVERSATIONS_MAX = 256;
const FIRST_LINE_BYTES_MAX = 1024 * 1024;
/** Session files looked at when no telemetry named one. */
const CANDIDATES_MAX = 32;
const NS_PER_MS = 1_000_000n;

/** Makes the channels; nothing listens or reads before `start`. */
export function createAgentChannels(deps: ChannelDeps, sink: Sink): Channels {
  const { adapter, clock, log, meter } = deps;
  const settings = deps.settings ?? CHANNEL_DEFAULTS;
  const startNs = clock.wallNs();
  const mapper = adapter.mapper(startNs);
  const seen: Record<Channel, number> = { otlp: 0, rollout: 0, hook: 0 };
  const unmapped: Record<Channel, number> = { otlp: 0, rollout: 0, hook: 0 };
  const missing = new Set<string>();
  const followed = new Set<string>();
  let files: SessionFiles | undefined;
  let warning: string | undefined;
  let refused = 0;
  let lastNs = clock.monotonicNs();
  let turn: Promise<unknown> = Promise.resolve();
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;

  function take(channel: Channel, map: () => Mapped): void {
    seen[channel]++;
    let outcome = 'unknown';
    try {
      const drafts = map();
      if (drafts !== undefined) outcome = drafts.length > 0 ? 'mapped' : 'ignored';
      if (drafts !== undefined && drafts.length > 0) sink(drafts);
    } catch (error) {
      outcome = 'failed';
      log.debug('agents.record_failed', { channel, reason: String(error) });
    }
    if (outcome === 'unknown' || outcome === 'failed') unmapped[channel]++;
    meter.count('telltale.agents.records', 1, { channel, outcome });
  }

  const tail = createTail((line, file) => {
    take('rollout', () => mapper.line?.(line, file));
  });

  /** One piece of work after the other: the order of events is the order of their arrival. */
  function queue<T>(work: () => Promise<T>): Promise<T> {
    const done = turn.then(work);
    turn = done.catch((error: unknown) =>
      log.error('agents.channel_failed', { reason: String(error) }),
    );
    return done;
  }

  async function readFiles(): Promise<void> {
    for (const conversation of missing) {
      if (files === undefined) break;
      const ending = files.suffix(conversation);
      const [file] = await findFiles(files.root, (name) => name.endsWith(ending), 1);
      if (file === undefined) continue;
      missing.delete(conversation);
      tail.follow(file);
    }
    if ((await tail.poll()) > 0) lastNs = clock.monotonicNs();
  }

  function followConversations(parsed: Parsed): void {
    for (const record of parsed.logs) {
      const id = mapper.conversationOf?.(record);
      if (id === undefined || followed.has(id) || followed.size >= CONVERSATIONS_MAX) continue;
      followed.add(id);
      missing.add(id);
    }
  }

  async function takeOtlp(parsed: Parsed): Promise<void> {
    followConversations(parsed);
    await readFiles();
    lastNs = clock.monotonicNs();
    // Spans first: they, too, tell turns that logs only name by trace.
    for (const span of parsed.spans) take('otlp', () => mapper.span(span));
    for (const record of parsed.logs) take('otlp', () => mapper.log(record));
    unmapped.otlp += parsed.malformed;
    if (parsed.malformed > 0)
      meter.count('telltale.agents.records', parsed.malformed, {
        channel: 'otlp',
        outcome: 'failed',
      });
    if (parsed.metricPoints > 0) meter.count('telltale.agents.metric_points', parsed.metricPoints);
  }

  const receiver = createReceiver(
    {
      otlp: (_signal, parsed) => queue(() => takeOtlp(parsed)),
      hook: (name, payload) =>
        queue(async () => {
          lastNs = clock.monotonicNs();
          const receivedNs = clock.wallNs().toString();
          take('hook', () => mapper.hook?.(name, payload, receivedNs));
        }),
      refused(status) {
        refused++;
        meter.count('telltale.agents.requests_refused', 1, { status: String(status) });
      },
    },
    log,
    settings.receiver,
  );

  /** When no telemetry named a session: files that began in this run, in its directory. */
  async function followUnnamed(): Promise<void> {
    if (files === undefined || followed.size > 0) return;
    const candidates = await findFiles(files.root, () => true, CANDIDATES_MAX);
    for (const file of candidates) {
      const line = await firstLine(file, FIRST_LINE_BYTES_MAX);
      try {
        if (line !== undefined && files.isOurs(line)) tail.follow(file);
      } catch {
        // A file whose first line is no session is not ours.
      }
    }
    await readFiles();
  }

  function coverage(channel: Channel, lost: number, none: string): Draft {
    const level = seen[channel] === 0 ? 'none' : lost > 0 ? 'partial' : 'complete';
    return {
      kind: 'sensor',
      ts: clock.wallNs().toString(),
      source: 'collector',
      assurance: 'verified',
      sensor_name: channel,
      coverage: level,
      ...(level === 'none' ? { reason: warning ?? none } : {}),
      ...(level === 'partial' ? { reason: `${lost} of ${seen[channel]} could not be mapped` } : {}),
      attrs: { records: String(seen[channel]), unmapped: String(lost) },
    };
  }

  /** What each channel brought, said at the end, when it is known. */
  function report(): void {
    const drafts = [coverage('otlp', unmapped.otlp + refused, 'no telemetry arrived')];
    if (mapper.line !== undefined)
      drafts.push(coverage('rollout', unmapped.rollout + tail.lost, 'no session file was found'));
    if (seen.hook > 0) drafts.push(coverage('hook', unmapped.hook, ''));
    sink(drafts);
  }

  return {
    async start() {
      await receiver.start();
      timer = setInterval(() => {
        if (tail.files.length + missing.size > 0) void queue(readFiles);
      }, settings.pollMs);
      timer.unref();
    },
    async prepare(command) {
      const prepared = adapter.prepare(command, { url: receiver.url, startNs });
      files = prepared.files;
      warning = prepared.warning;
      if (warning !== undefined) log.warn('agents.no_telemetry', { reason: warning });
      return prepared.command;
    },
    async settle() {
      const beganNs = clock.monotonicNs();
      lastNs = beganNs;
      for (;;) {
        await queue(readFiles);
        const now = clock.monotonicNs();
        const quiet = now - lastNs >= BigInt(settings.quietMs) * NS_PER_MS;
        if (quiet && receiver.active === 0) break;
        if (now - beganNs >= BigInt(settings.settleMsMax) * NS_PER_MS) break;
        await clock.sleep(settings.pollMs / 2);
      }
      await queue(followUnnamed);
      report();
    },
    async stop() {
      if (stopped) return;
      stopped = true;
      clearInterval(timer);
      await receiver.stop();
      await turn;
    },
  };
}
