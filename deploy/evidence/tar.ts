/** A bundle as one tar file: written in a fixed way, read with nothing in it trusted. */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { type Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { extract, pack } from 'tar-stream';
import {
  type BundleSource,
  FILE_ORDER,
  MANIFEST,
  MANIFEST_BYTES_MAX,
  UnreadableError,
} from '../../schemas/evidence/format.ts';
import type { StagedFiles } from './files.ts';

const BLOCK_BYTES = 512;
/** An archive ends in two blocks of zeros; other tools add more of them. */
const END_BYTES = 2 * BLOCK_BYTES;
const FILE_MODE = 0o644;
/** Time zero on every file: the same input gives the same bytes. */
const MTIME = new Date(0);
const READ_BYTES = 256 * 1024;

/** Hashes what goes through. */
function hashing(digest: ReturnType<typeof createHash>): Transform {
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      digest.update(chunk);
      done(null, chunk);
    },
  });
}

/** Writes the staged files as an archive; gives its SHA-256. The file appears only when it is whole. */
export async function writeBundle(files: StagedFiles, to: string): Promise<string> {
  const partial = `${to}.part`;
  const digest = createHash('sha256');
  const archive = pack();
  const fd = await fs.promises.open(partial, 'w', 0o600);
  const written = pipeline(
    archive as unknown as NodeJS.ReadableStream,
    hashing(digest),
    fd.createWriteStream({ flush: true }),
  );
  // A full disk ends the archive in the midst of a file: that is told by `written`, once.
  written.catch(() => {});
  try {
    for (const name of FILE_ORDER) {
      if (!files.names.includes(name)) continue;
      const { size } = fs.statSync(files.pathOf(name));
      const entry = archive.entry({ name, size, mode: FILE_MODE, mtime: MTIME, type: 'file' });
      await Promise.race([
        pipeline(files.read(name) as Readable, entry as unknown as NodeJS.WritableStream),
        written,
      ]);
    }
    archive.finalize();
    await written;
    fs.renameSync(partial, to);
  } catch (error) {
    archive.destroy();
    fs.rmSync(partial, { force: true });
    throw error;
  }
  return digest.digest('hex');
}

interface Entry {
  readonly at: number;
  readonly bytes: number;
}

export interface OpenBundle extends BundleSource {
  /** Of the whole file. */
  readonly sha256: string;
  close(): Promise<void>;
}

type TarHeader = { name: string; size?: number | undefined; type?: string | null | undefined };

/** What an archive may hold: the bundle's files, each once, in their order. */
function createIndex(archiveBytes: number) {
  const entries = new Map<string, Entry>();
  let last = -1;
  let end = 0;
  return {
    entries,
    get end() {
      return end;
    },
    add({ name, size = 0, type }: TarHeader, at: number): void {
      const place = FILE_ORDER.indexOf(name as (typeof FILE_ORDER)[number]);
      if (place < 0)
        throw new UnreadableError(
          `the archive holds ${JSON.stringify(name.slice(0, 100))}, which belongs in no bundle`,
        );
      if (place <= last) throw new UnreadableError(`${name} stands twice or out of its order`);
      if (type !== 'file') throw new UnreadableError(`${name} is no regular file`);
      if (!Number.isSafeInteger(at + size) || at + size > archiveBytes)
        throw new UnreadableError(`${name} is cut off`);
      if (name === MANIFEST && size > MANIFEST_BYTES_MAX)
        throw new UnreadableError(`${name} is longer than ${MANIFEST_BYTES_MAX} bytes`);
      last = place;
      end = at + Math.ceil(size / BLOCK_BYTES) * BLOCK_BYTES;
      entries.set(name, { at, bytes: size });
    },
  };
}

async function readEnd(file: fs.promises.FileHandle, from: number, bytes: number): Promise<void> {
  if (bytes - from < END_BYTES) throw new UnreadableError('the archive is cut off');
  const block = Buffer.alloc(READ_BYTES);
  for (let at = from; at < bytes; ) {
    const { bytesRead } = await file.read(block, 0, block.length, at);
    if (bytesRead === 0) throw new UnreadableError('the archive is cut off');
    if (block.subarray(0, bytesRead).some((byte) => byte !== 0))
      throw new UnreadableError('there are bytes behind the end of the archive');
    at += bytesRead;
  }
}

/**
 * Opens a bundle: finds its files and takes its hash in one pass, in bounded memory. Throws
 * `UnreadableError` for anything that is no bundle; a system error where the file can't be read.
 */
export async function openBundle(from: string): Promise<OpenBundle> {
  const file = await fs.promises.open(from, 'r');
  try {
    const { size } = await file.stat();
    const digest = createHash('sha256');
    const index = createIndex(size);
    const archive = extract();
    archive.on('entry', (header, stream, next) => {
      // What ends the archive ends the file in it too, and is told there.
      stream.on('error', () => {});
      try {
        index.add(header, (header as unknown as { byteOffset: number }).byteOffset);
      } catch (error) {
        archive.destroy(error as Error);
        return;
      }
      stream.on('end', next);
      stream.resume();
    });
    const bytes = file.createReadStream({ autoClose: false, start: 0, highWaterMark: READ_BYTES });
    await pipeline(bytes, hashing(digest), archive as unknown as NodeJS.WritableStream).catch(
      (error: NodeJS.ErrnoException) => {
        if (error instanceof UnreadableError || error.syscall !== undefined) throw error;
        throw new UnreadableError(`the archive is damaged: ${error.message.slice(0, 200)}`);
      },
    );
    await readEnd(file, index.end, size);
    return {
      names: [...index.entries.keys()],
      sha256: digest.digest('hex'),
      read: (name) => read(file, index.entries.get(name)),
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function* read(
  file: fs.promises.FileHandle,
  entry: Entry | undefined,
): AsyncGenerator<Uint8Array> {
  const { at, bytes } = entry ?? { at: 0, bytes: 0 };
  for (let done = 0; done < bytes; ) {
    // A buffer of its own each time: what was read before may still be looked at.
    const block = Buffer.allocUnsafe(Math.min(READ_BYTES, bytes - done));
    const { bytesRead } = await file.read(block, 0, block.length, at + done);
    if (bytesRead === 0) throw new UnreadableError('the file became shorter while it was read');
    done += bytesRead;
    yield block.subarray(0, bytesRead);
  }
}
