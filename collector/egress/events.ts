/** What the egress proxy and the resolver tell, as drafts. Pure. */
import type { Draft, DraftOf } from '#schemas';
import type { Policy, Verdict } from './policy.ts';
import type { Answered } from './resolver.ts';
import type { Asker, NetDraft } from './seen.ts';
import type { ProxyTarget } from './target.ts';

export const EGRESS_SOURCE = 'egress';

type Attrs = Readonly<Record<string, string>>;

function attributed({ foundBy, ...asker }: Asker, attrs: Attrs) {
  return { ...asker, attrs: { ...attrs, peer: foundBy } };
}

const policyFields = (policy: Policy, { decision, rule, reason }: Verdict) => ({
  decision,
  policy_type: 'network' as const,
  decided_by: 'policy' as const,
  policy: policy.name,
  policy_version: policy.version,
  rule,
  reason,
});

export interface DecisionFacts {
  readonly ts: string;
  readonly verdict: Verdict;
  readonly asker: Asker;
  /** Ties the decision to the connection's end. */
  readonly connection: string;
  readonly target?: Partial<ProxyTarget>;
  readonly ip?: string;
  readonly attrs?: Attrs;
}

/** What was decided on one request. */
export function decisionDraft(policy: Policy, facts: DecisionFacts): Draft {
  const { target = {}, ip } = facts;
  return {
    kind: 'policy.decision',
    ts: facts.ts,
    source: EGRESS_SOURCE,
    assurance: 'verified',
    ...policyFields(policy, facts.verdict),
    ...(target.host === undefined ? {} : { net_host: target.host }),
    ...(target.port === undefined ? {} : { net_port: target.port }),
    ...(target.method === undefined ? {} : { http_method: target.method }),
    ...(target.url === undefined ? {} : { url: target.url }),
    ...(ip === undefined ? {} : { net_ip: ip }),
    ...attributed(facts.asker, {
      connection: facts.connection,
      enforced: 'yes',
      ...facts.attrs,
    }),
  };
}

export interface PassedFacts {
  readonly ts: string;
  readonly asker: Asker;
  readonly connection: string;
  readonly target: ProxyTarget;
  readonly ip?: string;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly durationNs: number;
  readonly outcome: 'success' | 'failure';
  readonly error?: string;
  readonly attrs?: Attrs;
}

/** What went through one tunnel or request, told at its end. */
export function passedDraft(facts: PassedFacts): Draft {
  const { target, ip, error } = facts;
  return {
    kind: 'net',
    ts: facts.ts,
    source: EGRESS_SOURCE,
    assurance: 'observed',
    net_op: target.url === undefined ? 'connect' : 'http',
    net_transport: 'tcp',
    net_host: target.host,
    net_port: target.port,
    http_method: target.method,
    net_bytes_in: facts.bytesIn,
    net_bytes_out: facts.bytesOut,
    duration_ns: facts.durationNs,
    outcome: facts.outcome,
    ...(target.url === undefined ? {} : { url: target.url }),
    ...(ip === undefined ? {} : { net_ip: ip }),
    ...(error === undefined ? {} : { error }),
    ...attributed(facts.asker, {
      connection: facts.connection,
      via: 'egress_proxy',
      ...facts.attrs,
    }),
  };
}

/** A connection that went round the proxy: what the policy says of it, though nobody held it up. */
export function directDraft(policy: Policy, seen: NetDraft, verdict: Verdict): Draft {
  const { ts, pid, ppid, tool_call_id, attribution, attribution_confidence_pct } = seen;
  const { net_host, net_ip, net_port, net_transport = 'other' } = seen;
  const envelope = { ts, pid, ppid, tool_call_id, attribution, attribution_confidence_pct };
  return {
    kind: 'policy.decision',
    source: EGRESS_SOURCE,
    assurance: 'observed',
    ...(present(envelope) as Pick<NetDraft, 'ts'>),
    ...policyFields(policy, verdict),
    reason: `${verdict.reason}; it went round the proxy and nobody held it up`,
    ...present({ net_host, net_ip, net_port }),
    attrs: { enforced: 'no', bypass: 'direct', transport: net_transport, seen_by: seen.source },
  };
}

const present = <T extends object>(fields: T): Partial<T> =>
  Object.fromEntries(
    Object.entries(fields).filter(([, value]) => value !== undefined),
  ) as Partial<T>;

/** A question that the resolver answered, and how. */
export function questionDraft(
  { name, type, verdict, answers, rcode, client }: Answered,
  { ts, durationNs, asker }: { ts: string; durationNs: number; asker: Asker },
): Draft {
  const outcome =
    verdict.decision === 'deny' ? 'denied' : rcode === 'NOERROR' ? 'success' : 'failure';
  return {
    kind: 'net',
    ts,
    source: EGRESS_SOURCE,
    assurance: 'observed',
    net_op: 'dns',
    net_transport: client.tcp ? 'tcp' : 'udp',
    net_host: name,
    duration_ns: durationNs,
    outcome,
    ...(outcome === 'failure' ? { error: rcode } : {}),
    ...attributed(asker, {
      via: 'egress_resolver',
      'dns.question.type': type,
      rule: verdict.rule,
      ...(answers.length === 0 ? {} : { 'dns.answers': answers.join(' ') }),
    }),
  };
}

/** Whether the proxy covers what leaves, and from when on. */
export function coverageDraft(
  ts: string,
  coverage: DraftOf<'sensor'>['coverage'],
  reason: string,
  attrs: Attrs,
): Draft {
  return {
    kind: 'sensor',
    ts,
    source: EGRESS_SOURCE,
    assurance: 'verified',
    sensor_name: EGRESS_SOURCE,
    coverage,
    reason,
    attrs,
  };
}

/** The proxy was away: what asked in between is not told. */
export function awayDraft(ts: string, reason: string): Draft {
  return {
    kind: 'gap',
    ts,
    source: EGRESS_SOURCE,
    assurance: 'verified',
    gap_reason: 'channel_lost',
    sensor_name: EGRESS_SOURCE,
    reason,
  };
}
