/** One line of events.ndjson: an event in committed form, checked for shape and place. */
import { isUtf8 } from 'node:buffer';
import { digestOfForm } from '../commit.ts';
import type { Findings } from './findings.ts';
import { EVENTS, isHash, isSeq, isText, isUuid, type Manifest } from './format.ts';
import { canonicalJson, type Json, type JsonObject, parseText } from './json.ts';

export interface EventLine {
  readonly value: JsonObject;
  readonly stream: string;
  readonly seq: number;
  readonly line: number;
  /** SHA-256 of the committed form, as hex. */
  readonly digest: string;
  /** Names of its content fields, in order. */
  readonly content: readonly string[];
}

/**
 * Whether JSON.stringify's text is canonical as well: keys sorted, numbers whole. It is the quick way,
 * since most members are plain; what is nested is written again.
 */
function isPlain(value: JsonObject): boolean {
  let before = '';
  for (const key in value) {
    if (key <= before) return false;
    before = key;
    const member = value[key] as Json;
    if (typeof member === 'number' && !Number.isSafeInteger(member)) return false;
    if (typeof member === 'object' && member !== null)
      if (canonicalJson(member) !== JSON.stringify(member)) return false;
  }
  return true;
}

function parse(bytes: Buffer): { text: string; value: JsonObject } | undefined {
  if (!isUtf8(bytes)) return undefined;
  const text = bytes.toString('utf8');
  try {
    const value = JSON.parse(text) as JsonObject;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
    if (JSON.stringify(value) === text && isPlain(value)) return { text, value };
  } catch {
    return undefined;
  }
  const value = parseText(text);
  return value === undefined ? undefined : { text, value };
}

const shapeOf = (value: JsonObject) => {
  const { tenant, session_id: session, stream_id: stream, seq, kind } = value;
  const good = isText(tenant) && isText(session) && isUuid(stream) && isSeq(seq) && isText(kind);
  return good && !('content_salt' in value) && !('erased' in value)
    ? { tenant, session, stream, seq }
    : undefined;
};

/** Reads lines in order; what is no event of this session, or out of order, is a fault. */
export function createEventReader(manifest: Manifest, findings: Findings) {
  const contentFields = new Set(manifest.content_fields);
  let lastStream = '';
  let lastSeq = -1;

  function contentOf(value: JsonObject): readonly string[] | undefined {
    const names: string[] = [];
    for (const name in value)
      if (contentFields.has(name)) {
        if (!isHash(value[name])) return undefined;
        names.push(name);
      }
    return names;
  }

  return (bytes: Buffer, line: number, ended: boolean): EventLine | undefined => {
    const parsed = ended ? parse(bytes) : undefined;
    const shape = parsed === undefined ? undefined : shapeOf(parsed.value);
    const content = parsed === undefined ? undefined : contentOf(parsed.value);
    if (parsed === undefined || shape === undefined || content === undefined) {
      const what = 'the line is no event in committed form';
      findings.fault({ code: 'line_invalid', file: EVENTS, line, what });
      return undefined;
    }
    const { stream, seq } = shape;
    if (shape.tenant !== manifest.tenant || shape.session !== manifest.session_id) {
      const what = 'the event is of another session';
      findings.fault({ code: 'foreign_event', file: EVENTS, line, what });
      return undefined;
    }
    if (stream < lastStream || (stream === lastStream && seq <= lastSeq)) {
      const twice = stream === lastStream && seq === lastSeq;
      findings.fault({
        code: twice ? 'duplicate' : 'out_of_order',
        file: EVENTS,
        line,
        stream_id: stream,
        first_seq: seq,
        last_seq: seq,
        what: twice ? 'the number stands twice' : 'the event belongs before the line above it',
      });
      return undefined;
    }
    lastStream = stream;
    lastSeq = seq;
    const { value, text } = parsed;
    return { value, stream, seq, line, digest: digestOfForm(text), content };
  };
}
