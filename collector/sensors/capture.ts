/**
 * What is read at each stop, by system call: the strings and numbers that the event needs, no
 * more. Reading comes before the answer, writing the frame after it.
 */
import type { Libc } from './native.ts';
import type { PendingExec, Process } from './processes.ts';
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_REMOVEDIR,
  O_CREAT,
  O_EXCL,
  O_TMPFILE_BIT,
  O_WRITE_MASK,
  SYS,
} from './syscalls.ts';
import type { Address, Tracee } from './tracee.ts';
import {
  FILE_OPS,
  type FileOp,
  FLAG_TMPFILE,
  FLAG_UNREADABLE,
  FRAME,
  NET_OPS,
  NO_NUMBER,
} from './wire.ts';

const NOTHING = Buffer.alloc(0);
const F_OK = 0;
const X_OK = 1;
const SOCKADDR_BYTES_MAX = 128;
/** A DNS question over UDP fits (RFC 1035, 2.3.4); what is longer is no question. */
const PAYLOAD_BYTES_MAX = 512;
const DNS_PORT = 53;
const SOL_SOCKET = 1;
const SO_PROTOCOL = 38;
const AF_UNIX = 1;
const AF_INET = 2;
const AF_INET6 = 10;
const DNS_SOCKETS_MAX = 64;

/** The registers of a stopped call. */
export interface Call {
  readonly number: number;
  readonly tid: number;
  /** Argument `i` as an address. */
  address(i: number): Address;
  /** The low half of argument `i`, as an unsigned number. */
  low(i: number): number;
}

/** One frame to be written once the call has been let go on. */
export interface Captured {
  readonly type: number;
  readonly a: number;
  readonly b: number;
  readonly flags: number;
  readonly parts: readonly Buffer[];
}

export interface CaptureDeps {
  readonly libc: Libc;
  readonly tracee: Tracee;
  /** Picks the join keys out of an environment. */
  readonly keysOf: (pid: number) => Buffer;
}

const fileIndex = new Map<FileOp, number>(FILE_OPS.map((op, index) => [op, index]));
const signed = (value: number) => value | 0;

/** Returns a function that reads one stop; the frames keep the order of the list. */
export function createCapture(deps: CaptureDeps): (call: Call, process: Process) => Captured[] {
  const { tracee } = deps;
  const handlers = new Map<number, (call: Call, process: Process) => Captured[]>([
    ...fileHandlers(tracee),
    ...netHandlers(deps),
    ...execHandlers(deps),
  ]);
  return (call, process) => {
    const read = handlers.get(call.number);
    const captured = read === undefined ? [] : read(call, process);
    if (process.pending === undefined || isExec(call.number)) return captured;
    process.pending = undefined;
    return [programState(deps, process.pid, FRAME.execSettle), ...captured];
  };
}

const isExec = (number: number) =>
  number === SYS.execve || number === SYS.execveat || number === SYS.arch_prctl;

type Handler = (call: Call, process: Process) => Captured[];

/** One path argument: where it starts and where its text lies. */
interface PathArgument {
  readonly dirfd: number;
  readonly at: Address;
}

function fileHandlers(tracee: Tracee): [number, Handler][] {
  const path = (pid: number, argument: PathArgument): { parts: Buffer[]; ok: boolean } => {
    const text = tracee.string(pid, argument.at);
    if (text === undefined) return { parts: [NOTHING, NOTHING], ok: false };
    const dir = text[0] === 0x2f ? NOTHING : tracee.directory(pid, argument.dirfd);
    return { parts: [dir, text], ok: true };
  };
  const file = (
    op: FileOp,
    pid: number,
    mode: number,
    first: PathArgument,
    second?: PathArgument,
  ): Captured[] => {
    const one = path(pid, first);
    const two = second === undefined ? undefined : path(pid, second);
    const flags = one.ok && two?.ok !== false ? 0 : FLAG_UNREADABLE;
    const parts = two === undefined ? one.parts : [...one.parts, ...two.parts];
    return [{ type: FRAME.file, a: fileIndex.get(op) ?? 0, b: mode, flags, parts }];
  };
  const open = (pid: number, at: PathArgument, flags: number, mode: number): Captured[] => {
    if ((flags & O_WRITE_MASK) === 0) return [];
    const creates = (flags & (O_CREAT | O_TMPFILE_BIT)) !== 0;
    const [captured] = file(
      creates ? 'create' : 'write',
      pid,
      creates ? mode & 0o7777 : NO_NUMBER,
      at,
    );
    if (captured === undefined) return [];
    if ((flags & O_TMPFILE_BIT) !== 0)
      return [{ ...captured, flags: captured.flags | FLAG_TMPFILE }];
    // O_EXCL on a file that exists fails, so what succeeds is a creation.
    if (!creates || (flags & O_EXCL) !== 0 || captured.flags !== 0) return [captured];
    const exists = tracee.access(pid, at.dirfd, captured.parts[1] ?? NOTHING, F_OK) === 0;
    if (!exists) return [captured];
    return [{ ...captured, a: fileIndex.get('write') ?? 0, b: NO_NUMBER }];
  };
  const cwd = (call: Call, i: number): PathArgument => ({ dirfd: AT_FDCWD, at: call.address(i) });
  const at = (call: Call, i: number): PathArgument => ({
    dirfd: signed(call.low(i)),
    at: call.address(i + 1),
  });
  const mode = (call: Call, i: number) => call.low(i) & 0o7777;
  const openat2 = (call: Call, pid: number): Captured[] => {
    const how = tracee.bytes(pid, call.address(2), 24);
    if (how === undefined || how.length < 16) return [];
    const bits = how.readUInt32LE(0);
    const wanted = how.readUInt32LE(8);
    return open(pid, at(call, 0), bits, wanted);
  };
  const byFd = (call: Call, pid: number): Captured[] => [
    {
      type: FRAME.file,
      a: fileIndex.get('mode') ?? 0,
      b: mode(call, 1),
      flags: 0,
      parts: [NOTHING, tracee.directory(pid, signed(call.low(0)))],
    },
  ];
  const N = NO_NUMBER;
  return [
    [SYS.openat, (c, p) => open(p.pid, at(c, 0), c.low(2), c.low(3))],
    [SYS.open, (c, p) => open(p.pid, cwd(c, 0), c.low(1), c.low(2))],
    [SYS.creat, (c, p) => open(p.pid, cwd(c, 0), O_CREAT | 1, c.low(1))],
    [SYS.openat2, (c, p) => openat2(c, p.pid)],
    [SYS.rename, (c, p) => file('rename', p.pid, N, cwd(c, 0), cwd(c, 1))],
    [SYS.renameat, (c, p) => file('rename', p.pid, N, at(c, 0), at(c, 2))],
    [SYS.renameat2, (c, p) => file('rename', p.pid, N, at(c, 0), at(c, 2))],
    [SYS.unlink, (c, p) => file('delete', p.pid, N, cwd(c, 0))],
    [
      SYS.unlinkat,
      (c, p) => file(c.low(2) & AT_REMOVEDIR ? 'rmdir' : 'delete', p.pid, N, at(c, 0)),
    ],
    [SYS.rmdir, (c, p) => file('rmdir', p.pid, N, cwd(c, 0))],
    [SYS.mkdir, (c, p) => file('mkdir', p.pid, mode(c, 1), cwd(c, 0))],
    [SYS.mkdirat, (c, p) => file('mkdir', p.pid, mode(c, 2), at(c, 0))],
    [SYS.link, (c, p) => file('link', p.pid, N, cwd(c, 0), cwd(c, 1))],
    [SYS.linkat, (c, p) => file('link', p.pid, N, at(c, 0), at(c, 2))],
    [SYS.symlink, (c, p) => file('symlink', p.pid, N, cwd(c, 0), cwd(c, 1))],
    [SYS.symlinkat, (c, p) => file('symlink', p.pid, N, cwd(c, 0), at(c, 1))],
    [SYS.truncate, (c, p) => file('truncate', p.pid, N, cwd(c, 0))],
    [SYS.mknod, (c, p) => file('mknod', p.pid, mode(c, 1), cwd(c, 0))],
    [SYS.mknodat, (c, p) => file('mknod', p.pid, mode(c, 2), at(c, 0))],
    [SYS.chmod, (c, p) => file('mode', p.pid, mode(c, 1), cwd(c, 0))],
    [SYS.fchmodat, (c, p) => file('mode', p.pid, mode(c, 2), at(c, 0))],
    [SYS.fchmodat2, (c, p) => file('mode', p.pid, mode(c, 2), at(c, 0))],
    [SYS.fchmod, (c, p) => byFd(c, p.pid)],
  ];
}

function netHandlers(deps: CaptureDeps): [number, Handler][] {
  const { libc, tracee } = deps;
  const value = Buffer.alloc(4096);
  const size = Buffer.alloc(4096);

  /** The socket's protocol, asked of a copy of the descriptor; NO_NUMBER where that is refused. */
  const protocol = (process: Process, fd: number): number => {
    const copy = libc.syscall(SYS.pidfd_getfd, process.pidfd, fd, 0, 0, 0);
    if (copy < 0) return NO_NUMBER;
    size.writeUInt32LE(4, 0);
    const ok = libc.getsockopt(copy, SOL_SOCKET, SO_PROTOCOL, value, size) === 0;
    libc.close(copy);
    return ok ? value.readUInt32LE(0) : NO_NUMBER;
  };
  const frame = (
    op: (typeof NET_OPS)[number],
    process: Process,
    fd: number,
    address: Buffer,
    payload: Buffer,
  ): Captured => {
    const family = address.length >= 2 ? address.readUInt16LE(0) : 0;
    const ip = family === AF_INET || family === AF_INET6;
    const relative =
      family === AF_UNIX && address.length > 2 && address[2] !== 0 && address[2] !== 0x2f;
    const cwd = relative ? tracee.link(process.pid, 'cwd') : NOTHING;
    const b = ip ? protocol(process, fd) : NO_NUMBER;
    return {
      type: FRAME.net,
      a: NET_OPS.indexOf(op),
      b,
      flags: 0,
      parts: [address, cwd, payload],
    };
  };
  const sockaddr = (pid: number, at: Address, bytes: number): Buffer | undefined =>
    bytes < 2 || isNull(at)
      ? undefined
      : tracee.bytes(pid, at, Math.min(bytes, SOCKADDR_BYTES_MAX));

  const named = (op: 'connect' | 'bind') => (call: Call, process: Process) => {
    const address = sockaddr(process.pid, call.address(1), call.low(2));
    if (address === undefined) return [];
    const fd = signed(call.low(0));
    if (op === 'connect') rememberDns(process, fd, address);
    return [frame(op, process, fd, address, NOTHING)];
  };
  const sendto = (call: Call, process: Process): Captured[] => {
    const address = sockaddr(process.pid, call.address(4), call.low(5));
    if (address === undefined) return [];
    const payload =
      portOf(address) === DNS_PORT
        ? tracee.bytes(process.pid, call.address(1), Math.min(call.low(2), PAYLOAD_BYTES_MAX))
        : undefined;
    return [frame('send', process, signed(call.low(0)), address, payload ?? NOTHING)];
  };
  /** One `struct msghdr`: destination and, towards port 53, the first piece of the payload. */
  const message = (process: Process, fd: number, header: Buffer): Captured[] => {
    if (header.length < 32) return [];
    const name = addressIn(header, 0);
    const sent = sockaddr(process.pid, name, header.readUInt32LE(8));
    const address = sent ?? process.dns?.get(fd);
    if (address === undefined) return [];
    if (portOf(address) !== DNS_PORT) return [frame('send', process, fd, address, NOTHING)];
    const vector = tracee.bytes(process.pid, addressIn(header, 16), 16);
    if (vector === undefined || vector.length < 16) return [];
    const length = Math.min(vector.readUInt32LE(8), PAYLOAD_BYTES_MAX);
    const payload =
      length > 0 ? tracee.bytes(process.pid, addressIn(vector, 0), length) : undefined;
    return [frame('send', process, fd, address, payload ?? NOTHING)];
  };
  const sendmsg = (call: Call, process: Process): Captured[] => {
    const header = tracee.bytes(process.pid, call.address(1), MSGHDR_BYTES);
    return header === undefined ? [] : message(process, signed(call.low(0)), header);
  };
  const sendmmsg = (call: Call, process: Process): Captured[] => {
    const count = Math.min(call.low(2), MESSAGES_MAX);
    const headers = tracee.bytes(process.pid, call.address(1), count * MMSGHDR_BYTES);
    if (headers === undefined) return [];
    const captured: Captured[] = [];
    for (let at = 0; at + MSGHDR_BYTES <= headers.length; at += MMSGHDR_BYTES)
      captured.push(
        ...message(process, signed(call.low(0)), headers.subarray(at, at + MSGHDR_BYTES)),
      );
    return captured;
  };
  return [
    [SYS.connect, named('connect')],
    [SYS.bind, named('bind')],
    [SYS.sendto, sendto],
    [SYS.sendmsg, sendmsg],
    [SYS.sendmmsg, sendmmsg],
  ];
}

const MSGHDR_BYTES = 56;
const MMSGHDR_BYTES = 64;
/** glibc sends two questions at once; the kernel takes at most 1,024 messages. */
const MESSAGES_MAX = 1024;

const isNull = (at: Address) => at.low === 0 && at.high === 0;
const addressIn = (bytes: Buffer, at: number): Address => ({
  low: bytes.readUInt32LE(at),
  high: bytes.readUInt32LE(at + 4),
});

function portOf(address: Buffer): number {
  const family = address.length >= 4 ? address.readUInt16LE(0) : 0;
  return family === AF_INET || family === AF_INET6 ? address.readUInt16BE(2) : 0;
}

/** Keeps in mind which descriptors lead to port 53: later sends on them carry no address. */
function rememberDns(process: Process, fd: number, address: Buffer): void {
  if (portOf(address) !== DNS_PORT) {
    process.dns?.delete(fd);
    return;
  }
  process.dns ??= new Map();
  if (process.dns.size < DNS_SOCKETS_MAX) process.dns.set(fd, Buffer.from(address));
}

/** The kernel's own account of the program that a process runs. */
function programState(deps: CaptureDeps, pid: number, type: number): Captured {
  const { tracee } = deps;
  const parts = [
    tracee.link(pid, 'exe'),
    tracee.link(pid, 'cwd'),
    tracee.file(pid, 'cmdline'),
    deps.keysOf(pid),
  ];
  return { type, a: 0, b: 0, flags: 0, parts };
}

function execHandlers(deps: CaptureDeps): [number, Handler][] {
  const { tracee } = deps;
  const attempt = (call: Call, process: Process, path: PathArgument, argv: Address) => {
    const { pid } = process;
    const text = tracee.string(pid, path.at);
    const empty = call.number === SYS.execveat && (text?.length ?? 0) === 0;
    const byFd = empty && (call.low(4) & AT_EMPTY_PATH) !== 0;
    const name = byFd ? tracee.directory(pid, path.dirfd) : (text ?? NOTHING);
    const dir = name[0] === 0x2f ? NOTHING : tracee.directory(pid, path.dirfd);
    const base = baseName(name);
    const before = process.pending;
    // A search along PATH tries the same name with the same vector in one place after another.
    const continues =
      before !== undefined &&
      before.argvLow === argv.low &&
      before.argvHigh === argv.high &&
      before.base === base;
    const vector = continues ? before.argv : Buffer.from(tracee.arguments(pid, argv) ?? NOTHING);
    const error = byFd ? 0 : tracee.access(pid, path.dirfd, name, X_OK);
    process.pending = { argvLow: argv.low, argvHigh: argv.high, base, argv: vector };
    process.dns = undefined;
    const tried: Captured = {
      type: FRAME.execTry,
      a: error,
      b: continues ? 1 : 0,
      flags: text === undefined ? FLAG_UNREADABLE : 0,
      parts: [dir, name, continues ? NOTHING : vector],
    };
    if (before === undefined || continues) return [tried];
    return [programState(deps, pid, FRAME.execSettle), tried];
  };
  const started = (_call: Call, process: Process): Captured[] => {
    if (process.pending === undefined) return [];
    process.pending = undefined;
    return [programState(deps, process.pid, FRAME.execDone)];
  };
  const exiting = (call: Call): Captured[] => [
    { type: FRAME.exiting, a: call.low(0) & 0xff, b: 0, flags: 0, parts: [] },
  ];
  return [
    [SYS.execve, (c, p) => attempt(c, p, { dirfd: AT_FDCWD, at: c.address(0) }, c.address(1))],
    [
      SYS.execveat,
      (c, p) => attempt(c, p, { dirfd: signed(c.low(0)), at: c.address(1) }, c.address(2)),
    ],
    [SYS.arch_prctl, started],
    [SYS.exit_group, exiting],
  ];
}

function baseName(path: Buffer): string {
  return path.toString('latin1', path.lastIndexOf(0x2f) + 1);
}

export type { PendingExec };
