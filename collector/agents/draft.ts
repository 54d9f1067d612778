/** Small helpers that mappers share: reading attributes, times, and making drafts. */
import type { Draft, KindName } from '#schemas';
import { jsonIn } from '../json.ts';
import type { Attributes, LogRecord } from './otlp/shape.ts';

export type Loose = Readonly<Record<string, unknown>>;

export const isObject = (value: unknown): value is Loose =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The object that a JSON text is; undefined where it is none. */
export function parseObject(text: unknown): Loose | undefined {
  if (typeof text !== 'string' || !text.startsWith('{')) return undefined;
  const value = jsonIn(text);
  return isObject(value) ? value : undefined;
}

/** A value as text: text as it is, everything else as JSON. */
export const jsonText = (value: unknown): string | undefined =>
  value === undefined || value === null
    ? undefined
    : textOf(typeof value === 'string' ? value : JSON.stringify(value));

/** Text that is not empty. */
export const textOf = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '' ? value : undefined;

/** An integer that is not negative, also where it came as digits. */
export function uintOf(value: unknown): number | undefined {
  if (typeof value === 'number') return Number.isFinite(value) && value >= 0 ? value : undefined;
  return typeof value === 'string' && /^\d{1,15}$/.test(value) ? Number(value) : undefined;
}

const NS_PER_MS = 1_000_000;
/** Milliseconds, as number or digits, in nanoseconds. */
export function msAsNs(value: unknown): number | undefined {
  const ms = uintOf(value);
  return ms === undefined ? undefined : Math.round(ms * NS_PER_MS);
}

/** An RFC 3339 time in nanoseconds since 1970; undefined where it is none. */
export function isoNs(value: unknown): string | undefined {
  const ms = typeof value === 'string' ? Date.parse(value) : Number.NaN;
  return Number.isFinite(ms) && ms > 0 ? `${ms}000000` : undefined;
}

/** The last millisecond that ECMAScript's time has. */
const TIME_MS_MAX = 8.64e15;
/** A time in milliseconds since 1970, as number or digits, in nanoseconds. */
export function epochMsNs(value: unknown): string | undefined {
  const ms = Math.trunc(uintOf(value) ?? 0);
  return ms >= 1 && ms <= TIME_MS_MAX ? `${ms}000000` : undefined;
}

const MS_DIGITS = 13;
/**
 * When a log record happened: its own time; else the attribute `event.timestamp` (milliseconds),
 * sharpened by the time of observation where both name one millisecond; else that.
 */
export function logTimeNs({ timeNs, observedNs, attributes }: LogRecord): string | undefined {
  if (timeNs !== undefined) return timeNs;
  const said = isoNs(attributes['event.timestamp']);
  const same = said?.slice(0, MS_DIGITS) === observedNs?.slice(0, MS_DIGITS);
  return same ? observedNs : (said ?? observedNs);
}

/** `ns` moved back by `byNs`, where that is a time that can have passed. */
export function before(ns: string, byNs: number | undefined): string {
  const by = Math.round(byNs ?? 0);
  return Number.isSafeInteger(by) ? String(BigInt(ns) - BigInt(by)) : ns;
}

/** Attributes as a map of text, only those that are named and not empty. */
export function pick(from: Attributes | Loose, names: readonly string[]): Loose | undefined {
  const out: Record<string, string> = {};
  for (const name of names) {
    const value = from[name];
    if (value === undefined || value === null || value === '') continue;
    out[name] = typeof value === 'object' ? JSON.stringify(value) : String(value);
  }
  return Object.keys(out).length === 0 ? undefined : out;
}

/**
 * A draft of what telemetry said, without its absent fields. The values are whatever the sender
 * made of them; `fit.ts` repairs and declares, so the type is asserted here and checked there.
 */
export function reported(kind: KindName, source: string, fields: Loose): Draft {
  const out: Record<string, unknown> = { kind, source, assurance: 'reported' };
  for (const [name, value] of Object.entries(fields))
    if (value !== undefined && value !== null && value !== '') out[name] = value;
  return out as unknown as Draft;
}

/** A prompt. Senders count its characters, if anything; its bytes are known where its text is. */
export const promptOf = (source: string, envelope: Loose, prompt: string | undefined): Draft =>
  reported('prompt', source, {
    ...envelope,
    prompt,
    prompt_bytes: prompt === undefined ? undefined : Buffer.byteLength(prompt),
  });

/** A map that forgets its oldest entries: telemetry must not make memory grow without end. */
export function boundedMap<V>(entriesMax: number): Map<string, V> {
  return new (class extends Map<string, V> {
    override set(key: string, value: V): this {
      if (!this.has(key) && this.size >= entriesMax) {
        const oldest = this.keys().next().value;
        if (oldest !== undefined) this.delete(oldest);
      }
      return super.set(key, value);
    }
  })();
}
