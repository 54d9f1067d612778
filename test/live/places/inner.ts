/**
 * What runs in a place: the ladder, a session and its spool, over a workload that counts what it
 * does. Prints one line of JSON, `Seen`.
 *
 *     node … inner.ts DIR [WORDS OF A SANDBOX THAT THE COMMAND RUNS IN …]
 */
import fs from 'node:fs';
import path from 'node:path';
import type { Draft, DraftOf } from '#schemas';
import { systemDisk } from '../../../collector/disk.ts';
import { SensorError } from '../../../collector/sensors/errors.ts';
import { createLadder } from '../../../collector/sensors/ladder.ts';
import { openSession } from '../../../collector/session.ts';
import { createSpool, SPOOL_DEFAULTS } from '../../../collector/spool.ts';
import { createClock, systemRandom } from '../../../deploy/process/clock.ts';
import { fakeLog, fakeMeter } from '../../fakes/ports.ts';

const PROGRAMS = 40;
/** Depth of shells below the command, and a process that outlives its parent. */
const SCRIPT = `
i=0; while [ $i -lt ${PROGRAMS} ]; do /bin/true program $i; echo $i > "$1/file$i"; i=$((i+1)); done
sh -c 'sh -c "/bin/true deep; :"; :'
sh -c '(/bin/sleep 0.2; echo x > "$0/orphan"; /bin/true orphan; :) &' "$1"
sleep 0.6
if [ -x "$1/../helper/setuid" ]; then "$1/../helper/setuid" "$1/euid"; fi
exit 7`;

/** What a place is asked for; `rung` is undefined where no command could be started at all. */
export interface Seen {
  readonly rung?: number | undefined;
  readonly sensor?: string | undefined;
  readonly supervisor?: string | undefined;
  readonly coverage?: string | undefined;
  /** Of each rung that was refused. */
  readonly refused: readonly string[];
  readonly noNewPrivs: boolean;
  readonly exitCode: number | null;
  /** Programs that the workload started and files that it wrote, by its own count. */
  readonly produced: number;
  /** Those of them that are in the spool. */
  readonly stored: number;
  /** Events that the stream declares as lost. */
  readonly gap: number;
  /** Events numbered, and lines in the spool. */
  readonly numbered: number;
  readonly lines: number;
  /** What is wrong with the process tree. */
  readonly tree: readonly string[];
  /** The effective user that the set-user-id helper had, and the command that was recorded of it. */
  readonly setuid?: string | undefined;
  readonly fault?: string | undefined;
}

const [dir = '', ...sandbox] = process.argv.slice(2);

const of = <K extends Draft['kind']>(events: readonly Draft[], kind: K) =>
  events.filter((event) => event.kind === kind) as unknown as DraftOf<K>[];

/** Everything in the segments of a spool, as it lies on the disk. */
function readSpool(spool: string): Draft[] {
  const files = fs.readdirSync(spool, { recursive: true, encoding: 'utf8' });
  return files
    .filter((name) => name.endsWith('.log'))
    .sort()
    .flatMap((name) => fs.readFileSync(path.join(spool, name), 'utf8').trim().split('\n'))
    .map((line) => JSON.parse(line.slice(9)) as Draft);
}

const endsWith = (argv: readonly string[] | undefined, word: string) => argv?.at(-1) === word;

/** The chain of `/bin/true deep` must be three shells, and the orphan must have a process. */
function treeFaults(execs: readonly DraftOf<'exec'>[], exits: readonly DraftOf<'exit'>[]) {
  const faults: string[] = [];
  const deep = execs.find((one) => endsWith(one.argv, 'deep'));
  let ppid = deep?.ppid;
  for (let depth = 0; depth < 3; depth++) {
    const parent = execs.findLast((one) => one.pid === ppid);
    if (parent?.argv?.[0] === undefined || path.basename(parent.argv[0]) !== 'sh')
      faults.push(`at ${depth + 1} above the deepest stands ${parent?.argv?.[0] ?? 'nobody'}`);
    ppid = parent?.ppid;
  }
  if (!execs.some((one) => endsWith(one.argv, 'orphan'))) faults.push('no orphan');
  const ended = new Map(exits.map((one) => [one.pid, one.exit_code]));
  const programs = execs.filter((one) => one.argv?.[1] === 'program');
  const open = programs.filter((one) => ended.get(one.pid) !== 0);
  if (open.length > 0) faults.push(`${open.length} programs without their exit code`);
  return faults;
}

function storedOf(events: readonly Draft[]) {
  const programs = of(events, 'exec').filter(
    (one) => one.argv?.[1] === 'program' && one.outcome === 'success',
  );
  const files = new Set(
    of(events, 'file')
      .map((one) => /\/file(\d+)$/.exec(one.file_path)?.[1])
      .filter((name) => name !== undefined),
  );
  return programs.length + files.size;
}

function setuidOf(events: readonly Draft[], work: string): string | undefined {
  const exec = of(events, 'exec').find((one) => one.exe.endsWith('/helper/setuid'));
  const said = path.join(work, 'euid');
  if (exec === undefined && !fs.existsSync(said)) return undefined;
  const below = of(events, 'exec').filter((one) => endsWith(one.argv, 'elevated')).length;
  const euid = fs.existsSync(said) ? fs.readFileSync(said, 'utf8').trim() : '?';
  return `euid ${euid}; exec ${exec === undefined ? 'unseen' : exec.assurance}, its child ${below}`;
}

async function look(): Promise<Seen> {
  const [spoolDir, work] = [path.join(dir, 'spool'), path.join(dir, 'work')];
  fs.mkdirSync(work);
  // The command may run as somebody else.
  fs.chmodSync(work, 0o777);
  const log = fakeLog();
  const clock = createClock();
  const identity = {
    ...{ tenant: 'places', agent: 'place', host: 'here', user: 'someone' },
    session_id: '0193a5e0-0000-7000-8000-000000000001',
    stream_id: '0193a5e0-0000-7000-8000-000000000002',
  };
  const disk = { disk: systemDisk, clock, log };
  const spool = createSpool(identity, { ...SPOOL_DEFAULTS, dir: spoolDir }, disk);
  const argv = [...sandbox, 'sh', '-c', SCRIPT, 'sh', work];
  const env = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' };
  const session = openSession(
    { spool, clock, random: systemRandom, log, meter: fakeMeter() },
    { commandArgs: argv, cwd: dir, settings: {} },
  );
  const ladder = createLadder({ log, clock, native: { dir: path.join(dir, 'native') } });
  const running = await ladder.run({ argv, env, cwd: dir }, (drafts) => session.add(drafts));
  const exit = await running.exited;
  await running.stop();
  await session.close({ close_reason: 'exited', exit_code: exit.code ?? 255 });
  const events = readSpool(spoolDir);
  const sensors = of(events, 'sensor').filter((one) => one.sensor_rung !== undefined);
  const chosen = sensors.find((one) => one.coverage !== 'none');
  const counted = fs.readdirSync(work).filter((name) => name.startsWith('file')).length;
  const gaps = of(events, 'gap').map((one) => one.gap_count ?? Number.NaN);
  return {
    rung: chosen?.sensor_rung ?? 4,
    sensor: chosen?.sensor_name,
    supervisor: chosen?.attrs?.supervisor,
    coverage: chosen?.coverage ?? 'none',
    refused: sensors
      .filter((one) => one.coverage === 'none' && one.sensor_rung !== chosen?.sensor_rung)
      .map((one) => `${one.sensor_name}: ${one.reason}`),
    noNewPrivs: chosen?.attrs?.no_new_privs !== undefined,
    exitCode: exit.code,
    produced: 2 * counted,
    stored: storedOf(events),
    gap: gaps.reduce((sum, one) => sum + one, 0),
    numbered: session.eventCount,
    lines: events.length,
    tree: chosen === undefined ? [] : treeFaults(of(events, 'exec'), of(events, 'exit')),
    setuid: setuidOf(events, work),
  };
}

const NOTHING: Seen = {
  ...{ refused: [], noNewPrivs: false, exitCode: null, produced: 0, stored: 0, gap: 0 },
  ...{ numbered: 0, lines: 0, tree: [] },
};
const seen = await look().catch((error: unknown) => ({
  ...NOTHING,
  fault: error instanceof SensorError ? `${error.reason}: ${error.message}` : String(error),
}));
process.stdout.write(`${JSON.stringify(seen)}\n`);
process.exit(0);
