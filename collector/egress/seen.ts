/**
 * What the kernel sensor shows of connections, as the egress proxy needs it: who a process is, to
 * which tool call it belongs, and who goes round the proxy. Fed with the sensor's drafts as they
 * pass by. No I/O.
 */
import type { Clock, Draft, DraftOf } from '#schemas';
import { isLoopbackAddress } from './addresses.ts';
import type { Peer } from './peer.ts';

export type Attribution = Pick<
  DraftOf<'policy.decision'>,
  'pid' | 'ppid' | 'tool_call_id' | 'attribution' | 'attribution_confidence_pct'
>;

/** Who asked: the process, how it was found, and to which call it belongs. */
export interface Asker extends Attribution {
  /** `socket`, `socket_shared`, `connect`, `unknown`; see README.md. */
  readonly foundBy: string;
}

export type NetDraft = DraftOf<'net'>;

export interface SeenDeps {
  readonly clock: Clock;
  /** Whether an address is the proxy's, the resolver's, or neither. */
  readonly ours: (ip: string, port: number) => 'proxy' | 'resolver' | undefined;
  /** A connection that does not lead through the proxy. */
  readonly direct: (draft: NetDraft) => void;
}

export interface Seen {
  /** Takes drafts of the sensor, in their order. */
  observe(drafts: readonly Draft[]): void;
  /** Living processes of the session, the newest first: who the client may be. */
  likely(): readonly number[];
  /**
   * Says who asked; waits a moment for the sensor, whose word comes by another way. Of who is outside
   * of the session it has none to say.
   */
  askerOf(peer: Peer | undefined): Promise<Asker>;
  /** The sensor has said its last: nobody waits for it any more. */
  over(): void;
  /** The same by what is known now: a datagram is no connection that the sensor would tell. */
  askerNow(peer: Peer | undefined): Asker;
}

/**
 * How long the sensor's word on a connection is waited for before the decision is told. The client
 * does not wait for it; on a busy machine the word is some hundred milliseconds late.
 */
const WAIT_NS_MAX = 5_000_000_000n;
/** How long after the first connection the sensor's first word may come: there may be no sensor. */
const FIRST_WORD_NS_MAX = 500_000_000n;
const WAIT_STEP_MS = 10;
/** Processes kept in mind, ended ones included: their connections are told a little later. */
const PROCESSES_MAX = 20_000;
const LIKELY_MAX = 256;
const DIRECT_MAX = 10_000;
/** How sure it is that this process asked. */
const SURE_PCT = { socket_and_connect: 100, socket: 95, socket_shared: 70, connect: 80 } as const;

interface Process {
  attribution: Attribution;
  ended: boolean;
  /** Connects to the proxy that no accepted connection was matched with yet. */
  pending: number;
}

/** Keeps the newest `max` of what was put in. */
function forget<K, V>(map: Map<K, V>, max: number): void {
  for (const key of map.keys()) {
    if (map.size <= max) return;
    map.delete(key);
  }
}

export function createSeen({ clock, ours, direct }: SeenDeps): Seen {
  const processes = new Map<number, Process>();
  const told = new Map<string, true>();
  /** Processes with connects that are still to be matched. */
  const waiting = new Set<number>();
  let watching = false;
  let over = false;
  let firstAskedNs: bigint | undefined;

  const processOf = (pid: number): Process => {
    const process = processes.get(pid) ?? { attribution: { pid }, ended: false, pending: 0 };
    processes.set(pid, process);
    return process;
  };
  const connected = (draft: NetDraft, process: Process | undefined) => {
    const { net_ip: ip, net_port: port, net_op: op, net_transport: transport } = draft;
    if (ip === undefined || port === undefined || port === 0) return;
    if (op !== 'connect' && op !== 'dns') return;
    const own = ours(ip, port);
    if (own === 'proxy') {
      if (process !== undefined) process.pending++;
      if (draft.pid !== undefined) waiting.add(draft.pid);
      return;
    }
    if (own !== undefined || isLoopbackAddress(ip)) return;
    // Datagrams are told once a destination: looking a name up points sockets at each address.
    const who = transport === 'tcp' ? draft.pid : transport;
    const key = `${who} ${ip} ${port}`;
    if (told.has(key)) return;
    told.set(key, true);
    forget(told, DIRECT_MAX);
    direct(draft);
  };
  const take = (draft: Draft) => {
    const { pid } = draft;
    if (pid !== undefined) {
      watching = true;
      const process = processOf(pid);
      if (draft.kind === 'exec') {
        // To the end of the order: who ran a program lately is likely to connect.
        processes.delete(pid);
        processes.set(pid, process);
        process.ended = false;
      }
      if (draft.kind === 'exit') process.ended = true;
      process.attribution = attributionOf(draft, process.attribution);
      forget(processes, PROCESSES_MAX);
    }
    if (draft.kind === 'net') connected(draft, pid === undefined ? undefined : processes.get(pid));
  };

  const match = (pid: number, process: Process) => {
    process.pending--;
    if (process.pending === 0) waiting.delete(pid);
  };
  const found = (peer: Peer | undefined): Asker => {
    const process = peer && processes.get(peer.pid);
    if (peer !== undefined) {
      const matched = process !== undefined && process.pending > 0;
      const foundBy = peer.shared ? 'socket_shared' : 'socket';
      const pct = SURE_PCT[!peer.shared && matched ? 'socket_and_connect' : foundBy];
      if (matched) match(peer.pid, process);
      return { ...atMost(process?.attribution ?? { pid: peer.pid }, pct), foundBy };
    }
    const [pid] = waiting;
    const only = pid === undefined || waiting.size > 1 ? undefined : processes.get(pid);
    if (pid === undefined || only === undefined) return { foundBy: 'unknown' };
    match(pid, only);
    return { ...atMost(only.attribution, SURE_PCT.connect), foundBy: 'connect' };
  };
  const known = (peer: Peer | undefined): boolean =>
    peer === undefined ? waiting.size > 0 : waiting.has(peer.pid);

  return {
    observe(drafts) {
      for (const draft of drafts) take(draft);
    },
    likely: () =>
      [...processes]
        .filter(([, process]) => !process.ended)
        .map(([pid]) => pid)
        .reverse()
        .slice(0, LIKELY_MAX),
    async askerOf(peer) {
      const askedNs = clock.monotonicNs();
      firstAskedNs ??= askedNs;
      const firstWordNs = firstAskedNs + FIRST_WORD_NS_MAX;
      const endNs = () => (watching ? askedNs + WAIT_NS_MAX : firstWordNs);
      const waits = () => !over && !peer?.outside && !known(peer);
      while (waits() && clock.monotonicNs() < endNs()) await clock.sleep(WAIT_STEP_MS);
      return found(peer);
    },
    over() {
      over = true;
    },
    askerNow(peer) {
      if (peer === undefined) return { foundBy: 'unknown' };
      const foundBy = peer.shared ? 'socket_shared' : 'socket';
      const attribution = processes.get(peer.pid)?.attribution ?? { pid: peer.pid };
      return { ...atMost(attribution, SURE_PCT[foundBy]), foundBy };
    },
  };
}

function attributionOf(draft: Draft, before: Attribution): Attribution {
  const { pid, ppid, tool_call_id, attribution, attribution_confidence_pct } = draft;
  return {
    ...(pid === undefined ? {} : { pid }),
    ...(ppid === undefined ? (before.ppid === undefined ? {} : { ppid: before.ppid }) : { ppid }),
    ...(tool_call_id === undefined ? {} : { tool_call_id }),
    ...(attribution === undefined ? {} : { attribution }),
    ...(attribution_confidence_pct === undefined ? {} : { attribution_confidence_pct }),
  };
}

/** No attribution is surer than that this process it was. */
function atMost(attribution: Attribution, pct: number): Attribution {
  const { attribution_confidence_pct: own } = attribution;
  return own === undefined
    ? attribution
    : { ...attribution, attribution_confidence_pct: Math.min(own, pct) };
}
