/**
 * Starts the launcher below the supervisor and takes the filter's listener from it. The two talk
 * over a socket pair:
 *
 *     supervisor -> launcher   length u32 | JSON LaunchSpec
 *     launcher -> supervisor   'f' or 'n' with the listener as SCM_RIGHTS (n: no_new_privs was
 *                              needed); or a line of JSON LaunchFault
 *     supervisor -> launcher   'k': the supervisor answers from now on; probe, then run
 *     launcher -> supervisor   a line of JSON LaunchFault, or the end (the command runs)
 */
import { cStrings, errno, fdMessage, type Libc } from './native.ts';

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const F_SETFD = 2;
const FD_CLOEXEC = 1;
const EINTR = 4;
const MESSAGE_BYTES_MAX = 64 * 1024;

export interface LaunchSpec {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly notifyExit: boolean;
}

/** `step` says what failed; `filter` means that this rung can't work here. */
export interface LaunchFault {
  readonly step: 'filter' | 'cwd' | 'exec';
  readonly errno: number;
  readonly detail: string;
}

export interface Launched {
  readonly pid: number;
  readonly channel: number;
  readonly listener: number;
  readonly noNewPrivs: boolean;
}

/** Node and the arguments that run the launcher's file. */
export type LauncherCommand = readonly [string, ...string[]];

/** Returns the started launcher, or why it could not set the filter. Throws on a broken pipe. */
export function launch(
  libc: Libc,
  command: LauncherCommand,
  spec: LaunchSpec,
): Launched | LaunchFault {
  const pair = Buffer.alloc(4096);
  if (libc.socketpair(AF_UNIX, SOCK_STREAM, 0, pair) !== 0)
    throw new Error(`socketpair: errno ${errno()}`);
  const ours = pair.readInt32LE(0);
  const theirs = pair.readInt32LE(4);
  libc.fcntl(ours, F_SETFD, FD_CLOEXEC);
  // Node marks its own stdio close-on-exec; the command is to have it.
  for (const fd of [0, 1, 2]) libc.fcntl(fd, F_SETFD, 0);
  const pidBytes = Buffer.alloc(4096);
  const argv = cStrings([...command, String(theirs)]);
  const envp = cStrings([]);
  const failed = libc.posixSpawn(pidBytes, command[0], null, null, argv.array, envp.array);
  libc.close(theirs);
  if (failed !== 0) throw new Error(`starting the launcher: errno ${failed}`);
  const json = Buffer.from(JSON.stringify(spec));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(json.length);
  writeAll(libc, ours, Buffer.concat([length, json]));
  return receive(libc, ours, pidBytes.readInt32LE(0));
}

function receive(libc: Libc, channel: number, pid: number): Launched | LaunchFault {
  const message = fdMessage();
  let got = libc.recvmsg(channel, message.header, 0);
  while (got < 0 && errno() === EINTR) got = libc.recvmsg(channel, message.header, 0);
  const first = String.fromCharCode(message.keep[0]?.[0] ?? 0);
  if (got === 1 && (first === 'f' || first === 'n')) {
    const listener = message.control.readInt32LE(16);
    libc.fcntl(listener, F_SETFD, FD_CLOEXEC);
    return { pid, channel, listener, noNewPrivs: first === 'n' };
  }
  const rest = got === 1 ? readMessage(libc, channel) : '';
  if (got === 1 && rest !== '') return JSON.parse(`${first}${rest}`) as LaunchFault;
  return { step: 'filter', errno: 0, detail: 'the launcher ended before it had set the filter' };
}

/** What the other end wrote until it closed or ended the line; empty where it just closed. */
export function readMessage(libc: Libc, channel: number): string {
  const into = Buffer.alloc(MESSAGE_BYTES_MAX);
  let used = 0;
  while (used < into.length) {
    const got = libc.read(channel, into.subarray(used), into.length - used);
    if (got < 0 && errno() === EINTR) continue;
    if (got <= 0) break;
    used += got;
    if (into[used - 1] === 0x0a) break;
  }
  return into.toString('utf8', 0, used).trimEnd();
}

/** Writes all of `bytes`; false where the other end is gone. */
export function writeAll(libc: Libc, fd: number, bytes: Buffer): boolean {
  let at = 0;
  while (at < bytes.length) {
    const done = libc.write(fd, bytes.subarray(at), bytes.length - at);
    if (done >= 0) at += done;
    else if (errno() === EAGAIN) waitWritable(libc, fd);
    else if (errno() !== EINTR) return false;
  }
  return true;
}

const EAGAIN = 11;
const POLLOUT = 4;

function waitWritable(libc: Libc, fd: number): void {
  const one = Buffer.alloc(4096);
  one.writeInt32LE(fd, 0);
  one.writeInt16LE(POLLOUT, 4);
  libc.poll(one, 1, -1);
}
