/**
 * How binary rows get into the embedded engine: its binding takes formats of text only, but the
 * engine itself reads any format from a file (`INSERT … FROM INFILE`). The file lies in the store's
 * own folder and is gone when the insert has ended, so that nothing that is erased from the table
 * stays behind in it.
 */
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { StoreError } from '#schemas';

export interface Hatch {
  /**
   * Runs `work` while `parts`, one after the other, lie in the file; they are not held in memory
   * for so long. Rejects with a `refused` fault where the engine would take the folder's name for a
   * pattern, and `busy` where the disk takes nothing.
   */
  through<T>(parts: readonly Uint8Array[], work: (file: string) => Promise<T>): Promise<T>;
}

const PATTERN = /[*?{}[\]]/;
const FILE = /^insert-[0-9a-f-]{36}\.native$/;

/** Removes what a killed process left behind. */
function clear(dir: string): void {
  for (const name of fs.existsSync(dir) ? fs.readdirSync(dir) : [])
    if (FILE.test(name)) fs.rmSync(path.join(dir, name), { force: true });
}

export function createHatch(dir: string): Hatch {
  clear(dir);
  const drop = (file: string) => fs.promises.rm(file, { force: true });

  async function put(parts: readonly Uint8Array[]): Promise<string> {
    // A name of its own: two stores of one process may have one folder.
    const file = path.resolve(dir, `insert-${randomUUID()}.native`);
    if (PATTERN.test(file))
      throw new StoreError({ code: 'refused', message: `${dir} would be read as a pattern` });
    try {
      await write(file, parts);
    } catch (error) {
      await drop(file);
      const message = `can't hand rows to the store: ${(error as Error).message}`;
      throw new StoreError({ code: 'busy', message }, { cause: error });
    }
    return file;
  }

  return {
    through: (parts, work) => put(parts).then((file) => work(file).finally(() => drop(file))),
  };
}

async function write(file: string, parts: readonly Uint8Array[]): Promise<void> {
  const handle = await fs.promises.open(file, 'wx', 0o600);
  try {
    const bytes = parts.reduce((sum, part) => sum + part.length, 0);
    const { bytesWritten } = await handle.writev(parts);
    if (bytesWritten !== bytes) throw new Error(`the disk took ${bytesWritten} of ${bytes} bytes`);
  } finally {
    await handle.close();
  }
}
