/**
 * A simulated disk with the promises of POSIX and no more: what was written is there for the next
 * process; what was synced, file and folder each for itself, is there after a power loss; of the
 * rest any part may be.
 */
import path from 'node:path';
import type { Disk } from '../../collector/disk.ts';
import { type Dice, type Host, Killed, type Proc, type World } from './world.ts';

interface File {
  bytes: Buffer;
  /** What a power loss leaves for certain; undefined: nothing was ever synced. */
  durable: Buffer | undefined;
}

export interface SimDisk {
  /** The port for one process on this host. */
  portFor(proc: Proc): Disk;
  /** No room: writing fails, in the middle too. */
  full: boolean;
  /** Syncs report success and do nothing: a control. */
  lies: boolean;
  /** The power goes: all processes of the host die, and what was not synced may be gone. */
  powerLoss(): void;
  /** How long a sync may take, in milliseconds. */
  readonly syncMsMax: number;
}

const SYNC_MS_MAX = 40;
const noSpace = () => Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
const noFile = (name: string) =>
  Object.assign(new Error(`no such file: ${name}`), { code: 'ENOENT' });

/** What a power loss leaves of one file. */
function survive(file: File, dice: Dice): Buffer {
  const { bytes, durable } = file;
  if (durable !== undefined && bytes.equals(durable)) return bytes;
  const base = durable ?? Buffer.alloc(0);
  if (!bytes.subarray(0, base.length).equals(base)) return dice.chance(0.5) ? base : bytes;
  const cut = dice.int(base.length, bytes.length);
  const kept = Buffer.from(bytes.subarray(0, cut));
  // A block that was allocated and not written: zeros where the last bytes should be.
  if (cut > base.length && dice.chance(0.2)) kept.fill(0, dice.int(base.length, cut - 1));
  return kept;
}

/** A disk on which the given folders stand since long. */
export function createSimDisk(world: World, host: Host, folders: readonly string[]): SimDisk {
  const dice = world.dice.fork(`disk/${host.name}`);
  /** Path -> file; folders are `null`. */
  let live = new Map<string, File | null>(folders.map((name) => [name, null]));
  let durable = new Map(live);
  const fds = new Map<number, string>();
  let nextFd = 3;

  function gate(proc: Proc): void {
    if (proc.state === 'dead') throw new Killed();
    if (proc.killAtDiskOp === undefined) return;
    if (--proc.killAtDiskOp > 0) return;
    world.trace(`${proc.name} is killed in a disk operation`);
    proc.kill();
    throw new Killed();
  }

  /** A write that may be cut off by a kill or by the end of the room. */
  function pour(proc: Proc, file: File, bytes: Buffer): void {
    const part = (upTo: number) => bytes.subarray(0, dice.int(0, upTo));
    try {
      gate(proc);
    } catch (killed) {
      if (proc.killAtDiskOp === 0) file.bytes = Buffer.concat([file.bytes, part(bytes.length)]);
      proc.killAtDiskOp = undefined;
      throw killed;
    }
    if (disk.full) {
      file.bytes = Buffer.concat([file.bytes, part(bytes.length - 1)]);
      throw noSpace();
    }
    file.bytes = Buffer.concat([file.bytes, bytes]);
  }

  const fileAt = (name: string): File => {
    const file = live.get(name);
    if (file === undefined || file === null) throw noFile(name);
    return file;
  };
  const create = (name: string): File => {
    const file = live.get(name);
    if (file !== undefined && file !== null) return file;
    if (disk.full) throw noSpace();
    const made: File = { bytes: Buffer.alloc(0), durable: undefined };
    live.set(name, made);
    return made;
  };
  const below = (map: Map<string, unknown>, dir: string) =>
    [...map.keys()].filter((name) => name.startsWith(`${dir}/`));

  function syncNow(name: string): void {
    if (disk.lies) return;
    const file = live.get(name);
    if (file === undefined) throw noFile(name);
    if (file !== null) {
      file.durable = file.bytes;
      return;
    }
    const children = (map: Map<string, unknown>) =>
      [...map.keys()].filter((one) => path.dirname(one) === name);
    for (const one of children(durable)) if (!live.has(one)) durable.delete(one);
    for (const one of children(live)) durable.set(one, live.get(one) as File | null);
  }

  /** /proc/PID/stat, for processes of this host that run. */
  function procFile(name: string): Buffer | undefined {
    const pid = Number(name.split('/')[2]);
    const proc = [...host.procs].find((one) => one.pid === pid);
    if (proc === undefined) return undefined;
    return Buffer.from(`${pid} (node) S ${'0 '.repeat(18)}${Math.round(proc.startedMs)} 0`);
  }

  function portFor(proc: Proc): Disk {
    return {
      makeDir: (dir) => {
        gate(proc);
        for (let at = dir; at !== '/' && at !== '.'; at = path.dirname(at)) live.set(at, null);
      },
      list: (dir) => {
        gate(proc);
        return [...new Set(below(live, dir).map((one) => one.slice(dir.length + 1).split('/')[0]))]
          .filter((one): one is string => one !== undefined)
          .sort();
      },
      read: (name) => {
        gate(proc);
        if (name.startsWith('/proc/')) return procFile(name);
        const file = live.get(name);
        return file === undefined || file === null ? undefined : Buffer.from(file.bytes);
      },
      readRange: (name, from, to) => {
        gate(proc);
        const { bytes } = fileAt(name);
        if (bytes.length < to) throw new Error(`${name} is shorter than it was written`);
        return Buffer.from(bytes.subarray(from, to));
      },
      write: (name, text) => {
        const file = create(name);
        file.bytes = Buffer.alloc(0);
        pour(proc, file, Buffer.from(text));
      },
      rename: (from, to) => {
        gate(proc);
        const file = fileAt(from);
        live.delete(from);
        live.set(to, file);
      },
      remove: (name) => {
        gate(proc);
        live.delete(name);
        for (const one of below(live, name)) live.delete(one);
      },
      truncate: (name, bytes) => {
        gate(proc);
        const file = fileAt(name);
        file.bytes = Buffer.from(file.bytes.subarray(0, bytes));
      },
      open: (name) => {
        gate(proc);
        create(name);
        fds.set(nextFd, name);
        return nextFd++;
      },
      append: (fd, bytes) => pour(proc, fileAt(fds.get(fd) ?? ''), bytes),
      sync: (name) => {
        gate(proc);
        syncNow(name);
      },
      syncLater: (name, done) => {
        gate(proc);
        const file = live.get(name);
        const snapshot = file?.bytes;
        const at = dice.int(1, SYNC_MS_MAX);
        world.after(at, () => {
          if (disk.lies) return;
          if (file === null && live.has(name)) syncNow(name);
          else if (file && snapshot !== undefined) file.durable = snapshot;
        });
        world.after(at, () => done(null), proc);
      },
      close: (fd) => {
        gate(proc);
        fds.delete(fd);
      },
    };
  }

  function powerLoss(): void {
    for (const proc of [...host.procs]) proc.kill();
    const after = new Map<string, File | null>();
    for (const name of new Set([...durable.keys(), ...live.keys()])) {
      const [now, then] = [live.get(name), durable.get(name)];
      // An entry that was made, removed or replaced since the folder was synced: either may be.
      const file = now === then || dice.chance(0.5) ? now : then;
      if (file === undefined) continue;
      const known = durable.has(path.dirname(name)) || path.dirname(name) === '/';
      if (!known && !after.has(path.dirname(name)) && dice.chance(0.5)) continue;
      after.set(name, file);
    }
    // A file whose folder is gone is gone.
    for (const name of [...after.keys()].sort())
      if (path.dirname(name) !== '/' && after.get(path.dirname(name)) !== null) after.delete(name);
    const kept = new Map<File, File>();
    for (const [name, file] of after) {
      if (file === null) continue;
      const bytes = kept.get(file)?.bytes ?? survive(file, dice);
      const left = kept.get(file) ?? { bytes, durable: bytes };
      kept.set(file, left);
      after.set(name, left);
    }
    live = after;
    durable = new Map(after);
    fds.clear();
    disk.full = false;
  }

  const disk: SimDisk = { portFor, full: false, lies: false, powerLoss, syncMsMax: SYNC_MS_MAX };
  return disk;
}
