/**
 * Shell text as words, as far as it can be read without running it (POSIX.1-2024, XCU 2.2 and 2.3).
 *
 * Own code and not a library: the text is an attacker's, so it is read in one pass of linear time,
 * and a word must tell whether a shell would put something else in its place.
 */

/** Characters of a text that are read; behind them nothing is compared. */
export const SCRIPT_CHARS_MAX = 65_536;

export interface Word {
  /** Without its quotes. */
  readonly text: string;
  /** A shell would replace a part of it: `$x`, `` `x` ``, `*`, `~`. */
  readonly open: boolean;
}

export interface Script {
  /** Simple commands in order, the words of each. */
  readonly commands: readonly (readonly Word[])[];
  /** Files that output is redirected to. */
  readonly targets: readonly Word[];
  /** It is one simple command without redirection. */
  readonly simple: boolean;
}

const BLANK = new Set([' ', '\t']);
const ENDS = new Set([';', '&', '|', '\n', '\r', '(', ')']);
const GLOBS = new Set(['*', '?', '[']);

class Reader {
  readonly #text: string;
  #at = 0;
  #word = '';
  #begun = false;
  #open = false;
  #redirects: 'no' | 'out' | 'in' = 'no';
  #words: Word[] = [];
  readonly commands: Word[][] = [];
  readonly targets: Word[] = [];
  operators = 0;

  constructor(text: string) {
    this.#text = text.slice(0, SCRIPT_CHARS_MAX);
  }

  #endWord(): void {
    if (!this.#begun) return;
    const word = { text: this.#word, open: this.#open };
    if (this.#redirects === 'out') this.targets.push(word);
    else if (this.#redirects === 'no') this.#words.push(word);
    this.#redirects = 'no';
    this.#word = '';
    this.#begun = false;
    this.#open = false;
  }

  #endCommand(): void {
    this.#endWord();
    if (this.#words.length > 0) this.commands.push(this.#words);
    this.#words = [];
  }

  #put(text: string): void {
    this.#word += text;
    this.#begun = true;
  }

  #single(): void {
    const end = this.#text.indexOf("'", this.#at);
    const last = end < 0 ? this.#text.length : end;
    this.#put(this.#text.slice(this.#at, last));
    this.#at = last + 1;
  }

  #double(): void {
    this.#begun = true;
    while (this.#at < this.#text.length) {
      const char = this.#text[this.#at++] as string;
      if (char === '"') return;
      if (char === '\\' && '"\\$`\n'.includes(this.#text[this.#at] ?? ' ')) {
        if (this.#text[this.#at] !== '\n') this.#word += this.#text[this.#at];
        this.#at++;
        continue;
      }
      if (char === '$' || char === '`') this.#open = true;
      this.#word += char;
    }
  }

  #redirect(char: string): void {
    // `2>` is the number of a descriptor and no word.
    if (/^\d$/.test(this.#word)) {
      this.#word = '';
      this.#begun = false;
    }
    this.#endWord();
    while (this.#at < this.#text.length && '<>&|-'.includes(this.#text[this.#at] as string))
      this.#at++;
    this.#redirects = char === '>' ? 'out' : 'in';
    this.operators++;
  }

  /** Reads all of it. */
  read(): void {
    while (this.#at < this.#text.length) {
      const char = this.#text[this.#at++] as string;
      if (char === "'") this.#single();
      else if (char === '"') this.#double();
      else if (char === '\\') {
        const next = this.#text[this.#at++];
        if (next !== undefined && next !== '\n') this.#put(next);
      } else if (BLANK.has(char)) this.#endWord();
      else if (ENDS.has(char)) {
        this.#endCommand();
        this.operators++;
      } else if (char === '<' || char === '>') this.#redirect(char);
      else if (char === '#' && !this.#begun) {
        const end = this.#text.indexOf('\n', this.#at);
        this.#at = end < 0 ? this.#text.length : end;
      } else {
        if (char === '$' || char === '`' || GLOBS.has(char)) this.#open = true;
        if (char === '~' && !this.#begun) this.#open = true;
        this.#put(char);
      }
    }
    this.#endCommand();
  }
}

/** Reads shell text; never throws, whatever stands in it. An unclosed quote ends with the text. */
export function readScript(text: string): Script {
  const reader = new Reader(text.trim());
  reader.read();
  const { commands, targets, operators } = reader;
  return { commands, targets, simple: operators === 0 && commands.length === 1 };
}

/** The words of one simple command, as a program would get them. */
export const textsOf = (words: readonly Word[]): string[] => words.map(({ text }) => text);

export const baseOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

const SHELLS = new Set(['sh', 'bash', 'dash', 'zsh', 'ksh', 'ash', 'busybox']);
/** The shell's own: what runs them is no program. */
const BUILTINS = new Set(
  'cd echo export pwd set unset true false test [ : . source alias exit return read printf shift trap umask ulimit wait type command eval local declare history jobs fg bg'.split(
    ' ',
  ),
);

export const isShell = (program: string): boolean => SHELLS.has(baseOf(program));
export const isBuiltin = (program: string): boolean => BUILTINS.has(program);

/** The text that `sh -c TEXT` runs; undefined where these are not the words of such a command. */
export function shellText(argv: readonly string[]): string | undefined {
  if (argv.length < 3 || !isShell(argv[0] ?? '')) return undefined;
  let at = 1;
  let given = false;
  for (; at < argv.length && /^[-+]/.test(argv[at] ?? ''); at++) {
    const option = argv[at] as string;
    if (/^-[a-zA-Z]*c[a-zA-Z]*$/.test(option)) given = true;
    else if (option === '-o' || option === '-O' || option === '--rcfile') at++;
    else if (option === '--') {
      at++;
      break;
    }
  }
  return given ? argv[at] : undefined;
}

/** Wrappers that run the rest of their words, and how many words of their own they take. */
const WRAPPERS: Readonly<Record<string, number>> = {
  nice: 0,
  nohup: 0,
  setsid: 0,
  stdbuf: 0,
  time: 0,
  ionice: 0,
  command: 0,
  exec: 0,
  builtin: 0,
  env: 0,
  timeout: 1,
  taskset: 1,
  chrt: 1,
};
/** Options of theirs that have a value of their own. */
const VALUED: ReadonlySet<string> = new Set([
  ...['nice -n', 'ionice -c', 'ionice -n', 'timeout -k', 'timeout -s', 'exec -a', 'env -u'],
  ...['env -C', 'env --chdir', 'stdbuf -o', 'stdbuf -e', 'stdbuf -i', 'timeout --signal'],
]);
/** What runs what stands behind its `--` in a sandbox. */
const SANDBOXES = new Set(
  'codex-linux-sandbox bwrap firejail sandbox-exec unshare systemd-run landrun nsjail'.split(' '),
);
const ASSIGNMENT = /^[A-Za-z_]\w*=/;
/** Variables that decide which code a program runs. */
const LOADING =
  /^(LD_(PRELOAD|LIBRARY_PATH|AUDIT)|PATH|BASH_ENV|ENV|NODE_OPTIONS|PYTHON(PATH|STARTUP|HOME)|PERL5(LIB|OPT)|RUBYOPT|GIT_SSH(_COMMAND)?|GIT_EXEC_PATH|PAGER|EDITOR)=/;

export interface Unwrapped {
  readonly argv: readonly string[];
  /** Assignments that change which code is run, sorted. */
  readonly loading: readonly string[];
}

/** Past the options of a wrapper. */
function pastOptions(name: string, argv: readonly string[], from: number): number {
  let at = from;
  for (; at < argv.length && /^-/.test(argv[at] ?? ''); at++) {
    if (argv[at] === '--') return at + 1;
    if (VALUED.has(`${name} ${argv[at]}`)) at++;
  }
  return at;
}

/** The command within wrappers (`env A=1 nice timeout 5 make`) and sandboxes. */
export function unwrap(words: readonly string[]): Unwrapped {
  const loading: string[] = [];
  let argv = words;
  for (;;) {
    let at = 0;
    for (; ASSIGNMENT.test(argv[at] ?? ''); at++)
      if (LOADING.test(argv[at] ?? '')) loading.push(argv[at] ?? '');
    const name = baseOf(argv[at] ?? '');
    const own = Object.hasOwn(WRAPPERS, name) ? WRAPPERS[name] : undefined;
    const dashes = SANDBOXES.has(name) ? argv.indexOf('--', at) : -1;
    const next =
      dashes >= 0 ? dashes + 1 : own === undefined ? at : pastOptions(name, argv, at + 1) + own;
    if (next === 0 || next >= argv.length) return { argv, loading: loading.sort() };
    argv = argv.slice(next);
  }
}
