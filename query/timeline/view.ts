/**
 * How the timeline looks at events: flat, by role, in one order. Everything below `timeline/` is
 * pure and does the same in the service, in the command line and in a page.
 */
import { type Envelope, REGISTRY, type Role, type TelltaleEvent } from '#schemas';

type KeysOf<U> = U extends unknown ? keyof U : never;
type ValueIn<U, K> = U extends unknown ? (K extends keyof U ? U[K] : never) : never;

/**
 * Any event with every field that some kind has. Code that is not to branch on a kind's name reads
 * fields through this: a field that the event's kind lacks is simply absent.
 */
export type FlatEvent = Envelope & {
  readonly [K in Exclude<KeysOf<TelltaleEvent>, keyof Envelope>]?: Exclude<
    ValueIn<TelltaleEvent, K>,
    undefined
  >;
};

/** The same event, seen flat. */
export const flat = (event: TelltaleEvent): FlatEvent => event as unknown as FlatEvent;

/** The role of an event's kind; an unknown kind (a newer collector's) is only stored. */
export function roleOf(event: { readonly kind: string }): Role {
  return REGISTRY.get(event.kind)?.role ?? 'stored';
}

interface Placed {
  readonly ts: string;
  readonly seq: number;
  readonly stream_id: string;
}

const compare = <T>(a: T, b: T): number => (a < b ? -1 : a > b ? 1 : 0);

/** The one order of a session: time, then number, then stream. Times have 19 digits each. */
export function byTime(a: Placed, b: Placed): number {
  return compare(a.ts, b.ts) || compare(a.seq, b.seq) || compare(a.stream_id, b.stream_id);
}

/** Events in the order of the session, flat; the input is left as it is. */
export function inOrder(events: readonly TelltaleEvent[]): FlatEvent[] {
  return events.map(flat).sort(byTime);
}

/** Kinds whose declaration has this field; so that nobody needs to know their names. */
export function kindsWith(field: string): readonly string[] {
  return [...REGISTRY.values()].filter((kind) => kind.own.includes(field)).map(({ kind }) => kind);
}

/** Kinds of these roles. */
export function kindsOf(roles: readonly Role[]): readonly string[] {
  return [...REGISTRY.values()].filter(({ role }) => roles.includes(role)).map(({ kind }) => kind);
}

/** Whether an event is what a kernel sensor saw, not what somebody says. */
export function isSeen(event: FlatEvent): boolean {
  return event.assurance === 'verified' || event.assurance === 'observed';
}

/** `ns` moved by `byNs`, kept within the 19 digits that times have. */
export function shiftNs(ns: string, byNs: bigint): string {
  const moved = BigInt(ns) + byNs;
  const low = 1_000_000_000_000_000_000n;
  const high = 8_999_999_999_999_999_999n;
  return String(moved < low ? low : moved > high ? high : moved);
}
