/**
 * Frames in, events out: folds the tries of an exec into one event, keeps the process tree, and
 * writes each fact with the assurance that it deserves. Pure: no I/O, no clock.
 */
import { constants } from 'node:os';
import type { Draft, DraftOf } from '#schemas';
import { absolutePath, splitStrings, textsOf } from './bytes.ts';
import { escapedAttrs, fileFields, type NetMemory, netFields, netMemory } from './effects.ts';
import { errnoName } from './errors.ts';
import { syscallFields } from './guarded.ts';
import { createTree } from './tree.ts';
import { EVASIONS, FLAG_RACEABLE, FRAME, type Frame, type Hello, NO_NUMBER } from './wire.ts';

/** Which sensor the events are of, and on which rung of the ladder it stands. */
export interface Origin {
  readonly source: string;
  readonly rung: number;
}
export const SECCOMP: Origin = { source: 'seccomp', rung: 1 };
export const PTRACE: Origin = { source: 'ptrace', rung: 2 };

export interface InterpretOptions {
  /** Environment variables that an `exec` event reports; a last `*` stands for any ending. */
  readonly joinKeys: readonly string[];
  /** The environment variable that carries the tool call's id. */
  readonly toolCallKey?: string;
  /**
   * Events of programs below these paths, and of all that they start, are marked as the collector's
   * own (`attrs.own`). They are never left out: the agent can put programs there as well.
   */
  readonly ownPaths?: readonly string[];
  /** Rung 1 where nothing else is said. */
  readonly origin?: Origin;
}

type Common = Pick<
  DraftOf<'exec'>,
  'ts' | 'source' | 'pid' | 'ppid' | 'tool_call_id' | 'attribution' | 'attribution_confidence_pct'
>;

/** One exec whose end is not known yet: the last try, and what all had in common. */
interface Attempt {
  readonly ts: string;
  readonly path: Buffer;
  readonly argv: readonly Buffer[];
}

interface State {
  attempt: Attempt | undefined;
  exitCode: number | undefined;
  readonly net: NetMemory;
}

export interface Interpreter {
  push(frame: Frame): Draft[];
}

const signalNames = new Map(
  Object.entries(constants.signals).map(([name, number]) => [number, name]),
);
const NOTHING = Buffer.alloc(0);
const SLASH = 0x2f;

/** Turns monotonic readings into nanoseconds since 1970 by the one pair of readings in `hello`. */
export function createTimes(hello: Pick<Hello, 'monotonicNs' | 'wallNs'>) {
  const offset = BigInt(hello.wallNs) - BigInt(hello.monotonicNs);
  const seconds = Number(offset / 1_000_000_000n);
  const rest = Number(offset % 1_000_000_000n);
  return (sec: number, nsec: number): string => {
    const ns = rest + nsec;
    const carry = ns >= 1e9 ? 1 : 0;
    return `${seconds + sec + carry}${String(ns - carry * 1e9).padStart(9, '0')}`;
  };
}

export function createInterpreter(hello: Hello, options: InterpretOptions): Interpreter {
  const { source, rung } = options.origin ?? SECCOMP;
  const tree = createTree(options.toolCallKey);
  const states = new Map<number, State>();
  const timeOf = createTimes(hello);
  // Since the run's start: nanoseconds of uptime are no exact numbers after 104 days.
  const startSec = Number(BigInt(hello.monotonicNs) / 1_000_000_000n);
  const nsOf = (frame: Frame) => (frame.sec - startSec) * 1e9 + frame.nsec;
  const reported = keyFilter(options.joinKeys);

  const stateOf = (pid: number): State => {
    let state = states.get(pid);
    if (state === undefined) {
      state = { attempt: undefined, exitCode: undefined, net: netMemory() };
      states.set(pid, state);
    }
    return state;
  };
  const common = (frame: Frame): Common => {
    const ppid = tree.ppid(frame.pid);
    return {
      ts: timeOf(frame.sec, frame.nsec),
      source,
      ...(frame.pid === 0 ? {} : { pid: frame.pid }),
      ...(ppid === 0 ? {} : { ppid }),
      ...tree.attribution(frame.pid),
    };
  };

  const tried = (frame: Frame, state: State): Draft[] => {
    const [dir = NOTHING, path = NOTHING, argv = NOTHING] = frame.parts;
    const before = frame.b === 1 ? state.attempt : undefined;
    state.attempt = {
      ts: timeOf(frame.sec, frame.nsec),
      path: Buffer.from(absolutePath(dir, path)),
      argv: before?.argv ?? splitStrings(Buffer.from(argv)),
    };
    return [];
  };
  const started = (frame: Frame, state: State): Draft[] => {
    const { attempt } = state;
    if (attempt === undefined) return [];
    state.attempt = undefined;
    const [exe = NOTHING, cwd = NOTHING, cmdline = NOTHING, environ = NOTHING] = frame.parts;
    const argv = splitStrings(cmdline);
    const settled = frame.type === FRAME.execSettle;
    if (settled && !runs(argv, attempt)) return [failed(frame, attempt)];
    const keys = readKeys(environ);
    tree.started(frame.pid, keys);
    if (isOwn(options, [exe, attempt.path, argv[1] ?? NOTHING])) tree.disown(frame.pid);
    const seen = exe.length > 0;
    const draft = execDraft(common(frame), attempt, seen ? exe : attempt.path, {
      argv: argv.length > 0 ? argv : attempt.argv,
      cwd,
      keys: reported(keys),
      outcome: 'success',
      assurance: seen && !settled ? 'verified' : 'observed',
    });
    return [draft];
  };
  const failed = (frame: Frame, attempt: Attempt): Draft =>
    execDraft(common(frame), attempt, attempt.path, {
      argv: attempt.argv,
      outcome: 'failure',
      assurance: 'observed',
      error: frame.a === 0 ? undefined : errnoName(frame.a),
    });
  /** The process is gone and nobody saw what it ran: killed at once, or its exec failed. */
  const lost = (frame: Frame, state: State): Draft[] => {
    const { attempt } = state;
    if (attempt === undefined) return [];
    state.attempt = undefined;
    if (frame.a !== 0) return [failed(frame, attempt)];
    const unknown = { argv: attempt.argv, outcome: 'unknown', assurance: 'observed' } as const;
    return [execDraft(common(frame), attempt, attempt.path, unknown)];
  };
  const ended = (frame: Frame, state: State): Draft[] => {
    const since = tree.sinceNs(frame.pid);
    const durationNs = since === undefined ? -1 : nsOf(frame) - since;
    return [
      {
        kind: 'exit',
        ...common(frame),
        assurance: frame.a === NO_NUMBER ? 'observed' : 'verified',
        ...exitFields(frame.a, state.exitCode),
        ...(durationNs >= 0 && Number.isSafeInteger(durationNs) ? { duration_ns: durationNs } : {}),
      },
    ];
  };
  const blocked = (frame: Frame): Draft[] => [
    {
      kind: 'sensor',
      ...common(frame),
      assurance: 'observed',
      sensor_name: source,
      sensor_rung: rung,
      coverage: 'complete',
      reason: `answered ENOSYS to what it could not have seen: ${EVASIONS[frame.a]}`,
    },
  ];

  const effect = (frame: Frame): Draft[] =>
    raceable(
      frame,
      effectOf(frame, common(frame), nsOf(frame), () => stateOf(frame.pid).net),
    );
  const interpret = (frame: Frame): Draft[] => {
    switch (frame.type) {
      case FRAME.process:
        tree.born(
          frame.pid,
          frame.a,
          nsOf(frame),
          readKeys(frame.parts[0] ?? NOTHING),
          frame.b === 1,
        );
        return [];
      case FRAME.go:
        // The command begins here: what the launcher did before is not its age.
        tree.born(frame.pid, tree.ppid(frame.pid), nsOf(frame));
        return [];
      case FRAME.execTry:
        return tried(frame, stateOf(frame.pid));
      case FRAME.execDone:
      case FRAME.execSettle:
        return started(frame, stateOf(frame.pid));
      case FRAME.execLost:
        return lost(frame, stateOf(frame.pid));
      case FRAME.exiting:
        stateOf(frame.pid).exitCode = frame.a;
        return [];
      case FRAME.exit:
        return ended(frame, stateOf(frame.pid));
      case FRAME.blocked:
        return blocked(frame);
      case FRAME.file:
      case FRAME.net:
      case FRAME.call:
        return effect(frame);
      default:
        return [];
    }
  };

  return {
    push(frame) {
      const drafts = interpret(frame);
      const own = tree.isOwn(frame.pid);
      if (frame.type === FRAME.exit) {
        tree.gone(frame.pid);
        states.delete(frame.pid);
      }
      return own ? drafts.map(marked) : drafts;
    },
  };
}

/** The event of what a process did to files, the network or beyond itself. */
function effectOf(frame: Frame, envelope: Common, ns: number, net: () => NetMemory): Draft[] {
  if (frame.type === FRAME.call) {
    const fields = syscallFields(frame);
    return fields ? [{ kind: 'syscall', ...envelope, assurance: 'observed', ...fields }] : [];
  }
  if (frame.type === FRAME.net) {
    const fields = netFields(frame, ns, net());
    return fields ? [{ kind: 'net', ...envelope, assurance: 'observed', ...fields }] : [];
  }
  const fields = fileFields(frame);
  if (fields === undefined) return [];
  const draft = { kind: 'file', ...envelope, assurance: 'observed', ...fields } as const;
  // A read of a secret whose reader the kernel did not name.
  return frame.pid > 0
    ? [draft]
    : [{ ...draft, assurance: 'inferred', attrs: { ...fields.attrs, reader: 'unknown' } }];
}

interface ExecFacts {
  readonly outcome: 'success' | 'failure' | 'unknown';
  readonly assurance: 'verified' | 'observed';
  readonly argv: readonly Buffer[];
  readonly cwd?: Buffer;
  readonly keys?: Readonly<Record<string, string>>;
  readonly error?: string | undefined;
}

function execDraft(
  envelope: Common,
  attempt: Attempt,
  exe: Buffer,
  { outcome, assurance, error, ...facts }: ExecFacts,
): Draft {
  const path = textsOf([exe]);
  const argv = textsOf(facts.argv);
  const cwd = textsOf(facts.cwd === undefined || facts.cwd.length === 0 ? [] : [facts.cwd]);
  const attrs = escapedAttrs({ exe: path.escaped, argv: argv.escaped, cwd: cwd.escaped });
  const keys = facts.keys ?? {};
  return {
    kind: 'exec',
    ...envelope,
    ts: attempt.ts,
    exe: path.texts[0] ?? '',
    argv: argv.texts,
    outcome,
    assurance,
    ...(error === undefined ? {} : { error }),
    ...(cwd.texts[0] === undefined ? {} : { cwd: cwd.texts[0] }),
    ...(Object.keys(keys).length === 0 ? {} : { join_keys: keys }),
    ...(attrs === undefined ? {} : { attrs }),
  };
}

/** A wait status as fields (wait(2)); without one, the code that the process asked for. */
function exitFields(status: number, asked: number | undefined) {
  if (status === NO_NUMBER) return asked === undefined ? {} : { exit_code: asked };
  const signal = status & 0x7f;
  if (signal === 0) return { exit_code: (status >>> 8) & 0xff };
  return { exit_signal: signalNames.get(signal) ?? `SIG${signal}` };
}

/** `exited` as node's child processes give it. */
export function exitOf(status: number): { code: number | null; signal: string | null } {
  const { exit_code: code = null, exit_signal: signal = null } = exitFields(status, undefined);
  return { code, signal };
}

/** `NAME=value` strings as a record; the first of a name counts, as getenv(3) has it. */
function readKeys(list: Buffer): Readonly<Record<string, string>> {
  const keys: Record<string, string> = Object.create(null);
  for (const text of textsOf(splitStrings(list)).texts) {
    const at = text.indexOf('=');
    const name = text.slice(0, at);
    if (at > 0 && !(name in keys)) keys[name] = text.slice(at + 1);
  }
  return keys;
}

/** Picks the variables that an event reports. */
function keyFilter(names: readonly string[]) {
  const exact = new Set(names.filter((name) => !name.endsWith('*')));
  const beginnings = names.filter((name) => name.endsWith('*')).map((name) => name.slice(0, -1));
  return (keys: Readonly<Record<string, string>>): Readonly<Record<string, string>> =>
    Object.fromEntries(
      Object.entries(keys).filter(
        ([name]) => exact.has(name) || beginnings.some((beginning) => name.startsWith(beginning)),
      ),
    );
}

/**
 * Whether the arguments of a running program are those of the attempt: as given or, where a script
 * was run (`#!`), behind the interpreter and with the script's path in place of its first.
 */
function runs(argv: readonly Buffer[], attempt: Attempt): boolean {
  if (sameStrings(argv, attempt.argv)) return true;
  const rest = attempt.argv.slice(1);
  const script = argv[argv.length - rest.length - 1];
  return (
    argv.length > attempt.argv.length &&
    script !== undefined &&
    baseOf(script).equals(baseOf(attempt.path)) &&
    sameStrings(argv.slice(argv.length - rest.length), rest)
  );
}

const baseOf = (path: Buffer) => path.subarray(path.lastIndexOf(SLASH) + 1);

function sameStrings(a: readonly Buffer[], b: readonly Buffer[]): boolean {
  return a.length === b.length && a.every((one, index) => one.equals(b[index] ?? NOTHING));
}

/** Whether any of `paths` (the program, what execve was given, a script) is the collector's own. */
function isOwn(options: InterpretOptions, paths: readonly Buffer[]): boolean {
  return (options.ownPaths ?? []).some((own) =>
    paths.some((path) => path.toString() === own || path.toString().startsWith(`${own}/`)),
  );
}

const withAttr = (draft: Draft, name: string, value: string): Draft => {
  const attrs = 'attrs' in draft ? draft.attrs : undefined;
  return Object.assign({}, draft, { attrs: { ...attrs, [name]: value } }) as Draft;
};
const marked = (draft: Draft): Draft => withAttr(draft, 'own', 'path');

/** What another thread could have changed between our reading and the kernel's says so. */
const raceable = (frame: Frame, drafts: Draft[]): Draft[] =>
  (frame.flags & FLAG_RACEABLE) === 0
    ? drafts
    : drafts.map((draft) => withAttr(draft, 'raceable', 'threads'));
