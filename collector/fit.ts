/**
 * Makes a draft fit for the wire. Telemetry is whatever an agent or attacker makes it: too long,
 * broken Unicode, an integer as a string. Nothing of that may lose the event, so each field is
 * repaired on its own and each repair is declared in `altered` ("field:reason:measure").
 */
import { type Draft, type Field, kindSpec, words } from '#schemas';

/** `altered` names at most so many repairs; the last entry then says how many more there were. */
const ALTERED_MAX = 64;

type Loose = Record<string, unknown>;
type Note = (field: string, reason: string, measure: string | number) => void;

/** Cuts a string to at most `bytesMax` UTF-8 bytes, never inside a code point. */
export function cutUtf8(text: string, bytesMax: number): string {
  const bytes = Buffer.from(text, 'utf8');
  if (bytes.length <= bytesMax) return text;
  let end = bytesMax;
  while (end > 0 && ((bytes[end] as number) & 0xc0) === 0x80) end--;
  return bytes.toString('utf8', 0, end);
}

function fitString(name: string, value: unknown, bytesMax: number, note: Note): string {
  let text = typeof value === 'string' ? value : words(value);
  if (typeof value !== 'string') note(name, 'not_text', typeof value);
  if (!text.isWellFormed()) {
    note(name, 'lone_surrogate', text.length);
    text = text.toWellFormed();
  }
  const bytes = Buffer.byteLength(text);
  if (bytes <= bytesMax) return text;
  note(name, 'truncated', bytes);
  return cutUtf8(text, bytesMax);
}

function fitList(name: string, value: unknown, bytesMax: number, note: Note): readonly string[] {
  const items = Array.isArray(value) ? value : [value];
  const out: string[] = [];
  let left = bytesMax;
  for (const item of items) {
    const text = fitString(name, item, Math.max(left, 0), note);
    left -= Buffer.byteLength(text);
    if (left < 0 || out.length === 16_384) {
      note(name, 'entries_cut', items.length - out.length);
      break;
    }
    out.push(text);
  }
  return out;
}

function fitMap(name: string, value: unknown, bytesMax: number, note: Note): Loose | undefined {
  if (typeof value !== 'object' || value === null) {
    note(name, 'not_a_map', typeof value);
    return undefined;
  }
  const out: Loose = Object.create(null);
  let left = bytesMax;
  const entries = Object.entries(value).filter(([, item]) => item !== undefined);
  for (const [key, item] of entries) {
    const fitKey = fitString(name, key, 1024, note);
    const text = fitString(name, item, Math.max(left - Buffer.byteLength(fitKey), 0), note);
    left -= Buffer.byteLength(fitKey) + Buffer.byteLength(text);
    if (left < 0) {
      note(name, 'entries_cut', entries.length - Object.keys(out).length);
      break;
    }
    out[fitKey] = text;
  }
  return { ...out };
}

function fitInteger(name: string, field: Field, value: unknown, note: Note): number | undefined {
  const given = typeof value === 'bigint' ? Number(value) : value;
  const number = typeof given === 'string' && /^-?\d{1,16}$/.test(given) ? Number(given) : given;
  if (typeof number !== 'number' || !Number.isFinite(number)) {
    note(name, 'not_a_number', words(value).slice(0, 32));
    return undefined;
  }
  const whole = Math.round(number);
  const { minimum, maximum } = field.schema as unknown as { minimum: number; maximum: number };
  if (whole < minimum || whole > maximum) {
    note(name, 'out_of_range', String(number));
    return undefined;
  }
  return whole;
}

function fitField(name: string, field: Field, value: unknown, note: Note): unknown {
  const bytesMax = field.bytesMax ?? 0;
  switch (field.shape) {
    case 'list':
      return fitList(name, value, bytesMax, note);
    case 'map':
      return fitMap(name, value, bytesMax, note);
    case 'uint':
    case 'int':
      return fitInteger(name, field, value, note);
    case 'flag':
      return typeof value === 'boolean' ? value : value === 'true';
    default:
      return fitPattern(name, field, fitString(name, value, bytesMax, note), note);
  }
}

const PATTERNS = new Map<string, RegExp>();

/** The registry's own patterns, compiled once each; never text from outside. */
function compiled(pattern: string): RegExp {
  const known = PATTERNS.get(pattern) ?? new RegExp(pattern);
  PATTERNS.set(pattern, known);
  return known;
}

/** Words out of closed lists and patterned strings (hex, time) are kept only when they match. */
function fitPattern(name: string, field: Field, text: string, note: Note): string | undefined {
  const pattern = (field.schema as unknown as { pattern?: string }).pattern;
  const fits =
    field.values?.includes(text) ?? (pattern === undefined || compiled(pattern).test(text));
  if (fits || text === '') return text;
  note(name, 'not_allowed', cutUtf8(text, 128));
  return undefined;
}

const ignore: Note = () => {};

const isEmpty = (value: unknown): boolean =>
  value === undefined ||
  value === null ||
  value === '' ||
  (Array.isArray(value) && value.length === 0) ||
  (typeof value === 'object' && Object.keys(value).length === 0);

/**
 * The draft with every field in its declared shape and size; empty optional fields and fields
 * that the kind does not have are left out (the latter are declared). Required fields that are
 * missing stay missing: validation names them.
 */
export function fitDraft(draft: Draft): Draft {
  const spec = kindSpec(draft.kind);
  const given =
    draft.altered === undefined ? [] : fitList('altered', draft.altered, 65_536, ignore);
  const altered: string[] = [...given];
  let more = 0;
  const note: Note = (field, reason, measure) => {
    if (altered.length < ALTERED_MAX) altered.push(`${field}:${reason}:${measure}`.toWellFormed());
    else more++;
  };
  const out: Loose = {};
  for (const name of Object.keys(draft)) {
    const value = (draft as Loose)[name];
    if (name === 'altered' || value === undefined || value === null) continue;
    const field = spec.fields[name];
    if (field === undefined)
      note(cutUtf8(name.toWellFormed(), 64), 'no_such_field', words(value).length);
    else {
      const fitted = fitField(name, field, value, note);
      if (fitted !== undefined && (spec.required.has(name) || !isEmpty(fitted))) out[name] = fitted;
    }
  }
  if (more > 0) altered.push(`altered:more:${more}`);
  if (altered.length > 0) out.altered = altered;
  return out as unknown as Draft;
}

/** Halves the content fields of a draft whose encoded form is still too large. */
export function shrink(draft: Draft): Draft {
  const spec = kindSpec(draft.kind);
  const out: Loose = { ...(draft as Loose) };
  const altered = [...(draft.altered ?? [])];
  for (const [name, value] of Object.entries(draft as Loose)) {
    if (typeof value !== 'string' || spec.fields[name]?.shape !== 'text') continue;
    const bytes = Buffer.byteLength(value);
    if (bytes < 4096) continue;
    altered.push(`${name}:truncated:${bytes}`);
    out[name] = cutUtf8(value, bytes >> 1);
  }
  return { ...out, altered } as unknown as Draft;
}
