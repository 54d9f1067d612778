/**
 * The files of a bundle on disk while it is made: written in pieces, hashed on the way, so that a
 * session of a million events takes no more memory than a small one.
 */
import { createHash, type Hash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import type { BundleSource, FileFacts, FileName } from '../../schemas/evidence/format.ts';

/** Text that is kept before it is written. */
const BUFFER_CHARACTERS = 256 * 1024;
const LF = 10;

interface OpenFile {
  readonly fd: number;
  readonly digest: Hash;
  text: string;
  bytes: number;
  lines: number;
}

export interface StagedFiles extends BundleSource {
  put(name: FileName, text: string): void;
  /** Writes what is kept; gives the facts of each file. */
  finish(): Readonly<Record<string, FileFacts>>;
  /** Where a file lies. */
  pathOf(name: string): string;
  close(): void;
}

/** Files below `dir`, which must exist. */
export function createStagedFiles(dir: string): StagedFiles {
  const open = new Map<string, OpenFile>();
  const pathOf = (name: string) => path.join(dir, name.replaceAll('/', '_'));

  function flush(file: OpenFile): void {
    const bytes = Buffer.from(file.text);
    file.text = '';
    file.digest.update(bytes);
    file.bytes += bytes.length;
    for (let at = bytes.indexOf(LF); at >= 0; at = bytes.indexOf(LF, at + 1)) file.lines++;
    for (let at = 0; at < bytes.length; ) at += fs.writeSync(file.fd, bytes, at);
  }

  function put(name: FileName, text: string): void {
    let file = open.get(name);
    if (file === undefined) {
      const fd = fs.openSync(pathOf(name), 'wx', 0o600);
      file = { fd, digest: createHash('sha256'), text: '', bytes: 0, lines: 0 };
      open.set(name, file);
    }
    file.text += text;
    if (file.text.length > BUFFER_CHARACTERS) flush(file);
  }

  return {
    put,
    pathOf,
    finish() {
      const facts: Record<string, FileFacts> = {};
      for (const [name, file] of open) {
        flush(file);
        const sha256 = file.digest.copy().digest('hex');
        facts[name] = { bytes: file.bytes, lines: file.lines, sha256 };
      }
      return facts;
    },
    get names() {
      return [...open.keys()];
    },
    read: (name) => fs.createReadStream(pathOf(name)),
    close() {
      for (const { fd } of open.values()) fs.closeSync(fd);
      open.clear();
    },
  };
}
