/**
 * What is read at each stop, by system call: the strings and numbers that the event needs, no
 * more. Reading comes before the answer, writing the frame after it.
 */
import { execHandlers, programState } from './capture-exec.ts';
import { fileHandlers } from './capture-file.ts';
import { guardedHandlers } from './capture-guarded.ts';
import { netHandlers } from './capture-net.ts';
import type { Address, Memory } from './memory.ts';
import type { Libc } from './native.ts';
import type { Process } from './processes.ts';
import type { Procfs } from './procfs.ts';
import { SYS } from './syscalls.ts';
import { FRAME } from './wire.ts';

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
  readonly memory: Memory;
  readonly procfs: Procfs;
  /** Picks the join keys out of a process's environment. */
  readonly keysOf: (pid: number) => Buffer;
}

export type Handler = (call: Call, process: Process) => Captured[];

/** An argument as the C int that it is. */
export const signed = (value: number): number => value | 0;

/** Returns a function that reads one stop; the frames keep the order of the list. */
export function createCapture(deps: CaptureDeps): Handler {
  const handlers = new Map<number, Handler>([
    ...fileHandlers(deps),
    ...netHandlers(deps),
    ...guardedHandlers(deps),
    ...execHandlers(deps),
  ]);
  return (call, process) => {
    const captured = handlers.get(call.number)?.(call, process) ?? [];
    if (process.pending === undefined || isExec(call.number)) return captured;
    const settled = programState(deps, process, FRAME.execSettle);
    process.pending = undefined;
    return [settled, ...captured];
  };
}

const isExec = (number: number) =>
  number === SYS.execve || number === SYS.execveat || number === SYS.arch_prctl;
