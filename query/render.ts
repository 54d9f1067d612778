/** Rows -> what callers see. Pure. */
import { ENVELOPE, eventId, fromRow, REGISTRY, type Row, rowOf } from '#schemas';
import { type EventPlace, sessionCursor } from './cursor.ts';
import type { FlatEvent } from './timeline/view.ts';

export interface SessionRow extends Row {
  readonly id: string;
  readonly started: string;
  readonly ended: string;
  readonly agent_name: string;
  readonly host_name: string;
  readonly user_name: string;
  /** Of one session that is asked for by its id. */
  readonly lowest?: string;
  readonly highest?: string;
}

/** Between which times all stored events of a session lie, both included; decimal nanoseconds. */
export interface SessionBounds {
  readonly lowestNs: string;
  readonly highestNs: string;
}

/** A session as the list knows it; times in decimal nanoseconds. */
export interface SessionHead {
  readonly id: string;
  readonly agent: string;
  readonly host: string;
  readonly user: string;
  readonly startedNs: string;
  readonly endedNs: string;
  /** Absent where nobody looked. */
  readonly bounds?: SessionBounds;
}

export const sessionHead = (row: SessionRow): SessionHead => ({
  id: row.id,
  agent: row.agent_name,
  host: row.host_name,
  user: row.user_name,
  startedNs: row.started,
  endedNs: row.ended,
  ...(row.lowest === undefined || row.highest === undefined
    ? {}
    : { bounds: { lowestNs: row.lowest, highestNs: row.highest } }),
});

/**
 * The event of a row, of all columns or of some. A kind that this version does not know (written
 * by a newer one) keeps its envelope, so that a timeline never fails on one row.
 */
export function eventOf(row: Row): FlatEvent {
  if (REGISTRY.has(String(row.kind))) return fromRow(row) as unknown as FlatEvent;
  const named = rowOf(row);
  const envelope = Object.keys(ENVELOPE).map((name) => [name, named[name]] as const);
  const known = envelope.filter(
    ([, value]) => value !== '' && value !== null && value !== undefined && value !== 0,
  );
  return { seq: 0, ...Object.fromEntries(known) } as unknown as FlatEvent;
}

/** What is known already, or is looked up when somebody asks. */
export type Known = boolean | (() => Promise<boolean>);

export interface Page<T> {
  readonly edges: readonly { readonly cursor: string; readonly node: T }[];
  readonly pageInfo: {
    readonly hasNextPage: Known;
    /** Absent in a list that goes forward only. */
    readonly hasPreviousPage?: Known;
    /** Absent where it is that of the first edge. */
    readonly startCursor?: string | null;
    readonly endCursor: string | null;
  };
}

function pageOf<T>(items: readonly T[], size: number, cursorOf: (item: T) => string): Page<T> {
  const edges = items.slice(0, size).map((node) => ({ cursor: cursorOf(node), node }));
  return {
    edges,
    pageInfo: {
      hasNextPage: items.length > size,
      endCursor: edges.at(-1)?.cursor ?? null,
    },
  };
}

/** Where an event stands in its session's timeline. */
export const placeOf = (event: FlatEvent): EventPlace => ({
  ts: event.ts,
  seq: event.seq,
  streamId: event.stream_id,
});

/** A page of sessions out of `size + 1` of them. */
export const sessionPage = (heads: readonly SessionHead[], size: number): Page<SessionHead> =>
  pageOf(heads, size, sessionCursor);

/** Nanoseconds of a second are the last nine digits. */
const NS_DIGITS = 9;
/** One second's text is kept: events of a page lie close together. */
let kept = { seconds: '', text: '' };

/** Decimal nanoseconds as RFC 3339 in UTC with all nine digits. */
export function timeText(nanoseconds: string): string {
  const digits = nanoseconds.padStart(NS_DIGITS + 1, '0');
  const seconds = digits.slice(0, -NS_DIGITS);
  if (seconds !== kept.seconds)
    kept = { seconds, text: new Date(Number(seconds) * 1000).toISOString().slice(0, 19) };
  return `${kept.text}.${digits.slice(-NS_DIGITS)}Z`;
}

const RFC3339 = /^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(Z|[+-]\d{2}:\d{2})$/;
const NANOSECONDS = /^[1-8]\d{18}$/;

/** RFC 3339 or decimal nanoseconds as decimal nanoseconds; undefined where it is neither. */
export function parseTime(text: string): string | undefined {
  if (NANOSECONDS.test(text)) return text;
  const match = RFC3339.exec(text);
  if (match === null) return undefined;
  const ms = Date.parse(`${match[1]}${match[3]}`);
  if (Number.isNaN(ms)) return undefined;
  const value = BigInt(ms) * 1_000_000n + BigInt((match[2] ?? '').padEnd(9, '0') || 0);
  return NANOSECONDS.test(String(value)) ? String(value) : undefined;
}

export const idOf = (event: FlatEvent): string => eventId(event);
