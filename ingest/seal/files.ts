/**
 * What a log needs of a disk, as a small port: the tests have another that tears writes, forgets
 * what was not synced and dies at any step. Names are relative to the log's directory.
 */
import fs from 'node:fs/promises';
import path from 'node:path';

export interface LogFiles {
  /** The whole file; undefined where there is none. */
  read(name: string): Promise<Buffer | undefined>;
  /**
   * Creates or overwrites a file; its content is on the disk when this returns. A crash before
   * that leaves any part of it. Its *name* survives only after `syncDir`.
   */
  write(name: string, bytes: Uint8Array): Promise<void>;
  /** Puts a file in the place of another, whole or not at all. */
  rename(from: string, to: string): Promise<void>;
  /** Makes the names in a folder survive a power loss. */
  syncDir(dir: string): Promise<void>;
  makeDir(dir: string): Promise<void>;
  /** Removes a file, or a folder with all in it; nothing happens where there is none. */
  remove(name: string): Promise<void>;
}

const isAbsent = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === 'ENOENT';

/** The folder a file stands in. */
export const dirOf = (name: string): string => path.posix.dirname(name);

/**
 * Files below `root` on the machine's disk. They are the user's alone: a log tells who recorded
 * what, and when. `root` is made where there is none.
 */
export async function openLogFiles(root: string): Promise<LogFiles> {
  await fs.mkdir(root, { recursive: true, mode: 0o700 });
  const at = (name: string) => path.join(root, name);
  return {
    async read(name) {
      try {
        return await fs.readFile(at(name));
      } catch (error) {
        if (isAbsent(error)) return undefined;
        throw error;
      }
    },
    async write(name, bytes) {
      const file = await fs.open(at(name), 'w', 0o600);
      try {
        await file.writeFile(bytes);
        await file.sync();
      } finally {
        await file.close();
      }
    },
    rename: (from, to) => fs.rename(at(from), at(to)),
    async syncDir(dir) {
      const folder = await fs.open(at(dir), 'r');
      try {
        await folder.sync();
      } finally {
        await folder.close();
      }
    },
    makeDir: async (dir) => void (await fs.mkdir(at(dir), { recursive: true, mode: 0o700 })),
    remove: (name) => fs.rm(at(name), { recursive: true, force: true }),
  };
}

/** Replaces a file: after this it is the new one, and before it the old one, at any crash. */
export async function replaceFile(files: LogFiles, name: string, bytes: Uint8Array): Promise<void> {
  const draft = `${name}.new`;
  await files.write(draft, bytes);
  await files.rename(draft, name);
  await files.syncDir(dirOf(name));
}
