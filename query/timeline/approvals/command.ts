/**
 * Whether what a process ran is what a text asked for. The same thing is said in many ways, and
 * none of these is a difference: quoting, a shell around it, a path where a name stood, wrappers
 * such as `env` and `timeout`, the interpreter of a script, and the lines that an agent puts around
 * each command of its shell. `sudo`, `ssh` and a variable such as LD_PRELOAD are.
 */
import path from 'node:path';
import {
  baseOf,
  isBuiltin,
  readScript,
  type Script,
  shellText,
  textsOf,
  unwrap,
  type Word,
} from './words.ts';

/** A program as it was run. */
export interface Ran {
  readonly argv: readonly string[];
  readonly exe: string;
  readonly cwd?: string;
}

/** A text, read once, to be compared with many programs. */
export interface Expected {
  readonly text: string;
  /** What a shell gets: the text, or what stands behind `-c` in it. */
  readonly inner: string;
  readonly script: Script;
  /** Its simple commands without wrappers around them. */
  readonly bare: readonly (readonly Word[])[];
  /** Assignments in it that change which code is run. */
  readonly loading: readonly string[];
  /** `inner` with single blanks. */
  readonly squeezed: string;
  /** The source had cut the text: only its beginning can be compared. */
  readonly cut: boolean;
}

const INTERPRETERS =
  /^(node|nodejs|deno|bun|python[\d.]*|perl|ruby|php|lua|tclsh|Rscript|env|sh|bash|dash|zsh|ksh)$/;
/** Where nobody installs programs. */
const LOOSE = /^\/(tmp|var\/tmp|dev\/shm)\//;
/** Where what an agent's own lines print may go. */
const DISCARDED = /^(\/dev\/null$|\/tmp\/|\d$|&)/;
/** What agents put around a command of a shell, that changes nothing of what it does. */
const HARNESS = new Set(
  'cd source . export set shopt pwd trap exit pgrep ulimit umask true { } then fi if'.split(' '),
);
/** Simple commands of one text that programs are compared with. */
const COMMANDS_MAX = 256;
/** Wrappers within wrappers within wrappers: nobody means more than so many. */
const NESTED_MAX = 4;

const squeezed = (text: string): string => text.replace(/\s+/g, ' ');

/** Reads a text for comparisons. `cut`: it is only the beginning of what was asked. */
export function expect(text: string, cut = false): Expected {
  let inner = text.trim();
  let script = readScript(inner);
  for (let level = 0; level < NESTED_MAX && script.simple; level++) {
    const within = shellText(unwrap(textsOf(script.commands[0] ?? [])).argv);
    if (within === undefined) break;
    inner = within.trim();
    script = readScript(inner);
  }
  const commands = script.commands.slice(0, COMMANDS_MAX);
  const unwrapped = commands.map((words) => unwrap(textsOf(words)));
  return {
    text: text.trim(),
    inner,
    script,
    bare: commands.map((words, at) =>
      words.slice(words.length - (unwrapped[at]?.argv.length ?? words.length)),
    ),
    loading: unwrapped.flatMap(({ loading }) => loading),
    squeezed: squeezed(inner),
    cut,
  };
}

const resolved = (cwd: string | undefined, name: string): string =>
  path.posix.resolve(cwd ?? '/', name);

/** Whether a program's name means this executable. */
function sameProgram(name: string, argv0: string, ran: Ran): boolean {
  const base = baseOf(name);
  if (base !== baseOf(argv0) && base !== baseOf(ran.exe)) return false;
  if (name.includes('/')) {
    const wanted = resolved(ran.cwd, name);
    if (argv0 === name || wanted === ran.exe || wanted === resolved(ran.cwd, argv0)) return true;
    return !argv0.includes('/') && base === baseOf(ran.exe) && !LOOSE.test(ran.exe);
  }
  // A bare name is looked up on PATH: it does not mean a file in /tmp or in the folder itself.
  const found = argv0.includes('/') ? resolved(ran.cwd, argv0) : ran.exe;
  if (LOOSE.test(found) || LOOSE.test(ran.exe)) return false;
  return ran.cwd === undefined || path.posix.dirname(found) !== ran.cwd;
}

function sameArgument(word: Word, given: string, cwd: string | undefined): boolean {
  if (word.text === given) return true;
  if (word.open) return openFits(word.text, given);
  const paths = word.text.includes('/') || given.includes('/');
  return paths && !word.text.startsWith('-') && resolved(cwd, word.text) === resolved(cwd, given);
}

/** Whether `given` can be what a shell makes of a word: its fixed parts stand in it, in order. */
function openFits(text: string, given: string): boolean {
  let from = 0;
  for (const part of text.split(/\$\{[^}]*\}|\$\w+|\$\([^)]*\)|`[^`]*`|[*?~]|\[[^\]]*\]/)) {
    const at = given.indexOf(part, from);
    if (at < 0) return false;
    from = at + part.length;
  }
  return true;
}

/** Arguments one by one; a word that a shell opens may have become any number of them. */
function sameArguments(words: readonly Word[], given: readonly string[], cwd?: string): boolean {
  const open = words.some((word) => word.open);
  if (!open)
    return (
      words.length === given.length &&
      words.every((word, at) => sameArgument(word, given[at] ?? '', cwd))
    );
  let at = 0;
  for (const word of words) {
    if (word.open) continue;
    while (at < given.length && !sameArgument(word, given[at] ?? '', cwd)) at++;
    if (at++ >= given.length) return false;
  }
  return true;
}

/** Whether the words of a simple command are this program with these arguments. */
function sameWords(words: readonly Word[], argv: readonly string[], ran: Ran): boolean {
  const [program, ...rest] = words;
  if (program === undefined || argv[0] === undefined) return false;
  const starts = INTERPRETERS.test(baseOf(argv[0])) ? [0, 1, 2] : [0];
  return starts.some((start) => {
    const name = argv[start];
    // The kernel runs a script as its interpreter, with the script's path behind that.
    if (name === undefined || (start > 0 && !name.includes('/'))) return false;
    const script = start > 0 ? { ...ran, exe: resolved(ran.cwd, name) } : ran;
    return (
      (program.open ? openFits(program.text, name) : sameProgram(program.text, name, script)) &&
      sameArguments(rest, argv.slice(start + 1), ran.cwd)
    );
  });
}

const isHarness = (words: readonly Word[]): boolean => {
  const [first = ''] = unwrap(textsOf(words)).argv;
  return HARNESS.has(first) || /^[A-Za-z_]\w*=/.test(first);
};

/** Whether `around` is `inner` with nothing around it but what an agent's shell needs. */
function wrapsText(around: string, inner: string, cwd: string | undefined): boolean {
  const at = around.indexOf(inner);
  const before = at < 0 ? '' : around.slice(0, at).trimEnd();
  const after = at < 0 ? '' : around.slice(at + inner.length).trimStart();
  if (at >= 0 && /(^|[;&|\n{])$/.test(before) && /^([;&|\n}]|< ?\/dev\/null|$)/.test(after)) {
    const rest = [readScript(before), readScript(after)];
    const commands = rest.flatMap((script) => script.commands);
    const loose = rest.flatMap(({ targets }) => targets).every(({ text }) => DISCARDED.test(text));
    if (loose && commands.every(isHarness) && commands.every((words) => staysIn(words, cwd)))
      return true;
  }
  // `eval 'the command' \< /dev/null` between such lines.
  const { commands, targets } = readScript(around);
  const evals = commands.filter((words) => words[0]?.text === 'eval' || words[0]?.text === 'exec');
  const others = commands.filter((words) => words !== evals[0]);
  if (evals.length !== 1 || !targets.every(({ text }) => DISCARDED.test(text))) return false;
  if (!others.every((words) => isHarness(words) && staysIn(words, cwd))) return false;
  const args = textsOf(evals[0] ?? []).slice(1);
  const text = args.join(' ').replace(/ < \/dev\/null$/, '');
  return text.trim() === inner || shellText(args)?.trim() === inner;
}

/** A change of folder is no difference only where it goes where the command belongs. */
function staysIn(words: readonly Word[], cwd: string | undefined): boolean {
  const [name, target] = words;
  if (name?.text !== 'cd' || target === undefined || cwd === undefined) return true;
  return resolved(cwd, target.text) === cwd;
}

function sameText(expected: Expected, text: string, cwd: string | undefined): boolean {
  const given = text.trim();
  if (given === expected.inner || given === expected.text) return true;
  if (expected.cut) return given.includes(expected.inner);
  if (squeezed(given) === expected.squeezed && !/["'\\]/.test(given + expected.inner)) return true;
  return wrapsText(given, expected.inner, cwd) || sameScript(expected, readScript(given), cwd);
}

/** Two scripts of one simple command each, word by word. */
function sameScript(expected: Expected, given: Script, cwd: string | undefined): boolean {
  const [wanted] = expected.script.commands;
  const [found] = given.commands;
  if (!expected.script.simple || !given.simple || wanted === undefined || found === undefined)
    return false;
  const left = unwrap(textsOf(wanted));
  const right = unwrap(textsOf(found));
  if (left.loading.join() !== right.loading.join()) return false;
  return (
    left.argv.length === right.argv.length &&
    left.argv.every((word, at) =>
      sameArgument({ text: word, open: false }, right.argv[at] ?? '', cwd),
    )
  );
}

/**
 * How a program that ran compares with what was asked: `same`; `part`, one of several commands of
 * the text, or `other`.
 */
export function compare(expected: Expected, ran: Ran): 'same' | 'part' | 'other' {
  const { argv, loading } = unwrap(ran.argv);
  if (loading.some((one) => !expected.loading.includes(one))) return 'other';
  const text = shellText(argv);
  if (text !== undefined && sameText(expected, text, ran.cwd)) return 'same';
  const program = argv[0] ?? '';
  if (sameProgram(program, program, ran)) {
    const plain = argv.join(' ');
    const open = !/["'\\]/.test(expected.text);
    if (open && [plain, ran.argv.join(' ')].some((line) => line === expected.text)) return 'same';
    if (open && plain === expected.inner) return 'same';
    if (expected.cut && plain.startsWith(expected.inner)) return 'same';
  }
  if (!expected.bare.some((words) => sameWords(words, argv, { ...ran, argv }))) return 'other';
  return expected.script.simple ? 'same' : 'part';
}

/** Whether all that the text asks for is done by a shell itself, so that no program shows it. */
export const isAllBuiltin = ({ script }: Expected): boolean =>
  script.commands.length > 0 &&
  script.commands.every((words) => {
    const [first = ''] = unwrap(textsOf(words)).argv;
    return isBuiltin(first) || HARNESS.has(first);
  });

const FIRST_FILE =
  /^(node|nodejs|deno|bun|python[\d.]*|perl|ruby|php|sh|bash|dash|zsh|ksh|source|\.)$/;
/** Files that a program reads its orders from, in the folder where it runs. */
const IMPLICIT: Readonly<Record<string, readonly string[]>> = {
  make: ['Makefile', 'makefile', 'GNUmakefile'],
  npm: ['package.json'],
  pnpm: ['package.json'],
  yarn: ['package.json'],
  just: ['justfile'],
  task: ['Taskfile.yml'],
  tox: ['tox.ini'],
};

/** The file whose orders a simple command carries out, as it names it. */
function orderedBy(argv: readonly string[]): readonly string[] {
  const [program = '', ...rest] = argv;
  const name = baseOf(program);
  const out = program.includes('/') ? [program] : [];
  if (FIRST_FILE.test(name)) {
    const first = rest.find((word) => !word.startsWith('-'));
    const code = rest.some((word) => /^-[a-z]*[ce]$/.test(word) || word === '-m');
    return first === undefined || code ? out : [...out, first];
  }
  if (!Object.hasOwn(IMPLICIT, name)) return out;
  const given = rest.findIndex((word) => word === '-f' || word === '--file');
  const file = given < 0 ? undefined : rest[given + 1];
  return [...out, ...(file === undefined ? (IMPLICIT[name] ?? []) : [file])];
}

/** Absolute paths of the files that carry out what a text asks for: scripts, makefiles. */
export function ordersOf({ script }: Expected, cwd: string | undefined): string[] {
  if (cwd === undefined && script.commands.length === 0) return [];
  const names = script.commands.flatMap((words) => orderedBy(unwrap(textsOf(words)).argv));
  return [...new Set(names)]
    .filter((name) => name.startsWith('/') || cwd !== undefined)
    .map((name) => resolved(cwd, name));
}
