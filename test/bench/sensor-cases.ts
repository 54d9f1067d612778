/** The workloads of `sensor-workloads.ts`: what they run, and what must have been seen of it. */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Draft } from '#schemas';
import { ofKind } from '../collector/sensors/recorder.ts';

const EXECS = 2000;
const SOURCES = 60;
const FILES = 5000;
const CONNECTS = 500;
const TREE_DIRS = 200;
const TREE_FILES = 100;
const REPOSITORY_DIRS = 25;
const ROOT = path.resolve(import.meta.dirname, '../..');

export interface Count {
  readonly what: string;
  readonly seen: number;
  readonly truth: number;
}

export interface Workload {
  readonly name: string;
  /** Untimed, before each leg. */
  prepare(dir: string): void;
  /** Untimed, once: what is only read. */
  data?(dir: string): void;
  /** For /bin/sh in the leg's folder; `$DATA` is the folder of `data`. */
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

/** `dirs` folders of TREE_FILES files of 1 to 8 KB, the same each time. */
function tree(root: string, dirs: number): void {
  for (let d = 0; d < dirs; d++) {
    const dir = path.join(root, `d${d % 20}`, `s${d}`);
    fs.mkdirSync(dir, { recursive: true });
    for (let i = 0; i < TREE_FILES; i++)
      fs.writeFileSync(path.join(dir, `f${i}.js`), `line ${d * i} hello\n`.repeat(50 + (i % 300)));
  }
}

/** All regular files below `dir`, without what `skip` names. */
function filesBelow(dir: string, skip: string): string[] {
  return fs.readdirSync(dir, { withFileTypes: true }).flatMap((entry) => {
    if (entry.name === skip) return [];
    const name = path.join(dir, entry.name);
    return entry.isDirectory() ? filesBelow(name, skip) : entry.isFile() ? [name] : [];
  });
}

/** How many of the files that are there were seen to be written. */
function seenOf(drafts: readonly Draft[], files: readonly string[]): number {
  const names = new Set(ofKind(drafts, 'file').map((e) => e.file_path));
  return files.filter((name) => names.has(name)).length;
}

const git = (dir: string, ...args: string[]) =>
  execFileSync('git', ['-C', dir, '-c', 'user.email=a@b', '-c', 'user.name=a', ...args]);

const w4: Workload = {
  name: 'w4',
  data(dir) {
    const source = path.join(dir, 'source');
    tree(source, REPOSITORY_DIRS);
    git(source, 'init', '-q', '-b', 'main');
    git(source, 'add', '-A');
    git(source, 'commit', '-qm', 'one');
    git(source, 'checkout', '-qb', 'other');
    for (const name of filesBelow(path.join(source, 'd0'), '')) fs.appendFileSync(name, 'more\n');
    git(source, 'commit', '-qam', 'two');
    git(source, 'checkout', '-q', 'main');
  },
  prepare() {},
  script: `git clone -q --no-hardlinks "$DATA/source" r && cd r && git status --short && git checkout -q other &&
for f in d1/s1/*.js; do echo y >> $f; done; git add -A; git -c user.email=a@b -c user.name=a commit -qm three;
git log --stat -3 >/dev/null; git diff HEAD~1 >/dev/null; git grep -c hello >/dev/null;
for i in 1 2 3 4 5 6 7 8; do git status --short; git rev-parse HEAD >/dev/null; done; cd ..`,
  counts(drafts, dir) {
    const files = filesBelow(path.join(dir, 'r'), '.git');
    return [{ what: 'files checked out', seen: seenOf(drafts, files), truth: files.length }];
  },
};

const w5: Workload = {
  name: 'w5',
  data: (dir) => tree(dir, TREE_DIRS),
  prepare() {},
  script: `for i in 1 2 3 4 5 6; do grep -r "line 99999x" "$DATA"; find "$DATA" -name '*.zzz' -type f; done; true`,
  counts: (drafts) => [{ what: 'greps', seen: succeeded(drafts, 'grep').length, truth: 6 }],
};

const w7: Workload = {
  name: 'w7',
  prepare() {},
  script: `${process.execPath} -e 'let x=1;for(let i=0;i<4e8;i++){x=(x*1103515245+12345)|0}'`,
  counts: (drafts) => [{ what: 'runs', seen: succeeded(drafts, 'node').length, truth: 1 }],
};

/** The project's own packages, out of npm's cache; where that has not got them all it fails. */
const w8: Workload = {
  name: 'w8',
  prepare(dir) {
    for (const name of ['package.json', 'package-lock.json'])
      fs.copyFileSync(path.join(ROOT, name), path.join(dir, name));
  },
  script: `npm ci --offline --cache ${os.homedir()}/.npm --ignore-scripts --no-audit --no-fund >/dev/null 2>&1`,
  counts(drafts, dir) {
    const files = filesBelow(path.join(dir, 'node_modules'), '.package-lock.json');
    return [{ what: 'files', seen: seenOf(drafts, files), truth: files.length }];
  },
};

export const START_UP = w0;
export const WORKLOADS: readonly Workload[] = [w0, w1, w2, w4, w5, w6, w7, w8];
