/**
 * Rung 3: the kernel as a privileged sensor of the host sees it. The command is started with a mark
 * among its arguments, by which the feed's events of it and of all below it are told from the
 * host's others. A probe with a mark of its own goes first: what the feed shows of it is the coverage.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';
import type { Clock, Draft, Log, Random } from '#schemas';
import { CommandError, SensorError } from '../sensors/errors.ts';
import type { Command, Exited, Running, Sink } from '../sensors/seccomp.ts';
import type { FeedFormat } from './facts.ts';
import { createIntake, type Intake } from './intake.ts';
import { createScope, type Scope } from './scope.ts';
import { type FeedPlace, openSource, type Source } from './source.ts';

export interface FeedSettings {
  /** How long the probe is waited for; feeds come late. */
  readonly probeMsMax: number;
  /** The end has come when the command's end was seen, or after so long. */
  readonly settleMsMax: number;
}

export const FEED_DEFAULTS: FeedSettings = { probeMsMax: 10_000, settleMsMax: 10_000 };

export interface FeedDeps {
  readonly format: FeedFormat;
  readonly place: FeedPlace;
  readonly clock: Clock;
  readonly log: Log;
  readonly random: Random;
  readonly joinKeys: readonly string[];
  readonly toolCallKey?: string;
  readonly settings?: FeedSettings;
}

export interface Feed {
  readonly source: string;
  run(command: Command, sink: Sink): Promise<Running>;
}

const FEED_RUNG = 3;
const STEP_MS = 50;
const MARK_BYTES = 12;
/** One of each: a program, a written file, a connection that nobody takes, an end. */
const PROBE =
  "require('fs').writeFileSync(process.argv[2],'');" +
  "require('net').connect(9,'127.0.0.1').on('error',()=>process.exit(3))";
const PROBE_FILE = '/dev/null';
const PROBE_PORT = 9;
const PROBE_EXIT = 3;

/** What is wrong with what the feed showed of the probe, in words. */
function probeFaults(drafts: readonly Draft[]): readonly string[] {
  const wanted: readonly (readonly [string, (draft: Draft) => boolean])[] = [
    ['a written file', (draft) => draft.kind === 'file' && draft.file_path === PROBE_FILE],
    ['a connection', (draft) => draft.kind === 'net' && draft.net_port === PROBE_PORT],
    ['an exit code', (draft) => draft.kind === 'exit' && draft.exit_code === PROBE_EXIT],
  ];
  return wanted.filter(([, shows]) => !drafts.some(shows)).map(([what]) => what);
}

function started(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', (error: NodeJS.ErrnoException) =>
      reject(new CommandError(error.code ?? 'EINVAL', error.message)),
    );
  });
}

export function createFeed(deps: FeedDeps): Feed {
  const { format, place, clock, log, settings = FEED_DEFAULTS } = deps;
  const { source } = format;
  const now = () => clock.wallNs().toString();
  const own = () => ({ ts: now(), source, assurance: 'observed' as const, sensor_name: source });
  const newMark = () => `telltale-${Buffer.from(deps.random.bytes(MARK_BYTES)).toString('hex')}`;
  const scopeOf = (mark: string): Scope => createScope({ ...deps, source, mark });

  /** Waits for `done`, for a bounded time, reading what comes. */
  async function until(lines: Source, ms: number, done: () => boolean): Promise<boolean> {
    const end = clock.monotonicNs() + BigInt(ms) * 1_000_000n;
    while (!done() && clock.monotonicNs() < end) {
      await clock.sleep(STEP_MS);
      await lines.poll();
    }
    return done();
  }
  async function check(lines: Source, state: Intake, command: Command): Promise<Draft> {
    const waited = `within ${settings.probeMsMax / 1000} s`;
    if (!(await until(lines, settings.probeMsMax, () => lines.ready)))
      throw new SensorError('broken', `no feed was there ${waited}`);
    const mark = newMark();
    const scope = scopeOf(mark);
    state.follow(scope, true);
    const { cwd, env } = command;
    const args = ['-e', PROBE, mark, PROBE_FILE];
    const probe = spawn(process.execPath, args, { cwd, env, stdio: 'ignore' });
    await started(probe).catch((error) => {
      throw new SensorError('broken', `the probe could not be run: ${String(error)}`);
    });
    await until(lines, settings.probeMsMax, () => scope.ended);
    if (scope.root === undefined)
      throw new SensorError('broken', `the feed showed nothing of the probe ${waited}`);
    const faults = probeFaults(state.probed());
    if (faults.length > 0)
      log.warn('sensor_partial', { sensor: source, reason: faults.join(', ') });
    return {
      ...{ kind: 'sensor', ...own(), sensor_rung: FEED_RUNG },
      coverage: faults.length === 0 ? 'complete' : 'partial',
      reason:
        faults.length === 0
          ? 'probe seen whole'
          : `of the probe was not seen: ${faults.join(', ')}`,
      attrs: { supervisor: `feed of ${source}`, process_ids: 'of the host' },
    };
  }
  /** What the end shows to be missing. */
  function finals({ counts, scope }: Intake, lost: number): Draft[] {
    const drafts: Draft[] = [];
    if (scope()?.root === undefined)
      drafts.push({
        ...{ kind: 'gap', ...own(), gap_reason: 'sensor_lost' },
        reason: 'the feed never showed the command: nothing of it was seen',
      });
    else if (scope()?.ended === false)
      drafts.push({
        ...{ kind: 'gap', ...own(), gap_reason: 'sensor_lost' },
        reason: `the command's end was not seen within ${settings.settleMsMax / 1000} s: what came last is missing`,
      });
    const missing = counts.unread + lost;
    if (missing > 0)
      drafts.push({
        ...{ kind: 'gap', ...own(), gap_reason: 'channel_lost', gap_count: missing },
        reason: `lines of the feed that could not be read, of ${counts.lines + lost}`,
      });
    return drafts;
  }

  return {
    source,
    async run(command, sink) {
      const state = createIntake({ format, own, sink });
      let ended = false;
      let stopping = false;
      const lines = openSource(place, clock, {
        lines: state.lines,
        ended(reason) {
          ended = true;
          log.error('feed_ended', { sensor: source, reason });
          if (stopping || state.scope()?.ended === true) return;
          const gone = { ...own(), reason: `the feed ended: ${reason}` };
          void sink([
            { kind: 'gap', ...gone, gap_reason: 'sensor_lost' },
            { kind: 'sensor', ...gone, sensor_rung: FEED_RUNG, coverage: 'none' },
          ]);
        },
      });
      await lines.start();
      let child: ChildProcess;
      try {
        const coverage = await check(lines, state, command);
        const mark = newMark();
        state.follow(scopeOf(mark), false);
        await sink([coverage]);
        const { cwd, env, argv } = command;
        const stdin = place.from === 'stdin' ? 'ignore' : 'inherit';
        child = spawn('/bin/sh', ['-c', 'exec "$@"', mark, ...argv], {
          ...{ cwd, env, stdio: [stdin, 'inherit', 'inherit'] },
        });
        await started(child);
      } catch (error) {
        stopping = true;
        await lines.stop();
        throw error;
      }
      const exited = new Promise<Exited>((resolve) => {
        child.once('exit', (code, signal) => resolve({ code, signal }));
      });
      return {
        pid: child.pid ?? 0,
        exited,
        signal(name) {
          const running = child.exitCode === null && child.signalCode === null;
          if (running) child.kill(constants.signals[name]);
        },
        async stop() {
          if (stopping) return;
          await until(lines, settings.settleMsMax, () => ended || state.scope()?.ended === true);
          stopping = true;
          await lines.stop();
          const rest = finals(state, lines.lost);
          if (rest.length > 0) await sink(rest);
        },
      };
    },
  };
}
