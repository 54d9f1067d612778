/**
 * What the spool needs of a disk, as one small synchronous port: the simulation has another that
 * tears writes, runs full and forgets what was not synced.
 */
import fs from 'node:fs';

export interface Disk {
  makeDir(dir: string): void;
  /** Names in a folder; none where there is no such folder. */
  list(dir: string): readonly string[];
  /** The whole file; undefined where there is none. */
  read(file: string): Buffer | undefined;
  /** Bytes `from` to `to` of a file. Throws where it is shorter. */
  readRange(file: string, from: number, to: number): Buffer;
  /** Creates or overwrites a file. */
  write(file: string, text: string): void;
  rename(from: string, to: string): void;
  /** Removes a file, or a folder with all in it; nothing happens where there is none. */
  remove(path: string): void;
  /** Cuts a file to so many bytes. */
  truncate(file: string, bytes: number): void;
  /** Opens a file to append to, made where there is none. */
  open(file: string): number;
  /** Appends all of `bytes` or throws; a part of them may then be in the file. */
  append(fd: number, bytes: Buffer): void;
  /** Makes a file's content, or a folder's entries, survive a power loss before it returns. */
  sync(path: string): void;
  /** The same without holding anything up; `done` gets the error, or null. */
  syncLater(path: string, done: (error: Error | null) => void): void;
  close(fd: number): void;
}

/** The error codes that say: the disk has no room now. */
const NO_ROOM = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

/** Whether a disk threw this because it is full: the same may work later. */
export const isDiskFull = (error: unknown): boolean =>
  NO_ROOM.has((error as NodeJS.ErrnoException).code ?? '');

const isAbsent = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === 'ENOENT';

/** `work`, or `otherwise` where the file or folder does not exist. */
function ifThere<T>(work: () => T, otherwise: T): T {
  try {
    return work();
  } catch (error) {
    if (isAbsent(error)) return otherwise;
    throw error;
  }
}

function readRange(file: string, from: number, to: number): Buffer {
  const bytes = Buffer.allocUnsafe(to - from);
  const fd = fs.openSync(file, 'r');
  try {
    for (let at = 0; at < bytes.length; ) {
      const got = fs.readSync(fd, bytes, at, bytes.length - at, from + at);
      if (got === 0) throw new Error(`${file} is shorter than it was written`);
      at += got;
    }
  } finally {
    fs.closeSync(fd);
  }
  return bytes;
}

function sync(path: string): void {
  const fd = fs.openSync(path, 'r');
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

function syncLater(path: string, done: (error: Error | null) => void): void {
  fs.open(path, 'r', (noFile, fd) => {
    // What was removed meanwhile needs no keeping.
    if (noFile !== null) done(isAbsent(noFile) ? null : noFile);
    else fs.fdatasync(fd, (error) => fs.close(fd, () => done(error)));
  });
}

/** The machine's own. Files and folders are the user's alone: they hold what agents say. */
export const systemDisk: Disk = {
  makeDir: (dir) => void fs.mkdirSync(dir, { recursive: true, mode: 0o700 }),
  list: (dir) => ifThere(() => fs.readdirSync(dir), []),
  read: (file) => ifThere<Buffer | undefined>(() => fs.readFileSync(file), undefined),
  readRange,
  write: (file, text) => fs.writeFileSync(file, text, { mode: 0o600 }),
  rename: (from, to) => fs.renameSync(from, to),
  remove: (path) => fs.rmSync(path, { recursive: true, force: true }),
  truncate: (file, bytes) => fs.truncateSync(file, bytes),
  open: (file) => fs.openSync(file, 'a', 0o600),
  append: (fd, bytes) => {
    for (let at = 0; at < bytes.length; ) at += fs.writeSync(fd, bytes, at);
  },
  sync,
  syncLater,
  close: (fd) => fs.closeSync(fd),
};
