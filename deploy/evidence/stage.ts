/**
 * Takes a session from a server and lays the files of its bundle out on disk: the export stream,
 * then the log's leaves with their proofs. An answer that breaks in its midst is told as broken.
 */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseJson, type TelltaleEvent, type TileFetch } from '#schemas';
import { CUSTODY, isObject } from '../../schemas/evidence/format.ts';
import type { JsonObject } from '../../schemas/evidence/json.ts';
import { createLines } from '../../schemas/evidence/lines.ts';
import {
  createBundleWriter,
  type ExportedBy,
  type LogPart,
  type StoredErasure,
  type StoredStream,
} from '../../schemas/evidence/write.ts';
import { authorizationFor, NO_TOKEN } from '../access/credentials.ts';
import { createStagedFiles, type StagedFiles } from './files.ts';
import { isSealed, leavesOf, logPart, readTreeHead, tlogFetch } from './tlog.ts';

/** The longest that is waited for the log to seal what was just recorded. */
const SEAL_WAIT_MS = 15_000;
const SEAL_AGAIN_MS = 1_000;
const ERASURES = 'erasures.ndjson';
const DETAIL_CHARS_MAX = 500;

export interface StageOptions {
  readonly base: URL;
  /** A session's id, or `latest`. */
  readonly session: string;
  readonly content: 'full' | 'none';
  readonly tool: string;
  readonly by: Omit<ExportedBy, 'from'>;
  /** An empty directory. */
  readonly dir: string;
}

export interface Staged {
  readonly files: StagedFiles;
  readonly session_id: string;
  readonly tenant: string;
  readonly events: number;
  readonly log: LogPart | undefined;
  /** The log vouches for the beginning and the end of each stream. */
  readonly sealed: boolean;
  /** Events of kinds that this version does not know. */
  readonly unknown: number;
}

/** There is no such session where it was asked for. */
export class NoSessionError extends Error {
  override readonly name = 'NoSessionError';
}

async function openStream(options: StageOptions): Promise<AsyncIterable<Uint8Array>> {
  const { base, session, content } = options;
  const path = `/v1/sessions/${encodeURIComponent(session)}/export?content=${content}`;
  const response = await fetch(new URL(path, base), {
    redirect: 'error',
    headers: authorizationFor(base),
  }).catch((error: Error) => {
    throw new Error(`no telltale answers at ${base.origin}: say --to URL`, { cause: error.cause });
  });
  if (response.status === 200 && response.body !== null) return response.body;
  const text = (await response.text()).slice(0, DETAIL_CHARS_MAX).toWellFormed();
  if (response.status === 404 || response.status === 400)
    throw new NoSessionError(`there is no session ${JSON.stringify(session)} at ${base.origin}`);
  if (response.status === 401) throw new Error(`${base.origin} does not know you: ${NO_TOKEN}`);
  throw new Error(`${base.origin} answers ${response.status}: ${JSON.stringify(text)}`);
}

function parsed(line: Buffer): JsonObject | undefined {
  try {
    const value = parseJson(line.toString('utf8'));
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** The lines of an export as objects, checked against the end that the stream itself gives. */
async function* recordsOf(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<JsonObject> {
  const digest = createHash('sha256');
  const lines = createLines('the export', chunks);
  const broken = (what: string) => new Error(`the export broke off: ${what}; try again`);
  let count = 0;
  for (;;) {
    let more: boolean;
    try {
      more = await lines.fill();
    } catch (error) {
      throw broken(error instanceof Error ? error.message : String(error));
    }
    if (!more) throw broken('its end is missing');
    for (let at = lines.peek(); at !== undefined; lines.skip(), at = lines.peek()) {
      if (!lines.ended) throw broken('its last line is not whole');
      const record = parsed(at);
      if (record === undefined) throw broken(`line ${lines.line} is no JSON`);
      if (isObject(record.end)) {
        const { lines: told, sha256 } = record.end;
        if (told !== count || sha256 !== digest.digest('hex')) throw broken('its end does not fit');
        return;
      }
      digest.update(at).update('\n');
      count++;
      yield record;
    }
  }
}

interface StreamEnd {
  readonly stream: string;
  closedAt: number | undefined;
}

/** Writes what the export says; erasures wait in a file of their own until custody is due. */
async function takeRecords(options: StageOptions, files: StagedFiles) {
  const records = recordsOf(await openStream(options));
  const first = await records.next();
  const head = first.done ? undefined : first.value.export;
  if (!isObject(head) || head.format !== 'telltale-export/1')
    throw new Error(`${options.base.origin} gives no export of a format that this version knows`);
  const session_id = String(head.session_id);
  const tenant = String(head.tenant);
  const { content, tool, dir } = options;
  const writer = createBundleWriter({ session_id, tenant, content, tool }, files.put);
  const erasures = fs.openSync(`${dir}/${ERASURES}`, 'wx', 0o600);
  const streams: StreamEnd[] = [];
  let events = 0;
  let unknown = 0;

  function takeEvent(record: JsonObject): void {
    const event = record.event as unknown as TelltaleEvent;
    events++;
    writer.addEvent(event, record.strangers as JsonObject | undefined);
    if (streams.at(-1)?.stream !== event.stream_id)
      streams.push({ stream: event.stream_id, closedAt: undefined });
    if (event.kind === 'session.close') (streams.at(-1) as StreamEnd).closedAt = event.seq;
    for (const one of (record.erasures as readonly JsonObject[] | undefined) ?? []) {
      const erasure = { ...one, event_id: `${event.stream_id}-${event.seq}` };
      fs.writeSync(erasures, `${JSON.stringify(erasure)}\n`);
    }
  }

  try {
    for await (const record of records) {
      if (record.event !== undefined) takeEvent(record);
      else if (isObject(record.unknown)) {
        unknown++;
        writer.addUnknown(record.unknown);
      } else if (isObject(record.dead_letter)) writer.addDeadLetter(record.dead_letter);
      else if (isObject(record.stream)) writer.addStream(record.stream as unknown as StoredStream);
    }
  } finally {
    fs.closeSync(erasures);
  }
  const waiting = createLines(ERASURES, fs.createReadStream(`${dir}/${ERASURES}`));
  while (await waiting.fill())
    for (let at = waiting.peek(); at !== undefined; waiting.skip(), at = waiting.peek())
      writer.addErasure(JSON.parse(at.toString('utf8')) as StoredErasure);
  return { writer, session_id, tenant, streams, events, unknown };
}

/** The log's part, once it vouches for all streams or the time for that is over. */
async function takeLog(
  session: { readonly tenant: string; readonly session_id: string },
  streams: readonly StreamEnd[],
  fetch: TileFetch,
): Promise<{ readonly log: LogPart | undefined; readonly sealed: boolean }> {
  const until = Date.now() + SEAL_WAIT_MS;
  for (;;) {
    const head = await readTreeHead(fetch);
    if (head === undefined) return { log: undefined, sealed: false };
    const leaves = await leavesOf(session, head.size, fetch);
    const sealed = isSealed(
      streams,
      leaves.map((leaf) => leaf.head),
    );
    if (sealed || Date.now() > until) return { log: await logPart(head, leaves, fetch), sealed };
    await sleep(SEAL_AGAIN_MS);
  }
}

/** Lays a session out in `dir`. Rejects with `NoSessionError` where there is none of that id. */
export async function stageSession(options: StageOptions): Promise<Staged> {
  const files = createStagedFiles(options.dir);
  for (const name of ['events.ndjson', 'blobs.ndjson', 'dead-letters.ndjson', CUSTODY] as const)
    files.put(name, '');
  const taken = await takeRecords(options, files);
  const { writer, session_id, tenant, streams, events, unknown } = taken;
  const { log, sealed } = await takeLog({ tenant, session_id }, streams, tlogFetch(options.base));
  writer.finish(log, { ...options.by, from: options.base.origin });
  files.put('manifest.json', writer.manifest(files.finish(), log));
  files.finish();
  return { files, session_id, tenant, events, log, sealed, unknown };
}
