/**
 * The seccomp filter as classic BPF. It stops (USER_NOTIF) what the sensor records and lets all
 * else through; a call that depends on nothing but its number costs nothing, since the kernel
 * caches "always allowed" per number.
 */
import {
  ARCH_SET_FS,
  ARCH_X86_64,
  CLONE_NAMESPACES,
  CLONE_NEWTIME,
  MODE_BITS_WATCHED,
  O_WRITE_MASK,
  PR_SET_DUMPABLE,
  PTRACE_ATTACH,
  PTRACE_SEIZE,
  PTRACE_TRACEME,
  SECCOMP_FILTER_FLAG_NEW_LISTENER,
  SYS,
} from './syscalls.ts';

const RET_NOTIFY = 0x7fc00000;
const RET_TRACE = 0x7ff00000;
const RET_ALLOW = 0x7fff0000;
const RET_ERRNO_0 = 0x00050000;

const LOAD_WORD = 0x20;
const JUMP_EQUAL = 0x15;
const JUMP_AT_LEAST = 0x35;
const JUMP_ANY_BIT = 0x45;
const RETURN = 0x06;

const OFFSET_NUMBER = 0;
const OFFSET_ARCH = 4;
const offsetLow = (argument: number) => 16 + 8 * argument;
const X32_BIT = 0x40000000;
/** struct sock_filter. */
const INSTRUCTION_BYTES = 8;

export interface FilterOptions {
  /** Also stop exit_group: where the kernel keeps no exit state for a pidfd (before 6.15). */
  readonly notifyExit: boolean;
  /** Answer PR_SET_DUMPABLE(0) with success and do nothing: else its memory can't be read. */
  readonly keepDumpable: boolean;
  /** Stop for a tracer instead of a listener; it sees new programs and ends by itself. */
  readonly ptrace?: boolean;
}

type Instruction = readonly [code: number, yes: number, no: number, k: number];

const load = (offset: number): Instruction => [LOAD_WORD, 0, 0, offset];
const ret = (action: number): Instruction => [RETURN, 0, 0, action];
/** Skips `body` unless the loaded word equals `k`. */
const when = (k: number, body: readonly Instruction[]): Instruction[] => [
  [JUMP_EQUAL, 0, body.length, k],
  ...body,
];
const always = (number: number) => when(number, [ret(RET_NOTIFY)]);
/** Notifies call `number` if argument `argument` has any bit of `mask`. */
const whenBits = (number: number, argument: number, mask: number) =>
  when(number, [
    load(offsetLow(argument)),
    [JUMP_ANY_BIT, 0, 1, mask],
    ret(RET_NOTIFY),
    ret(RET_ALLOW),
  ]);

const ALWAYS: readonly number[] = [
  SYS.execve,
  SYS.execveat,
  SYS.openat2,
  SYS.creat,
  SYS.rename,
  SYS.renameat,
  SYS.renameat2,
  SYS.unlink,
  SYS.unlinkat,
  SYS.rmdir,
  SYS.mkdir,
  SYS.mkdirat,
  SYS.link,
  SYS.linkat,
  SYS.symlink,
  SYS.symlinkat,
  SYS.truncate,
  SYS.mknod,
  SYS.mknodat,
  SYS.connect,
  SYS.bind,
  SYS.sendmsg,
  SYS.sendmmsg,
  SYS.io_uring_setup,
  SYS.process_vm_writev,
  SYS.memfd_create,
  SYS.mount,
  SYS.umount2,
  SYS.move_mount,
  SYS.fsmount,
  SYS.pivot_root,
  SYS.chroot,
  SYS.setns,
  SYS.bpf,
  SYS.pidfd_getfd,
  SYS.open_by_handle_at,
  SYS.init_module,
  SYS.finit_module,
  SYS.delete_module,
  SYS.kexec_load,
  SYS.kexec_file_load,
];

/** Notifies call `number` if argument `argument` is one of `values`. */
const whenOneOf = (number: number, argument: number, values: readonly number[]) =>
  when(number, [
    load(offsetLow(argument)),
    ...values.map((value, index): Instruction => [JUMP_EQUAL, values.length - index, 0, value]),
    ret(RET_ALLOW),
    ret(RET_NOTIFY),
  ]);

/** The filter's instructions. */
export function filterProgram(options: FilterOptions): readonly Instruction[] {
  const program = notifying(options);
  if (!options.ptrace) return program;
  return program.map(([code, yes, no, k]) =>
    code === RETURN && k === RET_NOTIFY ? ret(RET_TRACE) : [code, yes, no, k],
  );
}

function notifying(options: FilterOptions): Instruction[] {
  return [
    load(OFFSET_ARCH),
    [JUMP_EQUAL, 1, 0, ARCH_X86_64],
    ret(RET_NOTIFY),
    load(OFFSET_NUMBER),
    // x32 numbers have this bit; the supervisor answers them as it does a foreign architecture.
    [JUMP_AT_LEAST, 0, 1, X32_BIT],
    ret(RET_NOTIFY),
    ...whenBits(SYS.openat, 2, O_WRITE_MASK),
    ...whenBits(SYS.open, 1, O_WRITE_MASK),
    ...when(SYS.sendto, [
      // Only with an address: a send on a connected socket adds nothing to its connect.
      load(offsetLow(4)),
      [JUMP_EQUAL, 0, 2, 0],
      load(offsetLow(4) + 4),
      [JUMP_EQUAL, 1, 0, 0],
      ret(RET_NOTIFY),
      ret(RET_ALLOW),
    ]),
    ...(options.ptrace ? [] : firstOfProgram()),
    ...whenBits(SYS.chmod, 1, MODE_BITS_WATCHED),
    ...whenBits(SYS.fchmod, 1, MODE_BITS_WATCHED),
    ...whenBits(SYS.fchmodat, 2, MODE_BITS_WATCHED),
    ...whenBits(SYS.fchmodat2, 2, MODE_BITS_WATCHED),
    ...whenBits(SYS.clone, 0, CLONE_NAMESPACES),
    ...whenBits(SYS.unshare, 0, CLONE_NAMESPACES | CLONE_NEWTIME),
    ...whenOneOf(SYS.ptrace, 0, [PTRACE_TRACEME, PTRACE_ATTACH, PTRACE_SEIZE]),
    // For all other operations of seccomp(2) the bit has no meaning, and they are rare.
    ...whenBits(SYS.seccomp, 1, SECCOMP_FILTER_FLAG_NEW_LISTENER),
    ...ALWAYS.flatMap(always),
    ...(options.notifyExit ? always(SYS.exit_group) : []),
    ...(options.keepDumpable ? pretendDumpable() : []),
    ret(RET_ALLOW),
  ];
}

function firstOfProgram(): Instruction[] {
  return when(SYS.arch_prctl, [
    load(offsetLow(0)),
    [JUMP_EQUAL, 0, 1, ARCH_SET_FS],
    ret(RET_NOTIFY),
    ret(RET_ALLOW),
  ]);
}

function pretendDumpable(): Instruction[] {
  return when(SYS.prctl, [
    load(offsetLow(0)),
    [JUMP_EQUAL, 0, 3, PR_SET_DUMPABLE],
    load(offsetLow(1)),
    [JUMP_EQUAL, 0, 1, 0],
    ret(RET_ERRNO_0),
    ret(RET_ALLOW),
  ]);
}

/** The program as an array of `struct sock_filter`. */
export function filterBytes(options: FilterOptions): Buffer {
  const program = filterProgram(options);
  const bytes = Buffer.alloc(program.length * INSTRUCTION_BYTES);
  program.forEach(([code, yes, no, k], index) => {
    const at = index * INSTRUCTION_BYTES;
    bytes.writeUInt16LE(code, at);
    bytes[at + 2] = yes;
    bytes[at + 3] = no;
    bytes.writeUInt32LE(k >>> 0, at + 4);
  });
  return bytes;
}
