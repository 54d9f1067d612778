/**
 * Completeness and price of the collector's way from the kernel to the spool (sensor, session,
 * stamping, spool on disk; no shipping), on workloads of our own (`sensor-cases.ts`):
 *
 *     w1   2,000 times /bin/true from a shell                     every exec and every exit
 *     w2   make -j2 of 60 C files and a main, then the link       61 × cc1, 61 × as, 61 objects
 *     w4   git clone, checkout, add, commit, status of 2,500      every file that is there after
 *     w5   six times grep -r and find over 20,000 files           nothing is written
 *     w6   node: 5,000 writeFileSync, 500 connects to loopback    every file, every connect
 *     w7   node, CPU only
 *     w8   npm ci --offline of this project                       every file that is there after
 *     w0   /bin/true once: the start-up of supervisor and launcher
 *
 *     npm run bench:collector [-- w1 w2 …] [--blocks N] [--form native|typescript|ptrace] [--bare]
 *
 * `--bare` leaves out redaction and the settling of written files, which `telltale run` has.
 *
 * Each block is base, candidate, candidate, base; the ratio of a block is of its sums, and the
 * median block is printed. CPU is that of the workload (times(1) in its shell), the supervisor and
 * this process. The truth is counted by the workload, not by the sensor. Exits 1 where any is short.
 * Wall time is given with and without the time until the command runs: in TypeScript from source
 * that start-up holds two loaders. Their CPU is in the CPU ratio; w0 shows how much that is.
 */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type { Draft } from '#schemas';
import { systemDisk } from '../../collector/disk.ts';
import { createRedactor } from '../../collector/redact.ts';
import { createSeccompSensor } from '../../collector/sensors/seccomp.ts';
import { createSettlingSensor } from '../../collector/sensors/settling.ts';
import { openSession } from '../../collector/session.ts';
import { createSpool, SPOOL_DEFAULTS } from '../../collector/spool.ts';
import { createClock, systemRandom } from '../../deploy/process/clock.ts';
import { helper, proveEvents } from '../collector/sensors/recorder.ts';
import { fakeLog, fakeMeter } from '../fakes/ports.ts';
import { type Count, START_UP, WORKLOADS, type Workload } from './sensor-cases.ts';

const TICKS_A_SECOND = 100;
/** The supervisor ends right after its last frame; then its CPU is known. */
const REAP_MS = 200;
const ENV = { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C', HOME: os.tmpdir() };

/**
 * Removed when all is measured: ext4 without a journal looks at the inodes that were freed in the last
 * minutes for each file that it makes, so that what one leg removes would be paid by the next.
 */
const leftovers: string[] = [];

const DATA = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-bench-data-'));
const IDENTITY = {
  tenant: 'bench',
  session_id: '0193a5e0-0000-7000-8000-000000000001',
  stream_id: '0193a5e0-0000-7000-8000-000000000002',
  agent: 'bench',
  host: 'bench',
  user: 'bench',
};

interface Leg {
  readonly wallMs: number;
  /** Of it, until the command ran. */
  readonly startMs: number;
  readonly cpuMs: number;
  /** Of it: the supervisor, and this process. */
  readonly supervisorMs: number;
  readonly collectorMs: number;
  readonly counts: readonly Count[];
  readonly events: number;
}

const REDACT = createRedactor({ key: Buffer.from(systemRandom.bytes(32)), content: 'full' });

const inShell = (workload: Workload) => [
  ...['/bin/sh', '-c'],
  `${workload.script}\ncode=$?; times > .times; exit $code`,
];

/** Milliseconds of CPU that the shell and all that it waited for took: the output of times(1). */
function timesMs(dir: string): number {
  const text = fs.readFileSync(path.join(dir, '.times'), 'utf8');
  const spans = [...text.matchAll(/(\d+)m([\d.]+)s/g)];
  return spans.reduce((sum, [, min, sec]) => sum + Number(min) * 60_000 + Number(sec) * 1000, 0);
}

/**
 * Milliseconds of CPU of our children that have ended. The supervisor is one; what ran below it is
 * not in here, since the kernel reaps it without adding it up.
 */
function childrenMs(): number {
  const text = fs.readFileSync('/proc/self/stat', 'latin1');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return ((Number(fields[13]) + Number(fields[14])) * 1000) / TICKS_A_SECOND;
}

const envOf = (workload: Workload) => ({ ...ENV, DATA: path.join(DATA, workload.name) });

async function base(workload: Workload, dir: string): Promise<Leg> {
  const [command = '', ...args] = inShell(workload);
  const began = performance.now();
  const child = spawn(command, args, { cwd: dir, env: envOf(workload), stdio: 'inherit' });
  const code = await new Promise((resolve) => child.on('exit', resolve));
  if (code !== 0) throw new Error(`${workload.name}: exit ${code}`);
  const wallMs = performance.now() - began;
  const none = { startMs: 0, supervisorMs: 0, collectorMs: 0, events: 0 };
  return { wallMs, ...none, cpuMs: timesMs(dir), counts: [] };
}

async function candidate(workload: Workload, dir: string): Promise<Leg> {
  const log = fakeLog();
  const clock = createClock();
  const spoolDir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-bench-spool-'));
  const spool = createSpool(
    IDENTITY,
    { ...SPOOL_DEFAULTS, dir: spoolDir },
    { disk: systemDisk, clock, log },
  );
  const drafts: Draft[] = [];
  const own = process.cpuUsage();
  const children = childrenMs();
  const began = performance.now();
  const session = openSession(
    {
      ...{ spool, clock, random: systemRandom, log, meter: fakeMeter() },
      ...(values.bare ? {} : { redact: REDACT }),
    },
    { commandArgs: inShell(workload), cwd: dir, settings: {} },
  );
  const bare = createSeccompSensor({ log, ...FORMS[form] });
  const running = await (values.bare ? bare : createSettlingSensor(bare, { clock })).run(
    { argv: inShell(workload), env: envOf(workload), cwd: dir },
    async (some) => {
      drafts.push(...some);
      await session.add(some);
    },
  );
  const startMs = performance.now() - began;
  const exit = await running.exited;
  const wallMs = performance.now() - began;
  const { user, system } = process.cpuUsage(own);
  await running.stop();
  await session.close({ close_reason: 'exited', exit_code: exit.code ?? 0 });
  await setTimeout(REAP_MS);
  spool.close({ finished: false });
  leftovers.push(spoolDir);
  if (exit.code !== 0) throw new Error(`${workload.name}: exit ${JSON.stringify(exit)}`);
  if (log.lines.length > 0) throw new Error(JSON.stringify(log.lines));
  proveEvents(drafts);
  const supervisorMs = childrenMs() - children;
  const collectorMs = (user + system) / 1000;
  const cpuMs = timesMs(dir) + supervisorMs + collectorMs;
  const counts = workload.counts(drafts, dir);
  return { wallMs, startMs, cpuMs, supervisorMs, collectorMs, counts, events: drafts.length };
}

async function leg(workload: Workload, run: typeof base): Promise<Leg> {
  const dir = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), `telltale-${workload.name}-`)));
  leftovers.push(dir);
  workload.prepare(dir);
  return await run(workload, dir);
}

const median = (numbers: readonly number[]) =>
  [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0;

async function measure(workload: Workload, blocks: number): Promise<boolean> {
  const ratios: { wall: number; running: number; cpu: number }[] = [];
  let whole = true;
  let last: readonly [Leg, Leg] | undefined;
  for (let block = 0; block < blocks; block++) {
    const legs: Leg[] = [];
    for (const run of [base, candidate, candidate, base]) legs.push(await leg(workload, run));
    const [a, b, c, d] = legs as [Leg, Leg, Leg, Leg];
    const ratio = (of: (leg: Leg) => number) => (of(b) + of(c)) / (of(a) + of(d));
    ratios.push({
      wall: ratio((one) => one.wallMs),
      running: ratio((one) => one.wallMs - one.startMs),
      cpu: ratio((one) => one.cpuMs),
    });
    for (const { seen, truth } of [...b.counts, ...c.counts]) whole &&= seen === truth;
    last = [d, c];
  }
  if (last === undefined) throw new Error('--blocks must be at least 1');
  const [without, under] = last;
  const counts = under.counts.map(({ what, seen, truth }) => `${what} ${seen}/${truth}`).join(', ');
  const times = (of: keyof (typeof ratios)[number]) =>
    median(ratios.map((one) => one[of])).toFixed(2);
  // A program that does nothing has no time to compare with.
  const compared =
    workload === START_UP
      ? ''
      : `wall ×${times('wall')}, without start-up ×${times('running')}, CPU ×${times('cpu')}; last `;
  process.stdout.write(
    `${workload.name}  ${whole ? 'whole' : 'SHORT'}  ${counts}; ${under.events} events\n` +
      `    ${compared}${told(without)} -> ${told(under)}, ${under.startMs.toFixed(0)} ms of it start-up\n`,
  );
  return whole;
}

function told({ wallMs, cpuMs, supervisorMs, collectorMs }: Leg): string {
  const parts =
    supervisorMs + collectorMs === 0
      ? ''
      : `: supervisor ${supervisorMs.toFixed(0)}, collector ${collectorMs.toFixed(0)}`;
  return `${wallMs.toFixed(0)} ms (${cpuMs.toFixed(0)} ms CPU${parts})`;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    blocks: { type: 'string', default: '1' },
    form: { type: 'string' },
    bare: { type: 'boolean', default: false },
  },
});
const native = helper === undefined ? {} : { helper };
const FORMS = { native, typescript: {}, ptrace: { ...native, ptrace: true } } as const;
const form = (values.form ?? 'native') as keyof typeof FORMS;
if (!(form in FORMS)) throw new Error(`--form: one of ${Object.keys(FORMS).join(', ')}`);
let whole = true;
try {
  for (const workload of WORKLOADS) {
    if (positionals.length > 0 && !positionals.includes(workload.name)) continue;
    const data = path.join(DATA, workload.name);
    fs.mkdirSync(data);
    workload.data?.(data);
    whole = (await measure(workload, Number(values.blocks))) && whole;
  }
} finally {
  for (const dir of [DATA, ...leftovers]) fs.rmSync(dir, { recursive: true, force: true });
}
process.exitCode = whole ? 0 : 1;
