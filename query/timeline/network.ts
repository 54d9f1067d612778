/**
 * The network ledger: what was reached, by destination. A destination is a host and a port; an
 * address that only one host was seen under counts as that host. Names that were looked up and
 * never connected to have a line of their own: a question to a resolver carries data as well.
 *
 * A request through the egress proxy stands on the line of where it led, once: the connect to the proxy
 * that the kernel saw, the decision and the proxy's own word are one passage, and counted in `proxied`.
 */
import { eventId } from '#schemas';
import type { Analysis } from './analyse.ts';
import { isBypass, type Passage, passagesOf } from './egress.ts';
import { present } from './merge.ts';
import { type FlatEvent, isSeen, roleOf } from './view.ts';

/** How often rules decided so on a destination. */
export interface Verdicts {
  readonly decision: string;
  readonly count: number;
  readonly rules: readonly string[];
  readonly lastNs: string;
  readonly eventIds: readonly string[];
}

export interface Destination {
  /** Stable within the session: what it is found again by. */
  readonly id: string;
  readonly host?: string;
  readonly port?: number;
  /** Path of a unix socket. */
  readonly path?: string;
  readonly ips: readonly string[];
  readonly transports: readonly string[];
  readonly firstNs: string;
  readonly lastNs: string;
  readonly connects: number;
  /** Connects that failed or were refused. */
  readonly failed: number;
  readonly requests: number;
  readonly lookups: number;
  readonly binds: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Names that were asked of it, where it is a resolver. */
  readonly names: readonly string[];
  readonly urls: readonly string[];
  readonly verdicts: readonly Verdicts[];
  /** Attempts that a rule, the sandbox or the peer denied. */
  readonly denied: number;
  /** A connection was made after a rule had said no, and no later one yes; or round the proxy. */
  readonly madeThoughDenied: boolean;
  /** Requests through the egress proxy; all that is told of one counts as one. */
  readonly proxied: number;
  /** Connects to the proxy, as the kernel saw them, that stand on this line and not on the proxy's. */
  readonly folded: number;
  /** Connections that went round the egress proxy: the policy spoke of them, and nobody enforced it. */
  readonly bypasses: number;
  /** Whether the kernel showed it, rather than only a channel's words. */
  readonly seen: boolean;
  readonly callIds: readonly string[];
  /** Events of it that belong to no call. */
  readonly unattributed: number;
  readonly eventCount: number;
  /** The first of them. */
  readonly eventIds: readonly string[];
}

/** Names, rules and ids that are listed of each destination. */
const LISTED_MAX = 50;

class Line {
  readonly host: string | undefined;
  readonly port: number | undefined;
  readonly path: string | undefined;
  readonly ips = new Set<string>();
  readonly transports = new Set<string>();
  readonly names = new Set<string>();
  readonly urls = new Set<string>();
  readonly calls = new Set<string>();
  readonly eventIds: string[] = [];
  readonly verdicts = new Map<
    string,
    { count: number; lastNs: string; rules: Set<string>; eventIds: string[] }
  >();
  readonly counts = {
    connects: 0,
    failed: 0,
    requests: 0,
    lookups: 0,
    binds: 0,
    bytesIn: 0,
    bytesOut: 0,
    denied: 0,
    proxied: 0,
    folded: 0,
    bypasses: 0,
    unattributed: 0,
    eventCount: 0,
  };
  firstNs = '';
  lastNs = '';
  seen = false;
  madeThoughDenied = false;
  #ruled: string | undefined;

  constructor(event: Pick<FlatEvent, 'net_host' | 'net_port' | 'net_path'>) {
    this.host = event.net_host;
    this.port = event.net_port;
    this.path = event.net_path;
  }

  #note(event: FlatEvent, callId: string | undefined): void {
    const { counts } = this;
    counts.eventCount++;
    if (this.firstNs === '') this.firstNs = event.ts;
    if (event.ts > this.lastNs) this.lastNs = event.ts;
    if (callId === undefined) counts.unattributed++;
    else listed(this.calls, callId);
    if (event.net_ip !== undefined && event.net_op !== 'dns') listed(this.ips, event.net_ip);
    if (event.url !== undefined) listed(this.urls, event.url);
    if (this.eventIds.length < LISTED_MAX) this.eventIds.push(eventId(event));
  }

  /** A rule's decision on it. */
  ruled(event: FlatEvent, callId: string | undefined): void {
    this.#note(event, callId);
    const decision = event.decision ?? '';
    const sum = this.verdicts.get(decision) ?? {
      count: 0,
      lastNs: '',
      rules: new Set<string>(),
      eventIds: [],
    };
    this.verdicts.set(decision, sum);
    sum.count++;
    sum.lastNs = event.ts;
    const rule = event.rule ?? event.decided_by;
    if (rule !== undefined) listed(sum.rules, rule);
    if (sum.eventIds.length < LISTED_MAX) sum.eventIds.push(eventId(event));
    if (isBypass(event)) {
      this.counts.bypasses++;
      if (decision === 'deny') this.madeThoughDenied = true;
      return;
    }
    if (decision === 'deny') this.counts.denied++;
    this.#ruled = decision;
  }

  /** A decision of the egress proxy; one that let through what has no end yet is a connection. */
  passed({ decision, end }: Passage): void {
    this.counts.proxied++;
    if (decision.decision === 'allow' && end === undefined) this.counts.connects++;
  }

  /** The connect to the proxy, which was for this destination. */
  folds(event: FlatEvent, callId: string | undefined): void {
    // The address is the proxy's.
    const { net_ip: _, ...rest } = event;
    this.#note(rest, callId);
    this.counts.folded++;
    this.seen = true;
  }

  /** Something that was done with it. */
  done(event: FlatEvent, callId: string | undefined): void {
    this.#note(event, callId);
    const { counts } = this;
    const bad = event.outcome === 'failure' || event.outcome === 'denied';
    if (event.net_transport !== undefined) listed(this.transports, event.net_transport);
    if (event.net_op === 'connect') counts.connects++;
    else if (event.net_op === 'http') counts.requests++;
    else if (event.net_op === 'dns') counts.lookups++;
    else counts.binds++;
    if (event.net_op === 'dns' && event.net_host !== undefined) listed(this.names, event.net_host);
    if (bad && event.net_op === 'connect') counts.failed++;
    if (event.outcome === 'denied') counts.denied++;
    counts.bytesIn += event.net_bytes_in ?? 0;
    counts.bytesOut += event.net_bytes_out ?? 0;
    if (isSeen(event)) this.seen = true;
    if (this.#ruled === 'deny' && event.net_op === 'connect' && !bad) this.madeThoughDenied = true;
  }

  finish(id: string): Destination {
    return {
      id,
      ips: [...this.ips],
      transports: [...this.transports],
      firstNs: this.firstNs,
      lastNs: this.lastNs,
      ...this.counts,
      names: [...this.names],
      urls: [...this.urls],
      verdicts: [...this.verdicts].map(([decision, { rules, ...sum }]) => ({
        decision,
        ...sum,
        rules: [...rules],
      })),
      madeThoughDenied: this.madeThoughDenied,
      seen: this.seen,
      callIds: [...this.calls],
      eventIds: this.eventIds,
      ...present({ host: this.host, port: this.port, path: this.path }),
    };
  }
}

const listed = (set: Set<string>, value: string): void => {
  if (set.size < LISTED_MAX) set.add(value);
};

/** The one host that an address was seen under; of several none. */
function hostsByIp(events: readonly FlatEvent[]): (ip: string | undefined) => string | undefined {
  const hosts = new Map<string, string | undefined>();
  for (const { net_ip: ip, net_host: host, net_op: op } of events) {
    if (ip === undefined || host === undefined || op === 'dns') continue;
    hosts.set(ip, hosts.has(ip) && hosts.get(ip) !== host ? undefined : host);
  }
  return (ip) => (ip === undefined ? undefined : hosts.get(ip));
}

const isNetwork = (event: FlatEvent): boolean =>
  event.net_op !== undefined ||
  (roleOf(event) === 'policy' && (event.net_host !== undefined || event.net_ip !== undefined));

/** Where an event belongs: its own host, or the one that its address was seen under. */
const peerOf = (
  { net_host, net_ip, net_port, net_path }: FlatEvent,
  hostOf: (ip: string | undefined) => string | undefined,
) => present({ net_ip, net_port, net_path, net_host: net_host ?? hostOf(net_ip) });

/** The destinations of a session, by their first event. */
export function networkOf(analysis: Analysis): Destination[] {
  const events = analysis.events.filter(isNetwork);
  const hostOf = hostsByIp(events);
  const lines = new Map<string, Line>();
  const lineOf = (peer: Pick<FlatEvent, 'net_host' | 'net_port' | 'net_path' | 'net_ip'>): Line => {
    const name = peer.net_path ?? peer.net_host?.toLowerCase() ?? peer.net_ip ?? '';
    const key = JSON.stringify([peer.net_path === undefined ? 0 : 1, name, peer.net_port ?? null]);
    let line = lines.get(key);
    if (line === undefined) {
      line = new Line(peer);
      lines.set(key, line);
    }
    return line;
  };
  const lookups = new Map<string, FlatEvent[]>();
  const passages = passagesOf(analysis.events);
  for (const event of events) {
    const callId = analysis.attribution.get(eventId(event))?.toolCallId ?? event.tool_call_id;
    const { net_ip, net_port } = event;
    if (event.net_op === 'dns') {
      // The address is the resolver's, the name is what was asked.
      const resolver = present({ net_ip: net_ip ?? 'resolver', net_port });
      lineOf(resolver).done(event, callId);
      const name = event.net_host?.toLowerCase();
      if (name !== undefined)
        lookups.set(name, [...(lookups.get(name) ?? []).slice(0, LISTED_MAX), event]);
      continue;
    }
    const passage = passages.of.get(eventId(event));
    if (passage?.connect === event) {
      lineOf(peerOf(passage.decision, hostOf)).folds(event, callId);
      continue;
    }
    const line = lineOf(peerOf(event, hostOf));
    if (roleOf(event) !== 'policy') line.done(event, callId);
    else {
      line.ruled(event, callId);
      if (passage !== undefined) line.passed(passage);
    }
  }
  const reached = new Set([...lines.values()].flatMap(({ host }) => host?.toLowerCase() ?? []));
  for (const [name, asked] of lookups)
    if (!reached.has(name))
      for (const event of asked)
        lineOf({ net_host: name }).done(
          event,
          analysis.attribution.get(eventId(event))?.toolCallId ?? event.tool_call_id,
        );
  return [...lines]
    .map(([id, line]) => line.finish(id))
    .sort((a, b) => (a.firstNs < b.firstNs ? -1 : a.firstNs > b.firstNs ? 1 : 0));
}
