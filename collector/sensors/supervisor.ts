/**
 * Entry of the supervisor's process: one blocking loop that answers the filter's notifications.
 * It owns no meaning: it copies what the kernel stopped into frames (`wire.ts`) and lets the call
 * go on. Descriptor 3 carries frames out; descriptor 4 brings one line of JSON `SupervisorSpec`
 * and later perhaps a line `stop`. When the collector is gone it ends, so that nothing can be done
 * unrecorded: calls of the filter then fail with ENOSYS.
 */
import { performance } from 'node:perf_hooks';
import { type Call, type Captured, createCapture } from './capture.ts';
import { createKeyPicker } from './environ.ts';
import { hasExitState } from './kernel.ts';
import {
  type Launched,
  type LauncherCommand,
  type LaunchFault,
  launch,
  readMessage,
  writeAll,
} from './launch.ts';
import { createMemory, createScratch } from './memory.ts';
import { type Libc, loadLibc } from './native.ts';
import { createProcesses, type Process, type Processes } from './processes.ts';
import { createProcfs } from './procfs.ts';
import {
  ARCH_X86_64,
  IOCTL_NOTIF_ID_VALID,
  IOCTL_NOTIF_RECV,
  IOCTL_NOTIF_SEND,
  IOCTL_NOTIF_SET_FLAGS,
  O_RDWR,
  PR_SET_CHILD_SUBREAPER,
  SECCOMP_USER_NOTIF_FLAG_CONTINUE,
  SYNC_WAKE_UP,
  SYS,
} from './syscalls.ts';
import {
  createFrameWriter,
  EVASIONS,
  FLAG_RACEABLE,
  FRAME,
  type FrameWriter,
  type Hello,
} from './wire.ts';

const NOTHING = Buffer.alloc(0);
const EVENTS_FD = 3;
const CONTROL_FD = 4;
/** Frames wait at most this long for company, and at most that long if there is always more. */
const FLUSH_IDLE_MS = 5;
const FLUSH_AGE_MS = 50;
/** How long ends are waited for when no process has the filter any more. */
const LAST_ENDS_MS = 200;
/** The filter is let go of early in a process's end; what it leaves (mounts) may take a while. */
const LAST_ENDS_ROUNDS_MAX = 50;
/** At the stop this many calls that wait already are still recorded. */
const STOP_DRAIN_MAX = 10_000;
const ENOSYS = 38;
const X32_BIT = 0x40000000;
const POLLIN = 1;
const POLLHUP = 0x10;
const POLL_BYTES = 8;
const NOTIF_BYTES = 80;
const RESPONSE_BYTES = 24;
const F_SETFD = 2;
const FD_CLOEXEC = 1;
const SIG_IGN = 1;
const SIGCHLD = 17;
/** INT, QUIT, HUP, TERM, TSTP, TTIN, TTOU are for the command; USR1 would start node's debugger. */
const IGNORED_SIGNALS = [1, 2, 3, 10, 13, 15, 20, 21, 22];

export interface SupervisorSpec {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly launcher: LauncherCommand;
  /** Names of environment variables to report; a last `*` stands for any ending. */
  readonly keys: readonly string[];
  /** `false` does as if the kernel were older than 6.15. */
  readonly exitState: boolean;
}

/** Reads the first line of the control descriptor. */
function readSpec(libc: Libc): SupervisorSpec {
  let text = '';
  while (!text.endsWith('}')) {
    const more = readMessage(libc, CONTROL_FD);
    if (more === '') process.exit(1);
    text += more;
  }
  return JSON.parse(text) as SupervisorSpec;
}

/** Answers one notification at a time. */
interface Listener {
  /** Takes one notification, if one is there; records it if `record`. */
  answer(record: boolean): void;
}

function createListener(
  libc: Libc,
  fd: number,
  capture: (call: Call, process: Process) => readonly Captured[],
  table: Pick<Processes, 'of' | 'threaded'>,
  writer: FrameWriter,
  begin: () => void,
): Listener {
  const notif = Buffer.alloc(4096).subarray(0, NOTIF_BYTES);
  const response = Buffer.alloc(4096).subarray(0, RESPONSE_BYTES);
  const reported = new Set<string>();
  const call = {
    number: 0,
    tid: 0,
    address: (i: number) => ({
      low: notif.readUInt32LE(32 + 8 * i),
      high: notif.readUInt32LE(36 + 8 * i),
    }),
    low: (i: number) => notif.readUInt32LE(32 + 8 * i),
  };
  /** True if the call goes on (or was refused): only then it has happened. */
  const send = (error: number): boolean => {
    notif.copy(response, 0, 0, 8);
    response.fill(0, 8);
    if (error === 0) response.writeUInt32LE(SECCOMP_USER_NOTIF_FLAG_CONTINUE, 20);
    else response.writeInt32LE(-error, 16);
    return libc.ioctl(fd, IOCTL_NOTIF_SEND, response) === 0;
  };
  const refuse = (evasion: (typeof EVASIONS)[number], record: boolean) => {
    if (!send(ENOSYS) || !record) return;
    const { pid } = table.of(call.tid);
    if (reported.has(`${pid} ${evasion}`)) return;
    reported.add(`${pid} ${evasion}`);
    writer.put(FRAME.blocked, pid, EVASIONS.indexOf(evasion), 0, 0, []);
  };
  return {
    answer(record) {
      notif.fill(0);
      if (libc.ioctl(fd, IOCTL_NOTIF_RECV, notif) !== 0) return;
      call.tid = notif.readUInt32LE(8);
      call.number = notif.readInt32LE(16);
      if (record) begin();
      if (notif.readUInt32LE(20) !== ARCH_X86_64 || (call.number & X32_BIT) !== 0)
        return refuse('foreign_architecture', record);
      if (call.number === SYS.io_uring_setup) return refuse('io_uring_setup', record);
      if (!record) {
        send(0);
        return;
      }
      const process = table.of(call.tid);
      const { pending } = process;
      const captured = capture(call, process);
      const race = captured.some(canRace) && table.threaded(process, call.tid) ? FLAG_RACEABLE : 0;
      // The id is valid only as long as the call still waits: then what was read was its own. A
      // call that was interrupted did not happen; it comes again if it is made again.
      if (libc.ioctl(fd, IOCTL_NOTIF_ID_VALID, notif) === 0 && send(0)) {
        for (const one of captured)
          writer.put(one.type, process.pid, one.a, one.b, one.flags | race, one.parts);
      } else process.pending = pending;
    },
  };
}

function start(libc: Libc) {
  const spec = readSpec(libc);
  const exitState = spec.exitState && hasExitState();
  const writer = createFrameWriter((bytes) => {
    if (!writeAll(libc, EVENTS_FD, bytes)) process.exit(1);
  });
  const report = (type: number, value: unknown): void => {
    writer.put(type, 0, 0, 0, 0, [Buffer.from(JSON.stringify(value))]);
    writer.flush();
  };
  for (const signal of IGNORED_SIGNALS) libc.signal(signal, SIG_IGN);
  // Ignored, the kernel reaps our children by itself; their state is still told by pidfd.
  if (exitState) libc.signal(SIGCHLD, SIG_IGN);
  libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  for (const fd of [EVENTS_FD, CONTROL_FD]) libc.fcntl(fd, F_SETFD, FD_CLOEXEC);
  const launched = launch(libc, spec.launcher, { ...spec, notifyExit: !exitState });
  if ('step' in launched) {
    report(FRAME.refused, launched satisfies LaunchFault);
    process.exit(0);
  }
  libc.ioctlNumber(launched.listener, IOCTL_NOTIF_SET_FLAGS, SYNC_WAKE_UP);
  const hello: Hello = {
    pid: launched.pid,
    monotonicNs: String(process.hrtime.bigint()),
    wallNs: String(BigInt(Math.round((performance.timeOrigin + performance.now()) * 1e3)) * 1000n),
    exitState,
    noNewPrivs: launched.noNewPrivs,
  };
  report(FRAME.hello, hello);
  run(libc, spec, launched, exitState, writer);
}

/** The loop; it ends the process. */
function run(
  libc: Libc,
  spec: SupervisorSpec,
  launched: Launched,
  exitState: boolean,
  writer: FrameWriter,
): never {
  const scratch = createScratch();
  const procfs = createProcfs(libc, scratch);
  const memory = createMemory(libc, scratch);
  const pick = createKeyPicker(spec.keys);
  const environ = (pid: number) => procfs.file(pid, 'environ');
  const keysOf = (pid: number) => (spec.keys.length === 0 ? NOTHING : pick(environ(pid)));
  const self = process.pid;
  const processes = createProcesses({ libc, procfs, writer, self, exitState, keysOf });
  const phase = createPhase(libc, launched, writer);
  const capture = createCapture({ libc, memory, procfs, keysOf });
  const watched = (call: Call, of: Process) => {
    if (of.pid === launched.pid && isExec(call.number)) phase.commandStarts();
    return capture(call, of);
  };
  const begin = () => {
    writer.stamp();
    scratch.reset();
  };
  const listener = createListener(libc, launched.listener, watched, processes, writer, begin);
  processes.adopt(launched.pid);
  writeAll(libc, launched.channel, Buffer.from('k'));

  const fds = Buffer.alloc(4096);
  const sources = [launched.listener, processes.epollFd, CONTROL_FD, launched.channel];
  sources.forEach((fd, index) => {
    fds.writeInt32LE(fd, index * POLL_BYTES);
    fds.writeInt16LE(POLLIN, index * POLL_BYTES + 4);
  });
  const ready = (index: number) => fds.readInt16LE(index * POLL_BYTES + 6);
  const ignore = (index: number) => fds.writeInt32LE(-1, index * POLL_BYTES);
  let usersGone = false;
  let rounds = 0;
  for (;;) {
    const waiting = usersGone ? LAST_ENDS_MS : writer.pending() ? FLUSH_IDLE_MS : -1;
    const count = libc.poll(fds, sources.length, waiting);
    if (count < 0) continue;
    if (count === 0 || writer.ageMs() > FLUSH_AGE_MS) writer.flush();
    if (ready(1) !== 0) {
      begin();
      processes.reap();
    }
    if (ready(3) !== 0) {
      phase.commandRunsOrFailed();
      ignore(3);
    }
    if ((ready(0) & POLLIN) !== 0) listener.answer(true);
    else if ((ready(0) & POLLHUP) !== 0) {
      usersGone = true;
      ignore(0);
    } else phase.mainExit(processes.mainStatus());
    if (ready(2) !== 0) {
      if (readMessage(libc, CONTROL_FD) !== 'stop') process.exit(1);
      stop(libc, launched.listener, listener, processes, writer, phase);
    }
    const mainGone = processes.mainStatus() !== undefined || rounds > LAST_ENDS_ROUNDS_MAX;
    if (usersGone) rounds++;
    if (usersGone && mainGone && (count === 0 || processes.known() === 0)) {
      begin();
      processes.sweep();
      phase.mainExit(processes.mainStatus());
      end(writer, processes);
      process.exit(0);
    }
  }
}

/** An exec is read again when the new program runs; all else is read once, at the entry. */
const canRace = ({ type }: Captured) =>
  type === FRAME.file || type === FRAME.net || type === FRAME.call;

const isExec = (number: number) => number === SYS.execve || number === SYS.execveat;

/** Where the run is: probe, command, after it. */
function createPhase(libc: Libc, launched: Launched, writer: FrameWriter) {
  let going = false;
  let ended = false;
  return {
    /** The launcher's own first exec: all before it was the probe. */
    commandStarts() {
      if (!going) writer.put(FRAME.go, launched.pid, 0, 0, 0, []);
      going = true;
    },
    /** The launcher's channel closed (it runs the command) or tells why it can't. */
    commandRunsOrFailed() {
      const text = readMessage(libc, launched.channel);
      libc.close(launched.channel);
      const type = text === '' ? FRAME.running : FRAME.notStarted;
      writer.put(type, launched.pid, 0, 0, 0, [Buffer.from(text)]);
    },
    mainExit(status: number | undefined) {
      if (status === undefined || ended) return;
      ended = true;
      writer.put(FRAME.mainExit, launched.pid, status, 0, 0, []);
      writer.flush();
    },
  };
}

function end(writer: FrameWriter, processes: Processes): void {
  const living = processes.living();
  writer.put(FRAME.end, 0, living.length, 0, 0, [Buffer.from(living.join(' '))]);
  writer.flush();
}

/** Records what waits already, says what still runs, and from then on only answers. */
function stop(
  libc: Libc,
  fd: number,
  listener: Listener,
  processes: Processes,
  writer: FrameWriter,
  phase: { mainExit(status: number | undefined): void },
): never {
  const one = Buffer.alloc(4096);
  one.writeInt32LE(fd, 0);
  one.writeInt16LE(POLLIN, 4);
  const waits = (timeoutMs: number) =>
    libc.poll(one, 1, timeoutMs) > 0 && (one.readInt16LE(6) & POLLIN) !== 0;
  for (let i = 0; i < STOP_DRAIN_MAX && waits(0); i++) listener.answer(true);
  processes.reap();
  processes.sweep();
  phase.mainExit(processes.mainStatus());
  end(writer, processes);
  libc.close(EVENTS_FD);
  libc.close(CONTROL_FD);
  const nowhere = libc.open(Buffer.from('/dev/null\0'), O_RDWR, 0);
  for (const stdio of [0, 1, 2]) libc.dup2(nowhere, stdio);
  for (;;) {
    if (waits(-1)) listener.answer(false);
    else if ((one.readInt16LE(6) & POLLHUP) !== 0) process.exit(0);
  }
}

start(loadLibc());
