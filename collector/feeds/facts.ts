/** What one line of a host sensor's output says, in our words; and how its fields are read. Pure. */
import type { Draft, DraftOf } from '#schemas';

type Envelope = 'source' | 'assurance' | 'pid' | 'ppid';
/** A kind's fields, for each kind by itself. */
type FieldsOf<K extends Draft['kind']> = K extends Draft['kind']
  ? Omit<DraftOf<K>, Envelope> & { readonly kind: K }
  : never;
export type FeedFields = FieldsOf<'exec' | 'exit' | 'file' | 'net' | 'syscall'>;

export type FeedFact =
  | {
      readonly what: 'event';
      readonly pid: number;
      readonly ppid?: number;
      readonly fields: FeedFields;
    }
  /** A process began without a program of its own. */
  | { readonly what: 'born'; readonly pid: number; readonly ppid: number }
  /** The feed says that it lost events: of the whole host, so how many of ours is not known. */
  | {
      readonly what: 'loss';
      readonly ts: string;
      readonly reason: string;
      readonly hostCount?: number;
    }
  /** Understood, and nothing that belongs into a session. */
  | { readonly what: 'nothing' };

/** One kind of feed. `read` gives undefined for what it does not understand. */
export interface FeedFormat {
  readonly source: string;
  readonly read: (line: unknown) => FeedFact | undefined;
}

export const NOTHING: FeedFact = { what: 'nothing' };
const PID_MAX = 4_294_967_295;
const PORT_MAX = 65_535;

export type Fields = Readonly<Record<string, unknown>>;
export const fieldsOf = (value: unknown): Fields | undefined =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Fields)
    : undefined;

/** A text that says something; feeds write `<NA>` or null where they know nothing. */
export const textOf = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '' && value !== '<NA>' ? value : undefined;

/** A whole number, written as one or as its digits. */
export function numberOf(value: unknown): number | undefined {
  const number = typeof value === 'string' && /^-?[0-9]{1,16}$/.test(value) ? Number(value) : value;
  return typeof number === 'number' && Number.isSafeInteger(number) ? number : undefined;
}

export function pidOf(value: unknown): number | undefined {
  const pid = numberOf(value);
  return pid !== undefined && pid > 0 && pid <= PID_MAX ? pid : undefined;
}

export function portOf(value: unknown): number | undefined {
  const port = numberOf(value);
  return port !== undefined && port >= 0 && port <= PORT_MAX ? port : undefined;
}

const TIME = /^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?\d*(?:Z|([+-]\d{2}):?(\d{2}))$/;

/** Nanoseconds since 1970 out of RFC 3339; undefined for anything else, and outside of our range. */
export function timeOf(value: unknown): string | undefined {
  const [, whole, fraction = '', hours = '+00', minutes = '00'] =
    (typeof value === 'string' ? TIME.exec(value) : null) ?? [];
  const ms = whole === undefined ? Number.NaN : Date.parse(`${whole}${hours}:${minutes}`);
  if (Number.isNaN(ms)) return undefined;
  const ns = `${Math.floor(ms / 1000)}${fraction.padEnd(9, '0')}`;
  return /^[1-8][0-9]{18}$/.test(ns) ? ns : undefined;
}

/**
 * A command line that was joined by blanks, taken apart again. Where an argument had a blank in it
 * the parts are wrong, which `attrs.argv` of the event says.
 */
export const partsOf = (line: string): string[] => line.split(' ').filter((part) => part !== '');

/** Without what is not known. */
export const known = <const T extends object>(
  fields: T,
): { [K in keyof T]?: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
