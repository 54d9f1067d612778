/**
 * One run as its frames tell it: the probe's verdict first, then the command's events, the end or
 * the loss. Every frame is handed on before the next chunk is asked for.
 */
import type { Draft, DraftOf, Log } from '#schemas';
import { type CommandError, errorOf, type SensorError } from './errors.ts';
import {
  createInterpreter,
  createTimes,
  exitOf,
  type Interpreter,
  type InterpretOptions,
  SECCOMP,
} from './interpret.ts';
import type { LaunchFault } from './launch.ts';
import { probeFaults } from './probe.ts';
import { createFrameReader, FRAME, type Frame, type Hello } from './wire.ts';

export type Sink = (drafts: readonly Draft[]) => Promise<void> | void;

export interface Exited {
  readonly code: number | null;
  readonly signal: string | null;
  /** Why neither is known. */
  readonly error?: string;
}

export interface Recording {
  /** Takes bytes of the supervisor; resolves when the sink has taken what they say. */
  take(chunk: Buffer): Promise<void>;
  /** The supervisor's stream broke off: says so as a gap. */
  lost(): Promise<void>;
  readonly pid: () => number;
  /** The recording came to its end in good order. */
  readonly ended: () => boolean;
  readonly mainGone: () => boolean;
  /** Why the command did not run. */
  readonly fault: () => SensorError | CommandError | undefined;
}

export interface RecordingDeps extends Partial<InterpretOptions> {
  readonly log: Log;
  /** What a supervisor writes first that takes over from a killed one; see `wire.ts`. */
  readonly mark?: Buffer;
  /** Which form of the supervisor it is, for the first `sensor` event. */
  readonly supervisor?: string;
  /** What this form does not do, in words, for the same event. */
  readonly limits?: string | undefined;
}

export interface RecordingEvents {
  running(): void;
  /** The command's main process is gone and all before it was taken by the sink. */
  mainExit(exit: Exited): void;
}

export function createRecording(deps: RecordingDeps, sink: Sink, on: RecordingEvents): Recording {
  const { log } = deps;
  const { source, rung } = deps.origin ?? SECCOMP;
  const reader = createFrameReader(deps.mark);
  let hello: Hello | undefined;
  let interpreter: Interpreter | undefined;
  let timeOf: (sec: number, nsec: number) => string = () => '';
  let probe: Draft[] | undefined = [];
  let coverage: 'complete' | 'partial' = 'complete';
  let numbered = 0;
  let lastTs = '';
  let fault: SensorError | CommandError | undefined;
  let mainGone = false;
  let ended = false;
  let batch: Draft[] = [];

  const deliver = async () => {
    if (batch.length === 0) return;
    const drafts = batch;
    batch = [];
    await sink(drafts);
  };
  const sensor = (ts: string, fields: Partial<DraftOf<'sensor'>>): Draft => ({
    kind: 'sensor',
    ts,
    source,
    assurance: 'observed',
    sensor_name: source,
    sensor_rung: rung,
    coverage,
    ...fields,
  });
  const begin = (frame: Frame) => {
    hello = JSON.parse(String(frame.parts[0])) as Hello;
    timeOf = createTimes(hello);
    interpreter = createInterpreter(hello, { ...deps, joinKeys: deps.joinKeys ?? [] });
  };
  const judge = (frame: Frame) => {
    const faults = probeFaults(probe ?? []);
    probe = undefined;
    if (faults.length > 0) {
      coverage = 'partial';
      log.warn('sensor_partial', { sensor: source, reason: faults.join('; ') });
    }
    const attrs = {
      ...(deps.supervisor === undefined ? {} : { supervisor: deps.supervisor }),
      secret_reads: hello?.secretReads ?? 'none',
      ...(deps.limits === undefined ? {} : { limits: deps.limits }),
      ...(hello?.noNewPrivs ? { no_new_privs: 'set-user-id programs do not elevate' } : {}),
      ...(hello?.exitState ? {} : { exit_state: 'kernel before 6.15: codes as asked for' }),
    };
    batch.push(
      sensor(timeOf(frame.sec, frame.nsec), {
        reason: faults.length === 0 ? 'probe seen whole' : faults.join('; '),
        ...(Object.keys(attrs).length === 0 ? {} : { attrs }),
      }),
    );
  };
  const finish = (frame: Frame) => {
    ended = true;
    if (frame.a === 0) return;
    const reason = `recording stopped while ${frame.a} processes still ran: ${frame.parts[0]}`;
    batch.push(sensor(timeOf(frame.sec, frame.nsec), { coverage: 'none', reason }));
  };
  const gap = (fields: Pick<DraftOf<'gap'>, 'gap_reason' | 'gap_count' | 'reason'>): Draft => ({
    kind: 'gap',
    ts: lastTs,
    source,
    assurance: 'observed',
    sensor_name: source,
    ...fields,
  });
  /** A gap of which nobody can say how much is in it. */
  const unseen = (reason: string): Draft => gap({ gap_reason: 'sensor_lost', reason });
  const dropped = (count: number): Draft => {
    const reason = 'the collector took nothing for too long; the command went on';
    log.error('sensor_overrun', { sensor: source, count });
    return gap({ gap_reason: 'sensor_overrun', gap_count: count, reason });
  };
  const resumed = (reason: string): Draft[] => {
    log.error('sensor_replaced', { sensor: source, reason });
    const again = { reason: 'a new supervisor goes on' };
    return [unseen(reason), sensor(lastTs, again)];
  };

  /** Only the main process's end has to wait for the sink. */
  const control = (frame: Frame): Promise<void> | void => {
    switch (frame.type) {
      case FRAME.hello:
        return begin(frame);
      case FRAME.go:
        return judge(frame);
      case FRAME.refused:
        ended = true;
        fault = errorOf(JSON.parse(String(frame.parts[0])) as LaunchFault);
        return;
      case FRAME.notStarted:
        fault = errorOf(JSON.parse(String(frame.parts[0])) as LaunchFault);
        return;
      case FRAME.running:
        return on.running();
      case FRAME.mainExit:
        mainGone = true;
        return deliver().then(() => on.mainExit(exitOf(frame.a)));
      case FRAME.dropped:
        batch.push(dropped(frame.a));
        return;
      case FRAME.resumed:
        batch.push(...resumed(String(frame.parts[0])));
        return;
      case FRAME.end:
        return finish(frame);
    }
  };
  const takeFrame = (frame: Frame): Promise<void> | void => {
    // A successor writes once more what the one before it may not have written whole.
    if (frame.number < numbered) return;
    if (frame.number !== numbered) {
      log.error('sensor_frames_missing', { expected: numbered, got: frame.number });
      batch.push(unseen(`frames ${numbered} to ${frame.number - 1} of the supervisor are missing`));
    }
    numbered = (frame.number + 1) >>> 0;
    if (interpreter !== undefined) {
      lastTs = timeOf(frame.sec, frame.nsec);
      const drafts = interpreter.push(frame);
      (probe ?? batch).push(...drafts);
    }
    return control(frame);
  };

  return {
    async take(chunk) {
      for (const frame of reader.push(chunk)) {
        const waits = takeFrame(frame);
        if (waits !== undefined) await waits;
      }
      await deliver();
    },
    async lost() {
      const rest = reader.restBytes();
      const torn = rest === 0 ? '' : `; a torn frame of ${rest} bytes was left`;
      const reason = `the supervisor's stream broke off${torn}: what the command does is not seen`;
      log.error('sensor_lost', { sensor: source, pid: hello?.pid, reason });
      if (hello === undefined) return;
      batch.push(unseen(reason));
      await deliver();
    },
    pid: () => hello?.pid ?? 0,
    ended: () => ended,
    mainGone: () => mainGone,
    fault: () => fault,
  };
}
