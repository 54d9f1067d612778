/**
 * Cursors: opaque to callers, versioned, and only a place in an order, so that a page can go on
 * after rows were added.
 *
 *     cursor = base64url("v1|" part "|" part …)
 */
import { badInput } from './errors.ts';

const VERSION = 'v1';
const CURSOR_CHARACTERS_MAX = 200;
const TIME = /^[1-8]\d{18}$/;
const NUMBER = /^\d{1,10}$/;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** A place in a timeline: that of this event. */
export interface EventPlace {
  readonly ts: string;
  readonly seq: number;
  readonly streamId: string;
}

/** A place in the list of sessions: after this session. */
export interface SessionPlace {
  readonly startedNs: string;
  readonly id: string;
}

/** A place in the list of alerts: after this alert. */
export interface AlertPlace {
  readonly raisedMs: number;
  readonly fingerprint: string;
}

const write = (...parts: readonly string[]): string =>
  Buffer.from([VERSION, ...parts].join('|')).toString('base64url');

function read(cursor: string, shapes: readonly RegExp[], name = 'after'): string[] {
  const text = Buffer.from(cursor.slice(0, CURSOR_CHARACTERS_MAX), 'base64url').toString('utf8');
  const [version, ...parts] = text.split('|');
  const good =
    cursor.length <= CURSOR_CHARACTERS_MAX &&
    version === VERSION &&
    parts.length === shapes.length &&
    parts.every((part, i) => (shapes[i] as RegExp).test(part));
  if (!good) throw badInput(`${name}: not a cursor of this list`);
  return parts;
}

export const eventCursor = ({ ts, seq, streamId }: EventPlace): string =>
  write(ts, String(seq), streamId);

/** The place in an event cursor. Throws `QueryError` for anything else. */
export function readEventCursor(cursor: string, name = 'after'): EventPlace {
  const [ts, seq, streamId] = read(cursor, [TIME, NUMBER, UUID], name) as [string, string, string];
  if (Number(seq) > 4_294_967_295) throw badInput(`${name}: not a cursor of this list`);
  return { ts, seq: Number(seq), streamId };
}

export const sessionCursor = ({ startedNs, id }: SessionPlace): string => write(startedNs, id);

/** The place in a session cursor. Throws `QueryError` for anything else. */
export function readSessionCursor(cursor: string): SessionPlace {
  const [startedNs, id] = read(cursor, [TIME, UUID]) as [string, string];
  return { startedNs, id };
}

const MILLISECONDS = /^\d{1,15}$/;
const FINGERPRINT = /^[0-9a-f]{32}$/;

export const alertCursor = ({ raisedMs, fingerprint }: AlertPlace): string =>
  write(String(raisedMs), fingerprint);

/** The place in an alert cursor. Throws `QueryError` for anything else. */
export function readAlertCursor(cursor: string): AlertPlace {
  const [raisedMs, fingerprint] = read(cursor, [MILLISECONDS, FINGERPRINT]) as [string, string];
  return { raisedMs: Number(raisedMs), fingerprint };
}

export const isUuid = (text: string): boolean => UUID.test(text);
