/**
 * The guarded calls: those by which a process reaches into another one, the kernel or its own
 * confinement. They are let through and told as `syscall` events. Which they are, what of their
 * arguments is text, and what the rest says in words, is this one table; both forms of the
 * supervisor copy by it.
 */
import type { DraftOf } from '#schemas';
import { absolutePath, textsOf } from './bytes.ts';
import { escapedAttrs } from './effects.ts';
import { SYS } from './syscalls.ts';
import { FLAG_UNREADABLE, type Frame } from './wire.ts';

/** Where arguments stand; `dirfd` absent: relative to the working directory, `null`: no path. */
export interface GuardedShape {
  readonly number: number;
  readonly path?: number;
  readonly dirfd?: number | null;
  readonly path2?: number;
  readonly dirfd2?: number;
}

interface Guarded extends GuardedShape {
  readonly name: string;
  /** What the registers say, in words. */
  readonly attrs?: (args: Registers) => Readonly<Record<string, string>>;
  /** The kernel refuses it always: one process may have one listener, and this sensor's is it. */
  readonly refused?: 'EBUSY';
}

/** The low halves of the six argument registers, as the C ints that they are. */
type Registers = readonly [number, number, number, number, number, number];

/** Names of the bits that are set in `value`, and what is left in hexadecimal. */
function flagNames(value: number, names: Readonly<Record<string, number>>): string {
  const set = Object.entries(names).filter(([, bit]) => (value & bit) !== 0);
  const rest = set.reduce((left, [, bit]) => left & ~bit, value);
  const words = set.map(([name]) => name);
  return [...words, ...(rest === 0 ? [] : [`0x${(rest >>> 0).toString(16)}`])].join('|');
}

const NAMESPACES = {
  CLONE_NEWTIME: 0x80,
  CLONE_NEWNS: 0x20000,
  CLONE_NEWCGROUP: 0x2000000,
  CLONE_NEWUTS: 0x4000000,
  CLONE_NEWIPC: 0x8000000,
  CLONE_NEWUSER: 0x10000000,
  CLONE_NEWPID: 0x20000000,
  CLONE_NEWNET: 0x40000000,
} as const;
/** clone(2) has the signal's number where unshare(2) has NEWTIME. */
const CLONED = Object.fromEntries(Object.entries(NAMESPACES).slice(1));
const CLONED_MASK = Object.values(CLONED).reduce((mask, bit) => mask | bit, 0);

const MOUNTS = { MS_RDONLY: 1, MS_REMOUNT: 32, MS_BIND: 4096, MS_MOVE: 8192, MS_REC: 16384 };
const REQUESTS: Readonly<Record<number, string>> = {
  0: 'PTRACE_TRACEME',
  16: 'PTRACE_ATTACH',
  16902: 'PTRACE_SEIZE',
};

const GUARDED: readonly Guarded[] = [
  {
    name: 'ptrace',
    number: SYS.ptrace,
    attrs: ([request, pid]) => ({
      request: REQUESTS[request] ?? String(request),
      // PTRACE_TRACEME makes the caller's parent its tracer and ignores all that follows.
      ...(request === 0 ? {} : { target_pid: String(pid) }),
    }),
  },
  {
    name: 'process_vm_writev',
    number: SYS.process_vm_writev,
    attrs: ([pid]) => ({ target_pid: String(pid) }),
  },
  {
    name: 'pidfd_getfd',
    number: SYS.pidfd_getfd,
    attrs: ([pidfd, fd]) => ({ pidfd: String(pidfd), target_fd: String(fd) }),
  },
  { name: 'memfd_create', number: SYS.memfd_create, path: 0, dirfd: null },
  {
    name: 'mount',
    number: SYS.mount,
    path: 0,
    dirfd: null,
    path2: 1,
    attrs: ([, , , flags]) => (flags === 0 ? {} : { flags: flagNames(flags, MOUNTS) }),
  },
  { name: 'umount2', number: SYS.umount2, path: 0 },
  { name: 'move_mount', number: SYS.move_mount, dirfd: 0, path: 1, dirfd2: 2, path2: 3 },
  { name: 'fsmount', number: SYS.fsmount },
  { name: 'pivot_root', number: SYS.pivot_root, path: 0, path2: 1 },
  { name: 'chroot', number: SYS.chroot, path: 0 },
  {
    name: 'clone',
    number: SYS.clone,
    attrs: ([flags]) => ({ flags: flagNames(flags & CLONED_MASK, CLONED) }),
  },
  {
    name: 'unshare',
    number: SYS.unshare,
    attrs: ([flags]) => ({ flags: flagNames(flags, NAMESPACES) }),
  },
  {
    name: 'setns',
    number: SYS.setns,
    attrs: ([fd, type]) => ({
      fd: String(fd),
      ...(type === 0 ? {} : { flags: flagNames(type, NAMESPACES) }),
    }),
  },
  { name: 'bpf', number: SYS.bpf, attrs: ([command]) => ({ command: String(command) }) },
  {
    name: 'seccomp',
    number: SYS.seccomp,
    attrs: () => ({ flags: 'SECCOMP_FILTER_FLAG_NEW_LISTENER' }),
    refused: 'EBUSY',
  },
  { name: 'open_by_handle_at', number: SYS.open_by_handle_at },
  { name: 'init_module', number: SYS.init_module },
  { name: 'finit_module', number: SYS.finit_module },
  { name: 'delete_module', number: SYS.delete_module, path: 0, dirfd: null },
  { name: 'kexec_load', number: SYS.kexec_load },
  { name: 'kexec_file_load', number: SYS.kexec_file_load },
];

const byNumber = new Map(GUARDED.map((one) => [one.number, one]));
export const GUARDED_SHAPES: readonly GuardedShape[] = GUARDED;

type SyscallFields = Pick<
  DraftOf<'syscall'>,
  'syscall' | 'file_path' | 'file_target_path' | 'outcome' | 'error' | 'attrs'
>;

const REGISTERS_BYTES = 48;
const NOTHING = Buffer.alloc(0);

/** The event of a frame of type `call`; undefined where the call is not in the table. */
export function syscallFields(frame: Frame): SyscallFields | undefined {
  const guarded = byNumber.get(frame.a);
  const [registers = NOTHING, ...texts] = frame.parts;
  if (guarded === undefined || registers.length < REGISTERS_BYTES) return undefined;
  const low = [0, 1, 2, 3, 4, 5].map((i) => registers.readInt32LE(8 * i));
  const [one, two] = [textAt(texts, 0), textAt(texts, 2)];
  const attrs = {
    ...guarded.attrs?.(low as unknown as Registers),
    ...escapedAttrs({ file_path: one?.escaped ?? false, file_target_path: two?.escaped ?? false }),
    ...((frame.flags & FLAG_UNREADABLE) === 0 ? {} : { unreadable: 'memory' }),
  };
  return {
    syscall: guarded.name,
    ...(one === undefined ? {} : { file_path: one.text }),
    ...(two === undefined ? {} : { file_target_path: two.text }),
    ...(guarded.refused === undefined ? {} : { outcome: 'failure', error: guarded.refused }),
    ...(Object.keys(attrs).length === 0 ? {} : { attrs }),
  };
}

/** The path whose directory is `parts[at]`; undefined where there is none. */
function textAt(parts: readonly Buffer[], at: number) {
  const [dir, path] = [parts[at], parts[at + 1]];
  if (dir === undefined || path === undefined || path.length === 0) return undefined;
  const { texts, escaped } = textsOf([absolutePath(dir, path)]);
  return { text: texts[0] ?? '', escaped };
}
