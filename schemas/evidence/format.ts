/**
 * The bundle's format: its files, their bounds, its manifest, and the places that a verifier
 * names. `README.md` of this folder is the specification.
 */
import { canonicalJson, type Json, type JsonObject, parseObject } from './json.ts';

export const FORMAT = 'telltale-bundle/1';
export const MANIFEST = 'manifest.json';
export const EVENTS = 'events.ndjson';
export const BLOBS = 'blobs.ndjson';
export const DEAD = 'dead-letters.ndjson';
export const CHECKPOINT = 'log/checkpoint';
export const PROOFS = 'log/proofs.ndjson';
export const CUSTODY = 'custody.ndjson';
/** The order in which the files stand in the archive. */
export const FILE_ORDER = [MANIFEST, EVENTS, BLOBS, DEAD, CHECKPOINT, PROOFS, CUSTODY] as const;
export type FileName = (typeof FILE_ORDER)[number];
/** What a place may name beside the files: the bundle as a whole. */
const BUNDLE = 'bundle';
const PLACE_ORDER: readonly string[] = [...FILE_ORDER.slice(1), MANIFEST, BUNDLE];

/** One line; above the largest event that the protocol allows, with its JSON escapes. */
export const LINE_BYTES_MAX = 32 * 1024 ** 2;
export const MANIFEST_BYTES_MAX = 1024 ** 2;
/** The most streams of one session, and the most leaves of the log about it. */
export const STREAMS_MAX = 10_000;
export const LEAVES_MAX = 200_000;

/** Nothing can be said about this bundle: it is not one, or it is damaged or hostile. */
export class UnreadableError extends Error {
  override readonly name = 'UnreadableError';
}

/** Where something was found: exactly, or the interval in which it lies. */
export interface Place {
  readonly code: string;
  readonly file: string;
  /** From 1: the line at which it shows. */
  readonly line?: number;
  readonly stream_id?: string;
  readonly first_seq?: number;
  readonly last_seq?: number;
  readonly field?: string;
  /** In words; never text from the bundle. */
  readonly what: string;
}

/** Whether `a` stands before `b`: by file, then by line; what has no line stands last. */
export function isBefore(a: Place, b: Place): boolean {
  const file = PLACE_ORDER.indexOf(a.file) - PLACE_ORDER.indexOf(b.file);
  return file === 0 ? (a.line ?? Infinity) < (b.line ?? Infinity) : file < 0;
}

/** The files of a bundle, from an archive, a folder or memory. */
export interface BundleSource {
  readonly names: readonly string[];
  /** The bytes of one of them, from its beginning. */
  read(name: string): AsyncIterable<Uint8Array>;
}

export interface FileFacts {
  readonly bytes: number;
  readonly lines: number;
  readonly sha256: string;
}

export interface LeftOut {
  readonly count: number;
  readonly what: 'content' | 'log';
  readonly why: string;
}
/** Why something is not in the bundle, in the manifest's words. */
export const ERASED = 'erased';
export const WITHHELD = 'withheld';
export const NO_LOG = 'the installation has no transparency log';

export interface Manifest {
  readonly content: 'full' | 'none';
  readonly content_fields: readonly string[];
  readonly files: Readonly<Record<string, FileFacts>>;
  readonly format: string;
  readonly left_out: readonly LeftOut[];
  readonly log: { readonly origin: string; readonly size: number } | null;
  readonly session_id: string;
  readonly tenant: string;
  readonly tool: string;
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const HEX = /^[0-9a-f]{64}$/;
const MANIFEST_KEYS =
  'content,content_fields,files,format,left_out,log,session_id,tenant,tool'.split(',');

export const isText = (value: unknown): value is string => typeof value === 'string';
export const isUuid = (value: unknown): value is string => isText(value) && UUID.test(value);
export const isHash = (value: unknown): value is string => isText(value) && HEX.test(value);
export const isCount = (value: unknown): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
export const isSeq = (value: unknown): value is number => isCount(value) && value < 2 ** 32;
export const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Whether an object has just these keys; `keys` is sorted. */
export function hasKeys(value: JsonObject, keys: readonly string[]): boolean {
  const own = Object.keys(value);
  return own.length === keys.length && keys.every((key) => Object.hasOwn(value, key));
}

/** The line of a manifest. */
export const manifestText = (manifest: Manifest): string =>
  `${canonicalJson(manifest as unknown as Json)}\n`;

/** Reads a manifest. Throws `UnreadableError` naming what is wrong. */
export function parseManifest(bytes: Uint8Array): Manifest {
  const refuse = (what: string): never => {
    throw new UnreadableError(`${MANIFEST} ${what}`);
  };
  const line = bytes.at(-1) === 10 ? bytes.subarray(0, -1) : undefined;
  const value = line === undefined ? undefined : parseObject(line);
  if (value === undefined) return refuse('is not one line of canonical JSON');
  if (!hasKeys(value, MANIFEST_KEYS)) return refuse('has other fields than a bundle’s manifest');
  if (value.format !== FORMAT) return refuse('is of a format that this version does not know');
  const { content, content_fields: fields, files, left_out: left, log } = value;
  if (content !== 'full' && content !== 'none') return refuse('says neither full nor no content');
  if (!Array.isArray(fields) || !fields.every(isText)) return refuse('lists no content fields');
  if (!isText(value.tenant) || !isUuid(value.session_id) || !isText(value.tool))
    return refuse('names no tenant, session or tool');
  if (!Array.isArray(left) || !isObject(files)) return refuse('lists no files');
  if (log !== null && !(isObject(log) && hasKeys(log, ['origin', 'size'])))
    return refuse('says of its log neither null nor its origin and size');
  return value as unknown as Manifest;
}

/** The stream and the number in an event id; undefined where it is none. */
export function splitEventId(id: unknown): readonly [stream: string, seq: number] | undefined {
  if (!isText(id) || id[36] !== '-') return undefined;
  const stream = id.slice(0, 36);
  const digits = id.slice(37);
  if (!UUID.test(stream) || !/^(?:0|[1-9]\d{0,9})$/.test(digits)) return undefined;
  const seq = Number(digits);
  return isSeq(seq) ? [stream, seq] : undefined;
}
