/**
 * What the egress proxy tells, tied to what the kernel saw. One request through the proxy is up to three
 * events: the process's connect to the proxy's port, the decision on it, and the proxy's own word on
 * how it ended; the last two have one `attrs.connection`. Who went round the proxy is a decision as well,
 * which nobody enforced (`collector/egress/README.md`).
 */
import { eventId } from '#schemas';
import { byTime, type FlatEvent, isSeen, roleOf, shiftNs } from './view.ts';

const EGRESS = 'egress';
/** The kernel's word on a connect and the proxy's on its request: two readers of one clock. */
const SLACK_NS = 50_000_000n;

/** What was told of one connection through the proxy. */
export interface Passage {
  readonly connection: string;
  readonly decision: FlatEvent;
  /** The connect to the proxy that the kernel saw; a further request over the same one has none. */
  readonly connect?: FlatEvent;
  /** How it ended; absent where it was denied, or where nothing tells of its end. */
  readonly end?: FlatEvent;
}

export interface Passages {
  readonly list: readonly Passage[];
  /** The passage that an event is of, by the event's id. */
  readonly of: ReadonlyMap<string, Passage>;
}

const isEgress = (event: FlatEvent): boolean => event.source === EGRESS && isSeen(event);

/** Whether a decision is on a connection that went round the proxy, and that nobody held up. */
export const isBypass = (event: FlatEvent): boolean =>
  isEgress(event) && roleOf(event) === 'policy' && event.attrs?.bypass === 'direct';

/** The addresses that the proxy listened on; a lost listener is opened again, maybe on another port. */
function proxiesIn(events: readonly FlatEvent[]): ReadonlySet<string> {
  return new Set(
    events.flatMap((event) =>
      event.sensor_name === EGRESS && isEgress(event) ? (event.attrs?.proxy ?? []) : [],
    ),
  );
}

/** Connects to the proxy that the kernel saw, by process, in the order of time. */
function connectsIn(events: readonly FlatEvent[], proxies: ReadonlySet<string>) {
  const byPid = new Map<string, FlatEvent[]>();
  for (const event of events) {
    if (event.net_op !== 'connect' || event.source === EGRESS || !isSeen(event)) continue;
    if (event.pid === undefined || !proxies.has(`${event.net_ip}:${event.net_port}`)) continue;
    const key = `${event.stream_id} ${event.pid}`;
    byPid.set(key, [...(byPid.get(key) ?? []), event]);
  }
  return byPid;
}

/** Ties them together, each connect to one request; `events` of one session, in order. */
export function passagesOf(events: readonly FlatEvent[]): Passages {
  const told = events.filter((event) => isEgress(event) && event.attrs?.connection !== undefined);
  if (told.length === 0) return { list: [], of: new Map() };
  const connects = connectsIn(events, proxiesIn(events));
  const keyOf = (event: FlatEvent) => `${event.stream_id} ${event.attrs?.connection}`;
  const ends = new Map(
    told.flatMap((event) => (event.net_op === undefined ? [] : [[keyOf(event), event] as const])),
  );
  const of = new Map<string, Passage>();
  const list = told
    .filter((event) => roleOf(event) === 'policy')
    .sort(byTime)
    .map((decision): Passage => {
      const waiting = connects.get(`${decision.stream_id} ${decision.pid}`) ?? [];
      const near = shiftNs(decision.ts, SLACK_NS);
      const connect =
        waiting[0] !== undefined && waiting[0].ts <= near ? waiting.shift() : undefined;
      const end = ends.get(keyOf(decision));
      const passage = {
        connection: decision.attrs?.connection ?? '',
        decision,
        ...(connect === undefined ? {} : { connect }),
        ...(end === undefined ? {} : { end }),
      };
      for (const event of [decision, connect, end])
        if (event !== undefined) of.set(eventId(event), passage);
      return passage;
    });
  return { list, of };
}
