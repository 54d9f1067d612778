/**
 * The triage packet: what an investigator with an alert and no context needs first, of one session
 * and in one piece. What was asked, what the agent did, who approved it, how it ended, what the
 * network rules said, what does not fit, and how far all of this can be trusted; each fact with its
 * place in the chain. Its size is bounded, and it says what it leaves out.
 */
import { eventId } from '#schemas';
import type { Agent } from './agents.ts';
import type { Assessment } from './assess.ts';
import type { Coverage } from './coverage.ts';
import type { Finding } from './findings.ts';
import type { Destination } from './network.ts';
import { type Proof, type Proofs, proofsOf } from './proofs.ts';
import type { CallItem, SessionData, Story } from './story.ts';
import { type FlatEvent, roleOf } from './view.ts';

/** The most of each sort; what is beyond is counted in `leftOut`. */
export const TRIAGE_MAX = {
  prompts: 10,
  calls: 40,
  /** Of one call: what each channel said, each answer, each effect. */
  factsOfCall: 6,
  networkDecisions: 40,
  destinations: 40,
  findings: 50,
  evidenceOfFinding: 5,
  agents: 20,
  losses: 20,
} as const;

/** One event with what proves it. */
export interface Fact {
  readonly event: FlatEvent;
  readonly proof: Proof;
}

export interface TriageCall {
  readonly item: CallItem;
  readonly agentId?: string;
  /** What the alert is about, or what caused it, is in this call. */
  readonly focus: boolean;
  readonly coverage: Coverage['verdict'];
  readonly said: readonly Fact[];
  readonly approvals: readonly Fact[];
  readonly decisions: readonly Fact[];
  readonly results: readonly Fact[];
  /** The first programs, changed files and connections. */
  readonly effects: readonly Fact[];
  readonly effectCount: number;
  readonly findings: readonly Finding[];
}

export interface TriageFinding {
  readonly finding: Finding;
  readonly evidence: readonly Fact[];
}

/** What does not stand in the packet although it is there. */
export interface LeftOut {
  readonly what: string;
  readonly count: number;
}

export interface Triage {
  readonly data: SessionData;
  readonly story: Story;
  readonly focus: readonly Fact[];
  readonly request: readonly Fact[];
  readonly calls: readonly TriageCall[];
  readonly networkDecisions: readonly Fact[];
  readonly network: readonly Destination[];
  readonly agents: readonly Agent[];
  readonly findings: readonly TriageFinding[];
  readonly coverage: Coverage;
  readonly leftOut: readonly LeftOut[];
}

interface Made {
  readonly assessment: Assessment;
  readonly proofs: Proofs;
  readonly leftOut: Map<string, number>;
}

/** The first `max` of a list; the rest is counted. */
function bounded<T>(made: Made, what: string, list: readonly T[], max: number): readonly T[] {
  const more = list.length - max;
  if (more > 0) made.leftOut.set(what, (made.leftOut.get(what) ?? 0) + more);
  return more > 0 ? list.slice(0, max) : list;
}

const factsOf = (made: Made, events: readonly FlatEvent[]): Fact[] =>
  events.map((event) => ({ event, proof: made.proofs.of(event) }));

const eventsOf = ({ assessment }: Made, ids: readonly string[]): FlatEvent[] =>
  ids.flatMap((id) => assessment.analysis.byId.get(id) ?? []);

const callsIn = (story: Story): CallItem[] =>
  [...story.before, ...story.turns.flatMap(({ items }) => items)].filter(
    (item) => item.type === 'call',
  );

/** Of a call's effects those that tell most: a program's start, a change, a connection; once each. */
function telling(events: readonly FlatEvent[]): FlatEvent[] {
  const seen = new Set<string>();
  return events.filter((event) => {
    const role = roleOf(event);
    if (role !== 'effect' && role !== 'process_start') return false;
    if (event.file_op === 'read') return false;
    const what = event.file_path ?? event.net_host ?? event.net_ip ?? event.argv?.join(' ') ?? '';
    const key = `${event.kind} ${event.file_op ?? ''} ${what}`;
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
}

function triageCall(
  made: Made,
  item: CallItem,
  findings: readonly Finding[],
  focus: ReadonlySet<string>,
): TriageCall {
  const { analysis } = made.assessment;
  const { call } = item;
  const max = TRIAGE_MAX.factsOfCall;
  const some = (what: string, events: readonly FlatEvent[]) =>
    factsOf(made, bounded(made, what, events, max));
  const events = eventsOf(made, call.eventIds);
  const caused = analysis.causedBy.get(call.id) ?? [];
  const effects = telling(caused);
  const [first] = events;
  const agentId = first === undefined ? undefined : made.assessment.agents().of(first);
  return {
    item,
    ...(agentId === undefined ? {} : { agentId }),
    focus: focus.has(call.id),
    coverage: made.assessment.coverage().verdict(call.startedNs, call.endedNs ?? call.startedNs),
    said: some(
      'reports of calls',
      events.filter((event) => roleOf(event) === 'call'),
    ),
    results: some(
      'results of calls',
      events.filter((event) => roleOf(event) === 'result'),
    ),
    approvals: some('approvals', item.approvals),
    decisions: some('decisions on calls', item.decisions),
    effects: some('effects of calls', effects),
    effectCount: caused.length,
    findings: bounded(made, 'findings of calls', findings, max),
  };
}

const WEIGHT = { high: 300, medium: 200, info: 0 } as const;

/** The calls that matter most, in the order of time. */
function chosen(
  made: Made,
  calls: readonly CallItem[],
  byCall: ReadonlyMap<string, readonly Finding[]>,
  focus: ReadonlySet<string>,
): CallItem[] {
  const weight = ({ call, approvals, decisions }: CallItem): number => {
    const gravest = (byCall.get(call.id) ?? []).map(({ severity }) => WEIGHT[severity]);
    const judged = approvals.length + decisions.length > 0 ? 50 : 0;
    const failed = call.outcome === 'denied' ? 100 : call.outcome === 'success' ? 0 : 20;
    return (focus.has(call.id) ? 1000 : 0) + Math.max(0, ...gravest) + judged + failed;
  };
  const sorted = calls.map((item, at) => ({ item, at, weight: weight(item) }));
  sorted.sort((a, b) => b.weight - a.weight || a.at - b.at);
  return bounded(made, 'calls', sorted, TRIAGE_MAX.calls)
    .toSorted((a, b) => a.at - b.at)
    .map(({ item }) => item);
}

/** Prompts: the first of the session, and of the turns that the chosen calls are of. */
function requestOf(made: Made, story: Story, calls: readonly CallItem[]): readonly Fact[] {
  const ids = new Set(calls.map(({ call }) => call.id));
  const prompts = story.turns.flatMap(({ turn, prompts: all }, at) => {
    const best = all.find((event) => event.prompt !== undefined) ?? all[0];
    const wanted = at === 0 || turn.callIds.some((id) => ids.has(id));
    return best === undefined ? [] : [{ best, wanted }];
  });
  const wanted = prompts.filter((prompt) => prompt.wanted);
  const other = prompts.length - wanted.length;
  if (other > 0) made.leftOut.set('prompts', other);
  return factsOf(
    made,
    bounded(made, 'prompts', wanted, TRIAGE_MAX.prompts).map(({ best }) => best),
  );
}

/** The calls that events belong to, or that they are of. */
function callsOf({ analysis }: Assessment, ids: readonly string[]): Set<string> {
  return new Set(
    ids.flatMap((id) => {
      const call = analysis.byId.get(id)?.tool_call_id;
      return call ?? analysis.attribution.get(id)?.toolCallId ?? [];
    }),
  );
}

function groupedByCall(findings: readonly Finding[]): Map<string, Finding[]> {
  const byCall = new Map<string, Finding[]>();
  for (const finding of findings) {
    if (finding.callId === undefined) continue;
    const list = byCall.get(finding.callId);
    if (list === undefined) byCall.set(finding.callId, [finding]);
    else list.push(finding);
  }
  return byCall;
}

const grave = ({ denied, madeThoughDenied }: Destination): number =>
  (madeThoughDenied ? 2 : 0) + (denied > 0 ? 1 : 0);

/**
 * Puts the packet together. `focus`: ids of the events that an alert is about; without any the
 * packet is about the whole session. `assessment` and `story` are of `data`.
 */
export function buildTriage(
  data: SessionData,
  assessment: Assessment,
  story: Story,
  focus: readonly string[] = [],
): Triage {
  const { events } = assessment.analysis;
  const made: Made = {
    assessment,
    proofs: proofsOf(events, data.streams),
    leftOut: new Map(),
  };
  const inFocus = callsOf(assessment, focus);
  const byCall = groupedByCall(story.findings);
  const calls = chosen(made, callsIn(story), byCall, inFocus);
  const rules = events.filter(
    (event) => roleOf(event) === 'policy' && (event.net_host ?? event.net_ip) !== undefined,
  );
  // Denials first: an allowed host says less.
  rules.sort((a, b) => Number(a.decision !== 'deny') - Number(b.decision !== 'deny'));
  const network = [...assessment.network()].sort((a, b) => grave(b) - grave(a));
  const whole = assessment.coverage().of(events[0]?.ts ?? '0', events.at(-1)?.ts ?? '0');
  const { losses } = whole;
  return {
    data,
    story,
    focus: factsOf(made, eventsOf(made, focus)),
    request: requestOf(made, story, calls),
    calls: calls.map((item) => triageCall(made, item, byCall.get(item.call.id) ?? [], inFocus)),
    networkDecisions: factsOf(
      made,
      bounded(made, 'network decisions', rules, TRIAGE_MAX.networkDecisions),
    ),
    network: bounded(made, 'destinations', network, TRIAGE_MAX.destinations),
    agents: bounded(made, 'agents', assessment.agents().list, TRIAGE_MAX.agents),
    findings: bounded(made, 'findings', story.findings, TRIAGE_MAX.findings).map((finding) => ({
      finding,
      evidence: factsOf(
        made,
        eventsOf(made, finding.eventIds.slice(0, TRIAGE_MAX.evidenceOfFinding)),
      ),
    })),
    coverage: { ...whole, losses: bounded(made, 'losses', losses, TRIAGE_MAX.losses) },
    leftOut: [...made.leftOut].map(([what, count]) => ({ what, count })),
  };
}

/** The ids of all events that a packet shows, once each. */
export const shownIn = ({
  focus,
  request,
  calls,
  networkDecisions,
  findings,
}: Triage): Set<string> =>
  new Set(
    [
      ...focus,
      ...request,
      ...networkDecisions,
      ...calls.flatMap((call) => [
        ...call.said,
        ...call.approvals,
        ...call.decisions,
        ...call.results,
        ...call.effects,
      ]),
      ...findings.flatMap(({ evidence }) => evidence),
    ].map(({ event }) => eventId(event)),
  );
