import fs from 'node:fs';
import path from 'node:path';
import koffi from 'koffi';
import { UsageError } from './lifecycle.ts';

const LOCK_EX = 2;
const LOCK_NB = 4;

/**
 * Holds a directory for this process alone, by flock(2) on `lock` in it: the kernel lets go when the
 * process ends, however it ends. Gives back what lets go of it earlier. Throws a UsageError where
 * another process has it. The directory is made where there is none.
 */
export function lockDir(dir: string): () => void {
  fs.mkdirSync(dir, { recursive: true, mode: 0o700 });
  const flock = koffi.load(null).func('int flock(int fd, int operation)');
  const fd = fs.openSync(path.join(dir, 'lock'), 'a', 0o600);
  if (flock(fd, LOCK_EX | LOCK_NB) !== 0) {
    fs.closeSync(fd);
    throw new UsageError(`${dir} is in use by another process`);
  }
  return () => fs.closeSync(fd);
}
