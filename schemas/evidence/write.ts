/**
 * Writes the files of a bundle from what a store gives: events in wire form become committed forms
 * and openings. The same input gives the same bytes; only custody's last entry says when.
 */
import { eventId } from '../codec.ts';
import { formsOf, valueJson } from '../commit.ts';
import { parseJson } from '../parse-json.ts';
import { ALL_FIELDS, kindSpec, type TelltaleEvent } from '../registry.ts';
import { createCustodyWriter } from './custody.ts';
import { leftOutOf, recordedEntry } from './expected.ts';
import {
  BLOBS,
  CHECKPOINT,
  CUSTODY,
  DEAD,
  EVENTS,
  type FileFacts,
  type FileName,
  FORMAT,
  type Manifest,
  manifestText,
  PROOFS,
} from './format.ts';
import { canonicalJson, type JsonObject } from './json.ts';
import { proofText } from './log.ts';
import { openingText } from './openings.ts';

/** All content fields of this version's registry, sorted. */
export const CONTENT_FIELDS: readonly string[] = Object.keys(ALL_FIELDS)
  .filter((name) => ALL_FIELDS[name]?.content === true)
  .sort();

/** Takes the text of one file after the other; may be awaited to hold a writer back. */
export type Put = (file: FileName, text: string) => void;

export interface BundleHead {
  readonly tenant: string;
  readonly session_id: string;
  readonly content: 'full' | 'none';
  /** Name and version of what writes the bundle. */
  readonly tool: string;
}

/** When a stream's rows came into the store. */
export interface StoredStream {
  readonly stream_id: string;
  readonly first_ms: number;
  readonly last_ms: number;
}

/** One erasure, as the store has it. */
export interface StoredErasure {
  readonly at_ms: number;
  readonly by: string;
  readonly event_id: string;
  readonly fields: readonly string[];
  readonly reason: string;
}

/** A leaf of the log with its proof. */
export interface LeafProof {
  readonly index: number;
  readonly leaf: string;
  readonly proof: readonly Uint8Array[];
}

export interface LogPart {
  readonly origin: string;
  readonly size: number;
  /** The signed note as it was served. */
  readonly note: string;
  readonly proofs: readonly LeafProof[];
}

/** Who exports, where from, why and when. */
export interface ExportedBy {
  readonly at_ms: number;
  readonly by: string;
  readonly from: string;
  readonly reason: string;
}

interface StreamSeen {
  readonly stream: string;
  readonly first: JsonObject;
  events: number;
  from: string;
  to: string;
}

/** No collector wrote such a value, so its event is not what was recorded: the line shows it. */
function withStrangers(committed: string, strangers: JsonObject): string {
  return canonicalJson({ ...strangers, ...(parseJson(committed) as JsonObject) });
}

/**
 * The writer of one bundle. Events come by stream and number, then dead letters, streams, erasures
 * by stream and number; then `finish`.
 */
export function createBundleWriter(head: BundleHead, put: Put) {
  const custody = createCustodyWriter(head.tenant, head.session_id);
  const streams: StreamSeen[] = [];
  const stored = new Map<string, StoredStream>();
  let closed = 0;
  let erased = 0;
  let custodyBegun = false;

  function addEvent(event: TelltaleEvent, strangers?: JsonObject): void {
    const { committed } = formsOf(event);
    put(EVENTS, `${strangers === undefined ? committed : withStrangers(committed, strangers)}\n`);
    count(event);
    const loose = event as unknown as JsonObject;
    const erased: Readonly<Record<string, string>> = event.erased ?? {};
    closed += Object.keys(erased).length;
    for (const name of kindSpec(event.kind).content) {
      const value = loose[name];
      const shape = ALL_FIELDS[name]?.shape;
      // A field that its kind requires stands empty where it was erased.
      if (value === undefined || shape === undefined || Object.hasOwn(erased, name)) continue;
      if (head.content === 'none') throw new Error('a value of content in a bundle without any');
      put(
        BLOBS,
        openingText(eventId(event), name, String(event.content_salt), valueJson(shape, value)),
      );
    }
  }

  function count(event: TelltaleEvent): void {
    const seen = streams.at(-1);
    const time = event.observed_ts ?? '';
    if (seen?.stream !== event.stream_id) {
      const { agent, host, user } = event as unknown as JsonObject;
      const first = { agent, host, user };
      streams.push({ stream: event.stream_id, first, events: 1, from: time, to: time });
      return;
    }
    seen.events++;
    if (time < seen.from) seen.from = time;
    if (time > seen.to) seen.to = time;
  }

  function beginCustody(): void {
    if (custodyBegun) return;
    custodyBegun = true;
    for (const { stream, first, from, to } of streams)
      put(CUSTODY, custody(recordedEntry(stream, first, from, to)));
    for (const { stream, events } of streams) {
      const { first_ms = 0, last_ms = 0 } = stored.get(stream) ?? {};
      put(CUSTODY, custody({ entry: 'stored', events, first_ms, last_ms, stream_id: stream }));
    }
  }

  return {
    /** `strangers` are values that the store has in columns which the event's kind does not have. */
    addEvent,
    /** An event of a kind that this version does not know: its place is all that is written. */
    addUnknown(event: JsonObject): void {
      put(EVENTS, `${canonicalJson(event)}\n`);
      count({ ...event, observed_ts: '' } as unknown as TelltaleEvent);
    },
    addDeadLetter(letter: JsonObject): void {
      put(DEAD, `${canonicalJson(letter)}\n`);
    },
    addStream(stream: StoredStream): void {
      stored.set(stream.stream_id, stream);
    },
    addErasure(erasure: StoredErasure): void {
      beginCustody();
      erased += erasure.fields.length;
      put(CUSTODY, custody({ ...erasure, entry: 'erased' }));
    },
    /** Writes what is left but the manifest: the log's part and the rest of custody. */
    finish(log: LogPart | undefined, exported: ExportedBy): void {
      beginCustody();
      if (log !== undefined) {
        put(CHECKPOINT, log.note);
        put(PROOFS, '');
      }
      for (const { index, leaf, proof } of log?.proofs ?? []) {
        put(PROOFS, proofText(index, leaf, proof));
        const { final, seq, stream_id } = JSON.parse(leaf) as JsonObject;
        put(CUSTODY, custody({ entry: 'sealed', final, index, seq, stream_id }));
      }
      put(CUSTODY, custody({ ...exported, entry: 'exported', tool: head.tool }));
    },
    /** The manifest's text, when the facts of the other files are known. */
    manifest(files: Readonly<Record<string, FileFacts>>, log: LogPart | undefined): string {
      const manifest: Manifest = {
        ...head,
        content_fields: CONTENT_FIELDS,
        files,
        format: FORMAT,
        left_out: leftOutOf(erased, closed - erased, log !== undefined),
        log: log === undefined ? null : { origin: log.origin, size: log.size },
      };
      return manifestText(manifest);
    },
  };
}
