/** Runs a command under the real sensor and keeps what it said, each draft proved to be an event. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Draft, DraftOf } from '#schemas';
import { buildHelper } from '../../../collector/sensors/helper.ts';
import {
  type Command,
  createSeccompSensor,
  type Exited,
  type Running,
  type SeccompDeps,
} from '../../../collector/sensors/seccomp.ts';
import { createStamper } from '../../../collector/stamp.ts';
import { type FakeLog, fakeClock, fakeLog, fakeRandom } from '../../fakes/ports.ts';

/** The kernel and machine that the sensor is built for; elsewhere its tests are skipped. */
export const here = process.platform === 'linux' && process.arch === 'x64';
if (!here)
  process.stderr.write(
    `SKIPPED: sensor tests need Linux on x86_64, this is ${process.platform} ${process.arch}\n`,
  );

const IDENTITY = {
  tenant: 'test',
  session_id: '0193a5e0-0000-7000-8000-000000000001',
  stream_id: '0193a5e0-0000-7000-8000-000000000002',
  agent: 'test',
  host: 'test',
  user: 'test',
};

/** Throws unless every draft can be stamped as it is: neither refused nor cut. */
export function proveEvents(drafts: readonly Draft[]): void {
  const stamper = createStamper(IDENTITY, fakeClock(), fakeRandom());
  for (const draft of drafts) {
    const { event } = stamper.stamp(draft);
    const refused = event.kind === 'gap' && event.gap_reason === 'invalid';
    const fault = refused ? event.reason : event.altered?.join();
    if (fault !== undefined) throw new Error(`no event: ${fault}: ${JSON.stringify(draft)}`);
  }
}

export interface Recorded {
  readonly drafts: readonly Draft[];
  readonly exit: Exited;
  readonly log: FakeLog;
  of<K extends Draft['kind']>(kind: K): DraftOf<K>[];
}

export interface RecordOptions extends Partial<Omit<SeccompDeps, 'log'>> {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly sink?: (drafts: readonly Draft[]) => Promise<void>;
  /** Is told when the command runs. */
  readonly during?: (running: Running, drafts: readonly Draft[]) => Promise<void> | void;
}

export const BASE_ENV = { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C' };

/** Drafts of one kind, typed. */
export const ofKind = <K extends Draft['kind']>(drafts: readonly Draft[], kind: K) =>
  drafts.filter((draft) => draft.kind === kind) as unknown as DraftOf<K>[];

export async function recordRun(
  argv: readonly string[],
  options: RecordOptions = {},
): Promise<Recorded> {
  const { env = BASE_ENV, cwd = os.tmpdir(), sink, during, ...deps } = options;
  const log = fakeLog();
  const drafts: Draft[] = [];
  const sensor = createSeccompSensor({ log, ...deps });
  const command: Command = { argv, env, cwd };
  const running = await sensor.run(command, async (some) => {
    await sink?.(some);
    drafts.push(...some);
  });
  await during?.(running, drafts);
  const exit = await running.exited;
  await running.stop();
  proveEvents(drafts);
  return { drafts, exit, log, of: (kind) => ofKind(drafts, kind) };
}

export type RecordRun = typeof recordRun;

/** The native supervisor; undefined where no compiler is: then its tests are skipped, loudly. */
export const helper: string | undefined = here
  ? ((await buildHelper({
      dir: path.join(os.tmpdir(), `telltale-test-helper-${process.getuid?.()}`),
    }).catch((error: Error) => void process.stderr.write(`SKIPPED: ${error.message}\n`))) ??
    undefined)
  : undefined;

const withHelper =
  (more: RecordOptions): RecordRun =>
  (argv, options = {}) =>
    recordRun(argv, { ...(helper === undefined ? {} : { helper }), ...more, ...options });

/** Every form of rung 1 by its name; all of them hold the same contract. */
export const FORMS: readonly (readonly [string, RecordRun])[] = [
  ['in TypeScript', recordRun],
  ...(helper === undefined ? [] : [['native', withHelper({})] as const]),
];
/** Those of rung 2 as well. */
export const RUNGS: readonly (readonly [string, RecordRun])[] = [
  ...FORMS,
  ...(helper === undefined ? [] : [['ptrace', withHelper({ ptrace: true })] as const]),
];

/** A directory of this test file's own, by its one true name. */
export function scratchDir(): string {
  return fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-sensor-')));
}

export const withoutPids = <T extends { pid?: unknown }>(events: readonly T[]): T[] =>
  events.map(({ pid: _, ...rest }) => rest as T);
