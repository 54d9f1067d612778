/** The seccomp filter, run by a small interpreter of classic BPF as the kernel would. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type FilterOptions,
  filterBytes,
  filterProgram,
} from '../../../collector/sensors/filter.ts';
import { ARCH_SET_FS, ARCH_X86_64, SYS } from '../../../collector/sensors/syscalls.ts';

const NOTIFY = 0x7fc00000;
const ALLOW = 0x7fff0000;
const PRETEND = 0x00050000;
const KERNEL_INSTRUCTIONS_MAX = 4096;
const options: FilterOptions = { notifyExit: false, keepDumpable: true };

/** Runs the bytes on one `struct seccomp_data`; throws where the kernel would refuse to load. */
function run(bytes: Buffer, data: Buffer): number {
  let word = 0;
  for (let at = 0; at < bytes.length / 8; at++) {
    const code = bytes.readUInt16LE(8 * at);
    const [yes = 0, no = 0] = [bytes[8 * at + 2], bytes[8 * at + 3]];
    const k = bytes.readUInt32LE(8 * at + 4);
    if (code === 0x06) return k;
    if (code === 0x20) {
      if (k % 4 !== 0 || k > 60) throw new Error(`load at ${k}`);
      word = data.readUInt32LE(k);
    } else if (code === 0x15) at += word === k ? yes : no;
    else if (code === 0x35) at += word >= k ? yes : no;
    else if (code === 0x45) at += (word & k) !== 0 ? yes : no;
    else throw new Error(`instruction ${code}`);
  }
  throw new Error('ran over the end');
}

function call(
  number: number,
  args: readonly (number | bigint)[] = [],
  arch = ARCH_X86_64,
  how = options,
): number {
  const data = Buffer.alloc(64);
  data.writeUInt32LE(number >>> 0, 0);
  data.writeUInt32LE(arch, 4);
  args.forEach((value, index) => {
    data.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)), 16 + 8 * index);
  });
  return run(filterBytes(how), data);
}

describe('the filter', () => {
  it('stops opens by their flags', () => {
    for (const [number, at] of [
      [SYS.open, 1],
      [SYS.openat, 2],
    ] as const) {
      const withFlags = (flags: number) => call(number, [...Array(at).fill(0), flags]);
      for (const flags of [0o1, 0o2, 0o100, 0o1000, 0o1101, 0o2000001])
        expect(withFlags(flags)).toBe(NOTIFY);
      for (const flags of [0, 0o2000000, 0o200000, 0o4000]) expect(withFlags(flags)).toBe(ALLOW);
    }
  });

  it('stops sends with an address only, in either half of the pointer', () => {
    expect(call(SYS.sendto, [3, 4, 5, 0, 0, 0])).toBe(ALLOW);
    expect(call(SYS.sendto, [3, 4, 5, 0, 0x1000, 16])).toBe(NOTIFY);
    expect(call(SYS.sendto, [3, 4, 5, 0, 0x7f00_0000_0000n, 16])).toBe(NOTIFY);
  });

  it('stops modes that make something run, and no others', () => {
    for (const [number, at] of [
      [SYS.chmod, 1],
      [SYS.fchmod, 1],
      [SYS.fchmodat, 2],
      [SYS.fchmodat2, 2],
    ] as const) {
      const withMode = (mode: number) => call(number, [...Array(at).fill(0), mode]);
      for (const mode of [0o755, 0o644 | 0o4000, 0o2000, 0o100])
        expect(withMode(mode)).toBe(NOTIFY);
      for (const mode of [0o644, 0o600, 0o666, 0]) expect(withMode(mode)).toBe(ALLOW);
    }
  });

  it('stops what it can’t read: other architectures, x32, io_uring', () => {
    const foreign = fc.integer({ min: 0, max: 0xffffffff }).filter((arch) => arch !== ARCH_X86_64);
    fc.assert(
      fc.property(foreign, fc.integer({ min: 0, max: 500 }), (arch, number) => {
        expect(call(number, [], arch)).toBe(NOTIFY);
      }),
      { numRuns: 20 },
    );
    expect(call(0x40000000 | SYS.openat)).toBe(NOTIFY);
    expect(call(-1)).toBe(NOTIFY);
    expect(call(SYS.io_uring_setup)).toBe(NOTIFY);
  });

  it('stops what makes a namespace, attaches a tracer or listens to a filter, and no more', () => {
    const namespaces = [0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x40000000];
    for (const number of [SYS.clone, SYS.unshare])
      for (const bit of namespaces) expect(call(number, [bit | 17])).toBe(NOTIFY);
    // What fork(3), vfork(3) and pthread_create(3) pass.
    for (const flags of [0x1200011, 0x4111, 0x3d0f00]) expect(call(SYS.clone, [flags])).toBe(ALLOW);
    expect(call(SYS.unshare, [0x80])).toBe(NOTIFY);
    expect(call(SYS.unshare, [0x400 | 0x200])).toBe(ALLOW);
    for (const request of [0, 16, 0x4206]) expect(call(SYS.ptrace, [request])).toBe(NOTIFY);
    for (const request of [1, 4, 7, 12, 0x4201]) expect(call(SYS.ptrace, [request])).toBe(ALLOW);
    expect(call(SYS.seccomp, [1, 8])).toBe(NOTIFY);
    expect(call(SYS.seccomp, [1, 0])).toBe(ALLOW);
  });

  it('pretends that a process made itself unreadable', () => {
    expect(call(SYS.prctl, [4, 0])).toBe(PRETEND);
    expect(call(SYS.prctl, [4, 1])).toBe(ALLOW);
    expect(call(SYS.prctl, [38, 1])).toBe(ALLOW);
    expect(call(SYS.prctl, [4, 0], ARCH_X86_64, { ...options, keepDumpable: false })).toBe(ALLOW);
  });

  it('stops every call of its list, and lets all others through', () => {
    const conditional = [
      ...[SYS.open, SYS.openat, SYS.sendto, SYS.arch_prctl, SYS.prctl],
      ...[SYS.chmod, SYS.fchmod, SYS.fchmodat, SYS.fchmodat2],
      ...[SYS.clone, SYS.unshare, SYS.ptrace, SYS.seccomp],
    ];
    const never: number[] = [
      ...[SYS.exit_group, SYS.tgkill, SYS.waitid, SYS.process_vm_readv],
      ...[SYS.pidfd_send_signal, SYS.pidfd_open],
    ];
    const known = new Set<number>(Object.values(SYS));
    for (let number = 0; number < 600; number++) {
      if ((conditional as number[]).includes(number)) continue;
      const wanted = known.has(number) && !never.includes(number) ? NOTIFY : ALLOW;
      expect([number, call(number)]).toEqual([number, wanted]);
    }
    expect(call(SYS.arch_prctl, [ARCH_SET_FS])).toBe(NOTIFY);
    expect(call(SYS.arch_prctl, [0x1001])).toBe(ALLOW);
    expect(call(SYS.exit_group, [], ARCH_X86_64, { ...options, notifyExit: true })).toBe(NOTIFY);
  });

  it('is one that the kernel loads: short, jumps forward, within, ends in a return', () => {
    const program = filterProgram({ notifyExit: true, keepDumpable: true });
    expect(program.length).toBeLessThan(KERNEL_INSTRUCTIONS_MAX);
    program.forEach(([code, yes, no], index) => {
      for (const jump of [yes, no]) {
        expect(jump).toBeLessThan(256);
        expect(index + 1 + jump).toBeLessThanOrEqual(program.length);
      }
      if (index === program.length - 1) expect(code).toBe(6);
    });
  });
});
