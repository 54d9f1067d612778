/**
 * Follows files that grow by whole lines, by polling: `inotify` would have to be told of each new
 * directory, and a tail that is a fifth of a second late loses nothing.
 */
import fs from 'node:fs/promises';
import path from 'node:path';

export interface TailLimits {
  readonly chunkBytes: number;
  /** A longer line is skipped and counted. A rollout line holds one whole tool output. */
  readonly lineBytesMax: number;
  /** Directories looked through for one file; the newest first. */
  readonly directoriesMax: number;
}

export const TAIL_DEFAULTS: TailLimits = {
  chunkBytes: 1024 * 1024,
  lineBytesMax: 64 * 1024 * 1024,
  directoriesMax: 4096,
};

export interface Tail {
  /** Follows a file from `offset` on, its start. Following it twice is following it once. */
  follow(file: string, offset?: number): void;
  readonly files: readonly string[];
  /** Reads what is new and gives it line by line. Resolves with the bytes that were read. */
  poll(): Promise<number>;
  /** Lines too long to be read, and starts over of files that shrank or were replaced. */
  readonly lost: number;
}

interface Followed {
  offset: number;
  /** Which file it is: another one of the same name has another number. */
  inode: number | undefined;
  rest: Buffer[];
  restBytes: number;
  /** Inside a line that is too long. */
  skipping: boolean;
}

const NEWLINE = 0x0a;

/** Makes a tail; `line` is called for each whole line, in order, without its newline. */
export function createTail(
  line: (text: string, file: string) => void,
  limits: TailLimits = TAIL_DEFAULTS,
): Tail {
  const files = new Map<string, Followed>();
  let lost = 0;

  function take(file: string, state: Followed, chunk: Buffer): void {
    let from = 0;
    for (let at = chunk.indexOf(NEWLINE); at >= 0; at = chunk.indexOf(NEWLINE, from)) {
      const last = chunk.subarray(from, at);
      from = at + 1;
      const whole = state.rest.length === 0 ? last : Buffer.concat([...state.rest, last]);
      const skip = state.skipping;
      Object.assign(state, { rest: [], restBytes: 0, skipping: false });
      if (!skip && whole.length > 0) line(whole.toString('utf8'), file);
    }
    if (from === chunk.length || state.skipping) return;
    // The chunk's memory is used again, so what is kept of it is copied.
    state.rest.push(Buffer.from(chunk.subarray(from)));
    state.restBytes += chunk.length - from;
    if (state.restBytes > limits.lineBytesMax) {
      Object.assign(state, { rest: [], restBytes: 0, skipping: true });
      lost++;
    }
  }

  async function read(file: string, state: Followed, chunk: Buffer): Promise<number> {
    const handle = await fs.open(file, 'r').catch(() => undefined);
    if (handle === undefined) return 0;
    let total = 0;
    try {
      const { size, ino } = await handle.stat();
      if (size < state.offset || (state.inode !== undefined && state.inode !== ino)) {
        lost++;
        Object.assign(state, { offset: 0, rest: [], restBytes: 0, skipping: false });
      }
      state.inode = ino;
      while (state.offset < size) {
        const { bytesRead } = await handle.read(chunk, 0, chunk.length, state.offset);
        if (bytesRead === 0) break;
        state.offset += bytesRead;
        total += bytesRead;
        take(file, state, chunk.subarray(0, bytesRead));
      }
    } finally {
      await handle.close();
    }
    return total;
  }

  return {
    follow(file, offset = 0) {
      const state = { offset, inode: undefined, rest: [], restBytes: 0, skipping: false };
      if (!files.has(file)) files.set(file, state);
    },
    get files() {
      return [...files.keys()];
    },
    async poll() {
      const chunk = Buffer.allocUnsafe(limits.chunkBytes);
      let total = 0;
      for (const [file, state] of files) total += await read(file, state, chunk);
      return total;
    },
    get lost() {
      return lost;
    },
  };
}

/**
 * Files below `root` that `accept` takes, newest names first: agents sort their sessions into
 * directories by date, so the one looked for is among the first.
 */
export async function findFiles(
  root: string,
  accept: (name: string) => boolean,
  countMax: number,
  limits: TailLimits = TAIL_DEFAULTS,
): Promise<string[]> {
  const found: string[] = [];
  let directories = 0;
  async function walk(directory: string): Promise<void> {
    if (found.length >= countMax || ++directories > limits.directoriesMax) return;
    const entries = await fs.readdir(directory, { withFileTypes: true }).catch(() => []);
    entries.sort((a, b) => (a.name < b.name ? 1 : -1));
    for (const entry of entries) {
      if (found.length >= countMax) return;
      const full = path.join(directory, entry.name);
      if (entry.isDirectory()) await walk(full);
      else if (entry.isFile() && accept(entry.name)) found.push(full);
    }
  }
  await walk(root);
  return found;
}

/** The first line of a file, if it ends within `bytesMax`. */
export async function firstLine(file: string, bytesMax: number): Promise<string | undefined> {
  const handle = await fs.open(file, 'r').catch(() => undefined);
  if (handle === undefined) return undefined;
  try {
    const buffer = Buffer.alloc(bytesMax);
    const { bytesRead } = await handle.read(buffer, 0, bytesMax, 0);
    const end = buffer.subarray(0, bytesRead).indexOf(NEWLINE);
    return end < 0 ? undefined : buffer.toString('utf8', 0, end);
  } finally {
    await handle.close();
  }
}
