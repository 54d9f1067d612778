/**
 * Completeness and price of the seccomp sensor on three workloads, from generators of our own:
 *
 *     w1   2,000 times /bin/true from a shell                     every exec and every exit
 *     w2   make -j2 of 60 C files and a main, then the link       61 × cc1, 61 × as, 61 objects
 *     w6   node: 5,000 writeFileSync, 500 connects to loopback    every file, every connect
 *     w0   /bin/true once: the start-up of supervisor and launcher
 *
 *     npm run workloads [-- w1 w2 w6 w0] [--blocks N]
 *
 * Each block is base, candidate, candidate, base; the ratio of a block is of its sums, and the
 * median block is printed. CPU is that of the workload (times(1) in its shell), the supervisor and
 * this process. The truth is counted by the workload, not by the sensor. Exits 1 where any is short.
 * Wall time is given with and without the time until the command runs: from source that start-up
 * holds two TypeScript loaders. Their CPU is in the CPU ratio; w0 shows how much that is.
 */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type { Draft } from '#schemas';
import { createSeccompSensor } from '../../collector/sensors/seccomp.ts';
import { ofKind, proveEvents } from '../collector/sensors/recorder.ts';
import { fakeLog } from '../fakes/ports.ts';

const TICKS_A_SECOND = 100;
/** The supervisor ends right after its last frame; then its CPU is known. */
const REAP_MS = 200;
const EXECS = 2000;
const SOURCES = 60;
const FILES = 5000;
const CONNECTS = 500;
const ENV = { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C', HOME: os.tmpdir() };

interface Count {
  readonly what: string;
  readonly seen: number;
  readonly truth: number;
}

interface Workload {
  readonly name: string;
  prepare(dir: string): void;
  readonly script: string;
  counts(drafts: readonly Draft[], dir: string): Count[];
}

const succeeded = (drafts: readonly Draft[], name: string) =>
  ofKind(drafts, 'exec').filter((e) => e.outcome === 'success' && path.basename(e.exe) === name);

/** Distinct names that were written below `dir`. */
const written = (drafts: readonly Draft[], dir: string, end: string) =>
  new Set(
    ofKind(drafts, 'file')
      .filter((e) => e.file_op === 'create' || e.file_op === 'write')
      .map((e) => e.file_path)
      .filter((name) => name.startsWith(`${dir}/`) && name.endsWith(end)),
  ).size;

const w0: Workload = {
  name: 'w0',
  prepare() {},
  script: '/bin/true',
  counts: (drafts) => [
    { what: 'execs', seen: succeeded(drafts, 'true').length, truth: 1 },
    { what: 'exits', seen: ofKind(drafts, 'exit').length, truth: 2 },
  ],
};

const w1: Workload = {
  name: 'w1',
  prepare() {},
  script: `i=0; while [ $i -lt ${EXECS} ]; do /bin/true && i=$((i+1)); done; echo $i > done`,
  counts(drafts, dir) {
    const truth = Number(fs.readFileSync(path.join(dir, 'done'), 'utf8'));
    const execs = succeeded(drafts, 'true');
    const pids = new Set(execs.map((e) => e.pid));
    const exits = ofKind(drafts, 'exit').filter((e) => pids.has(e.pid) && e.exit_code === 0);
    return [
      { what: 'execs', seen: execs.length, truth },
      { what: 'exits', seen: exits.length, truth },
    ];
  },
};

/** One C file with a dozen functions of `printf` and loops. */
function cSource(file: number): string {
  const functions = Array.from(
    { length: 12 },
    (_, i) => `int fn_${file}_${i}(int a, const char *b) {
  int sum = 0;
  for (int k = 0; k < a; k++) sum += b[k % 7] * ${i + 1};
  if (sum > ${file}) printf("%d %s\\n", sum, b);
  return sum + (int)strlen(b);
}`,
  );
  return `#include <stdio.h>\n#include <string.h>\n${functions.join('\n')}\n`;
}

const w2: Workload = {
  name: 'w2',
  prepare(dir) {
    for (let i = 0; i < SOURCES; i++) fs.writeFileSync(path.join(dir, `f${i}.c`), cSource(i));
    const main = 'int fn_0_0(int, const char *);\nint main(void) { return fn_0_0(0, "") & 0; }\n';
    fs.writeFileSync(path.join(dir, 'main.c'), main);
    const rules = 'O=$(patsubst %.c,%.o,$(wildcard *.c))\nprog: $(O)\n\tgcc -o $@ $(O)\n';
    fs.writeFileSync(path.join(dir, 'Makefile'), `${rules}%.o: %.c\n\tgcc -O1 -c -o $@ $<\n`);
  },
  script: 'make -s -j2',
  counts(drafts, dir) {
    const objects = fs.readdirSync(dir).filter((name) => name.endsWith('.o')).length;
    return [
      { what: 'compilations (cc1)', seen: succeeded(drafts, 'cc1').length, truth: SOURCES + 1 },
      { what: 'assemblies (as)', seen: assemblies(drafts), truth: SOURCES + 1 },
      { what: 'objects', seen: written(drafts, dir, '.o'), truth: objects },
      { what: 'program', seen: written(drafts, dir, '/prog'), truth: 1 },
    ];
  },
};

/** The assembler's program is `as` under a name of its target: x86_64-linux-gnu-as. */
const assemblies = (drafts: readonly Draft[]) =>
  ofKind(drafts, 'exec').filter((e) => e.outcome === 'success' && /(^|\/|-)as$/.test(e.exe)).length;

const W6_PROGRAM = `
const fs = require('node:fs'), net = require('node:net');
fs.mkdirSync('o');
for (let i = 0; i < ${FILES}; i++) fs.writeFileSync('o/f' + i + '.txt', 'hello ' + i);
let answered = 0;
const server = net.createServer((c) => { answered++; c.end('hi'); }).listen(0, '127.0.0.1', () => {
  const { port } = server.address();
  let made = 0;
  const next = () => {
    if (made++ >= ${CONNECTS}) return server.close(() => fs.writeFileSync('answered', String(answered)));
    net.connect(port, '127.0.0.1').on('data', () => {}).on('close', next);
  };
  next();
});`;

const w6: Workload = {
  name: 'w6',
  prepare: (dir) => fs.writeFileSync(path.join(dir, 'w6.cjs'), W6_PROGRAM),
  script: `${process.execPath} w6.cjs`,
  counts(drafts, dir) {
    const connects = ofKind(drafts, 'net').filter(
      (e) => e.net_op === 'connect' && e.net_ip === '127.0.0.1' && e.net_transport === 'tcp',
    );
    return [
      {
        what: 'files',
        seen: written(drafts, path.join(dir, 'o'), '.txt'),
        truth: fs.readdirSync(path.join(dir, 'o')).length,
      },
      {
        what: 'connects',
        seen: connects.length,
        truth: Number(fs.readFileSync(path.join(dir, 'answered'), 'utf8')),
      },
    ];
  },
};

const WORKLOADS = [w0, w1, w2, w6];

interface Leg {
  readonly wallMs: number;
  /** Of it, until the command ran. */
  readonly startMs: number;
  readonly cpuMs: number;
  readonly counts: readonly Count[];
  readonly events: number;
}

const inShell = (workload: Workload) => ['/bin/sh', '-c', `${workload.script}\ntimes > .times`];

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

async function base(workload: Workload, dir: string): Promise<Leg> {
  const [command = '', ...args] = inShell(workload);
  const began = performance.now();
  const child = spawn(command, args, { cwd: dir, env: ENV, stdio: 'inherit' });
  const code = await new Promise((resolve) => child.on('exit', resolve));
  if (code !== 0) throw new Error(`${workload.name}: exit ${code}`);
  const wallMs = performance.now() - began;
  return { wallMs, startMs: 0, cpuMs: timesMs(dir), counts: [], events: 0 };
}

async function candidate(workload: Workload, dir: string): Promise<Leg> {
  const log = fakeLog();
  const drafts: Draft[] = [];
  const own = process.cpuUsage();
  const children = childrenMs();
  const began = performance.now();
  const running = await createSeccompSensor({ log }).run(
    { argv: inShell(workload), env: ENV, cwd: dir },
    async (some) => void drafts.push(...some),
  );
  const startMs = performance.now() - began;
  const exit = await running.exited;
  const wallMs = performance.now() - began;
  const { user, system } = process.cpuUsage(own);
  await running.stop();
  await setTimeout(REAP_MS);
  if (exit.code !== 0) throw new Error(`${workload.name}: exit ${JSON.stringify(exit)}`);
  if (log.lines.length > 0) throw new Error(JSON.stringify(log.lines));
  proveEvents(drafts);
  const cpuMs = timesMs(dir) + childrenMs() - children + (user + system) / 1000;
  return { wallMs, startMs, cpuMs, counts: workload.counts(drafts, dir), events: drafts.length };
}

async function leg(workload: Workload, run: typeof base): Promise<Leg> {
  const dir = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), `telltale-${workload.name}-`)));
  try {
    workload.prepare(dir);
    return await run(workload, dir);
  } finally {
    fs.rmSync(dir, { recursive: true, force: true });
  }
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
    workload === w0
      ? ''
      : `wall ×${times('wall')}, without start-up ×${times('running')}, CPU ×${times('cpu')}; last `;
  process.stdout.write(
    `${workload.name}  ${whole ? 'whole' : 'SHORT'}  ${counts}; ${under.events} events\n` +
      `    ${compared}${told(without)} -> ${told(under)}, ${under.startMs.toFixed(0)} ms of it start-up\n`,
  );
  return whole;
}

const told = (leg: Leg) => `${leg.wallMs.toFixed(0)} ms (${leg.cpuMs.toFixed(0)} ms CPU)`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { blocks: { type: 'string', default: '1' } },
});
let whole = true;
for (const workload of WORKLOADS)
  if (positionals.length === 0 || positionals.includes(workload.name))
    whole = (await measure(workload, Number(values.blocks))) && whole;
process.exitCode = whole ? 0 : 1;
