/** Bundles in memory: what the honest writer makes of a store, as files and as an archive. */
import { createHash } from 'node:crypto';
import type { TelltaleEvent } from '#schemas';
import {
  type BundleSource,
  FILE_ORDER,
  type FileFacts,
  type FileName,
} from '../../schemas/evidence/format.ts';
import { canonicalJson, type JsonObject } from '../../schemas/evidence/json.ts';
import { createBundleWriter, type LogPart } from '../../schemas/evidence/write.ts';
import type { Store } from './world.ts';
import { eraseRow } from './world.ts';

export type Files = Map<string, Buffer>;
export const TOOL = 'telltale 0.1.0';

const LOG_FILES: readonly string[] = ['log/checkpoint', 'log/proofs.ndjson'];

export function factsOf(bytes: Buffer): FileFacts {
  let lines = 0;
  for (const byte of bytes) if (byte === 10) lines++;
  return { bytes: bytes.length, lines, sha256: createHash('sha256').update(bytes).digest('hex') };
}

const compare = (a: { stream_id: string; seq: number }, b: { stream_id: string; seq: number }) =>
  a.stream_id < b.stream_id ? -1 : a.stream_id > b.stream_id ? 1 : a.seq - b.seq;

/** The files that an export of the store gives; rows of other sessions are not in it. */
export function exportFiles(
  store: Store,
  log: LogPart | undefined,
  content: 'full' | 'none' = 'full',
): Files {
  const parts = new Map<string, string[]>();
  const put = (file: string, text: string) => {
    const known = parts.get(file);
    if (known === undefined) parts.set(file, [text]);
    else known.push(text);
  };
  const head = { tenant: store.tenant, session_id: store.session, content, tool: TOOL };
  const writer = createBundleWriter(head, put);
  const rows = store.rows.filter(
    (row) => row.session_id === store.session && row.tenant === store.tenant,
  );
  for (const row of [...rows].sort(compare)) {
    if (content === 'none') {
      const bare = { ...row };
      eraseRow(bare);
      writer.addEvent(bare as unknown as TelltaleEvent);
    } else writer.addEvent(row as unknown as TelltaleEvent);
  }
  for (const letter of store.dead) writer.addDeadLetter(letter as JsonObject);
  for (const stream of store.streams) writer.addStream(stream);
  for (const erasure of store.erasures) writer.addErasure(erasure);
  writer.finish(log, {
    at_ms: 1_764_200_000_000,
    by: 'robin',
    from: 'http://127.0.0.1:4560',
    reason: 'case 7',
  });
  const files: Files = new Map();
  for (const name of FILE_ORDER.slice(1))
    if (log !== undefined || !LOG_FILES.includes(name))
      files.set(name, Buffer.from((parts.get(name) ?? []).join('')));
  const facts = Object.fromEntries([...files].map(([name, bytes]) => [name, factsOf(bytes)]));
  files.set('manifest.json', Buffer.from(writer.manifest(facts, log)));
  return files;
}

/** The manifest again, over files that were changed; `more` overrides what it says. */
export function remanifest(files: Files, more: JsonObject = {}): void {
  const manifest = JSON.parse(String(files.get('manifest.json'))) as JsonObject;
  const names = FILE_ORDER.slice(1).filter((name) => files.has(name));
  const facts = Object.fromEntries(names.map((name) => [name, factsOf(files.get(name) as Buffer)]));
  files.set(
    'manifest.json',
    Buffer.from(`${canonicalJson({ ...manifest, files: facts as never, ...more })}\n`),
  );
}

export function sourceOf(files: Files, chunkBytes = 64 * 1024): BundleSource {
  return {
    names: [...files.keys()],
    async *read(name) {
      const bytes = files.get(name) as Buffer;
      for (let at = 0; at < bytes.length; at += chunkBytes)
        yield bytes.subarray(at, at + chunkBytes);
    },
  };
}

const BLOCK = 512;

/** A ustar header. */
export function tarHeader(name: string, size: number, type = '0'): Buffer {
  const block = Buffer.alloc(BLOCK);
  block.write(name, 0);
  block.write('0000644\0', 100);
  block.write('0000000\0', 108);
  block.write('0000000\0', 116);
  block.write(`${size.toString(8).padStart(11, '0')}\0`, 124);
  block.write('00000000000\0', 136);
  block.write('        ', 148);
  block.write(type, 156);
  block.write('ustar\u000000', 257);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return block;
}

/** The archive of some files, in the order of the format. */
export function tarOf(files: Files): Buffer {
  const parts: Buffer[] = [];
  for (const name of FILE_ORDER as readonly FileName[]) {
    const bytes = files.get(name);
    if (bytes === undefined) continue;
    const rest = (BLOCK - (bytes.length % BLOCK)) % BLOCK;
    parts.push(tarHeader(name, bytes.length), bytes, Buffer.alloc(rest));
  }
  return Buffer.concat([...parts, Buffer.alloc(2 * BLOCK)]);
}
