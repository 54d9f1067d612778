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
   * Runs `work` while `bytes` lie in the file. Rejects with a `refused` fault where
   * the engine would take the folder's name for a pattern, and `busy` where the disk takes nothing.
   */
  through<T>(bytes: Uint8Array, work: (file: string) => Promise<T>): Promise<T>;
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
  return {
    async through(bytes, work) {
      // A name of its own: two stores of one process may have one folder.
      const file = path.resolve(dir, `insert-${randomUUID()}.native`);
      if (PATTERN.test(file))
        throw new StoreError({ code: 'refused', message: `${dir} would be read as a pattern` });
      try {
        await fs.promises.writeFile(file, bytes, { mode: 0o600 }).catch((error) => {
          const message = `can't hand rows to the store: ${error.message}`;
          throw new StoreError({ code: 'busy', message }, { cause: error });
        });
        return await work(file);
      } finally {
        await fs.promises.rm(file, { force: true });
      }
    },
  };
}
