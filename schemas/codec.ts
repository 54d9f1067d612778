/**
 * Bytes <-> event; the only encoder and decoder.
 *
 * The wire form of an event is its *canonical JSON* (RFC 8785: keys sorted by UTF-16 code units,
 * no blanks, shortest escapes), with two rules of ours that make it recomputable from the stored
 * row: an optional field that is absent is left out, and an optional string, list or map is never
 * empty. There are no floating-point numbers, and integers stay within 2^53.
 *
 * The same bytes are what the chain hashes, what Kafka carries and what ClickHouse inserts.
 */
import { contentFault } from './commit.ts';
import type { Fault, Field } from './define.ts';
import { parseJson } from './parse-json.ts';
import type { DeadReason } from './reasons.ts';
import { type KindSpec, REGISTRY, type TelltaleEvent } from './registry.ts';

/** The most bytes that one encoded event may have. */
export const EVENT_BYTES_MAX = 12 * 1024 * 1024;

export type Decoded =
  | { readonly ok: true; readonly event: TelltaleEvent }
  | { readonly ok: false; readonly reason: DeadReason; readonly faults: readonly Fault[] };

const bad = (reason: DeadReason, where: string, what: string): Decoded => ({
  ok: false,
  reason,
  faults: [{ where, what }],
});

type Loose = Readonly<Record<string, unknown>>;

/** The id of an event: its stream and its number. */
export function eventId(event: { readonly stream_id: string; readonly seq: number }): string {
  return `${event.stream_id}-${event.seq}`;
}

/** The stream and number in an event id; undefined where it is none. */
export function parseEventId(id: string): { stream_id: string; seq: number } | undefined {
  const match = /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})-(\d{1,10})$/.exec(id);
  if (match === null) return undefined;
  const seq = Number(match[2]);
  return seq <= 4_294_967_295 ? { stream_id: match[1] as string, seq } : undefined;
}

function canonicalMap(value: Readonly<Record<string, string>>): string {
  const keys = Object.keys(value).sort();
  return `{${keys.map((key) => `${JSON.stringify(key)}:${JSON.stringify(value[key])}`).join(',')}}`;
}

/** Canonical JSON of an event, without a newline. The event must be valid. */
export function canonical(event: TelltaleEvent): string {
  const spec = REGISTRY.get(event.kind);
  if (spec === undefined) throw new Error(`no such kind: ${event.kind}`);
  const loose = event as unknown as Loose;
  let out = '{';
  for (const name of spec.sorted) {
    const value = loose[name];
    if (value === undefined) continue;
    const json =
      spec.fields[name]?.shape === 'map'
        ? canonicalMap(value as Record<string, string>)
        : JSON.stringify(value);
    out += `${out.length === 1 ? '' : ','}"${name}":${json}`;
  }
  return `${out}}`;
}

/** Whether a value is the column's default, and so may not stand on the wire. */
function isEmpty(value: unknown): boolean {
  if (value === '') return true;
  if (Array.isArray(value)) return value.length === 0;
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0;
}

/** UTF-8 bytes of all strings in a value; -1 where one of them holds a lone surrogate. */
function bytesIn(value: unknown): number {
  if (typeof value === 'string') return value.isWellFormed() ? Buffer.byteLength(value) : -1;
  if (typeof value !== 'object' || value === null) return 0;
  let bytes = 0;
  const add = (part: unknown) => {
    const more = bytesIn(String(part));
    bytes = more < 0 || bytes < 0 ? -1 : bytes + more;
  };
  if (Array.isArray(value)) for (const item of value) add(item);
  else
    for (const [key, item] of Object.entries(value)) {
      add(key);
      add(item);
    }
  return bytes;
}

/** What the JSON Schema can't say of a field: not empty, well-formed Unicode, size in bytes. */
function faultOf(spec: KindSpec, name: string, field: Field, value: unknown): Decoded | undefined {
  if (typeof value === 'number' || typeof value === 'boolean') return undefined;
  if (!spec.required.has(name) && isEmpty(value))
    return bad('invalid', name, 'is empty: leave an optional field out instead');
  const bytes = bytesIn(value);
  if (bytes < 0) return bad('not_well_formed', name, 'holds a lone surrogate');
  if (field.bytesMax !== undefined && bytes > field.bytesMax)
    return bad('invalid', name, `has ${bytes} bytes; at most ${field.bytesMax} are allowed`);
  return undefined;
}

/**
 * Checks a parsed value against its kind, as it comes from a collector: nothing of it is erased.
 * All faults name the field.
 */
export function validate(value: unknown): Decoded {
  const decoded = validateStored(value);
  return decoded.ok && decoded.event.erased !== undefined
    ? bad('invalid', 'erased', 'stands on the wire: content is erased from the store only')
    : decoded;
}

/** The same for an event out of the store, of which content may have been erased. */
export function validateStored(value: unknown): Decoded {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return bad('invalid', '', 'is not a JSON object');
  const kind = (value as Loose).kind;
  const spec = typeof kind === 'string' ? REGISTRY.get(kind) : undefined;
  if (spec === undefined)
    return bad('unknown_kind', 'kind', `${JSON.stringify(kind)?.slice(0, 80)} is not a known kind`);
  if (!spec.validator.check(value))
    return { ok: false, reason: 'invalid', faults: spec.validator.faults(value) };
  const loose = value as Loose;
  for (const name in loose) {
    const field = spec.fields[name];
    if (field === undefined) continue;
    const fault = faultOf(spec, name, field, loose[name]);
    if (fault !== undefined) return fault;
  }
  const fault = contentFault(spec, loose);
  if (fault !== undefined) return { ok: false, reason: 'invalid', faults: [fault] };
  return { ok: true, event: value as TelltaleEvent };
}

/** Canonical bytes of an event. */
export function encode(event: TelltaleEvent): Buffer {
  return Buffer.from(canonical(event), 'utf8');
}

/**
 * Decodes one event from its canonical bytes. Bytes that are valid JSON but not canonical are
 * refused: the chain could not be recomputed from the row.
 */
export function decode(line: string): Decoded {
  let value: unknown;
  try {
    value = parseJson(line);
  } catch (error) {
    return bad('not_json', '', error instanceof Error ? error.message : String(error));
  }
  const decoded = validate(value);
  if (!decoded.ok) return decoded;
  if (canonical(decoded.event) !== line)
    return bad('not_canonical', '', 'is not in canonical form (RFC 8785, absent fields left out)');
  return decoded;
}
