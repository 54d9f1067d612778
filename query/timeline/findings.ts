/**
 * What does not fit: declared and undeclared loss, broken evidence, claims that contradict each
 * other or the kernel, refused things that happened, claimed things that did not.
 */
import { countRanges, eventId, provesChange } from '#schemas';
import { DRIFT_KINDS, type Drift } from './approvals/finding.ts';
import type { Assessment } from './assess.ts';
import type { Effects } from './effects.ts';
import { isBypass } from './egress.ts';
import { present, type ToolCall } from './merge.ts';
import { standing } from './parked.ts';
import type { CallItem, SessionData } from './story.ts';
import { type FlatEvent, kindsWith } from './view.ts';

export const FINDING_KINDS = [
  'tampered',
  'removed',
  'incomplete',
  'gap',
  'parked',
  'not_closed',
  'coverage',
  ...DRIFT_KINDS,
  'claim_unseen',
  'unclaimed',
  'bypass',
  'contradiction',
  'alert',
  'unattributed',
] as const;

export interface Finding {
  readonly kind: (typeof FINDING_KINDS)[number];
  readonly severity: 'high' | 'medium' | 'info';
  /** In words; may hold telemetry. */
  readonly text: string;
  readonly ns?: string;
  readonly callId?: string;
  readonly eventIds: readonly string[];
  /** By which comparison it was found, and how sure that is; absent where it is a plain fact. */
  readonly method?: string;
  readonly confidencePct?: number;
}

const GAPS = new Set(kindsWith('gap_reason'));
const ALERTS = new Set(kindsWith('alert_rule'));
/** So many names are told in one finding. */
const NAMES_MAX = 3;
/** So many events of one finding of what went round the proxy. */
const BYPASSES_MAX = 50;

const few = (names: readonly string[]): string =>
  names.length <= NAMES_MAX
    ? names.join(', ')
    : `${names.slice(0, NAMES_MAX).join(', ')} and ${names.length - NAMES_MAX} more`;

const many = (count: number, one: string, more = `${one}s`): string =>
  `${count} ${count === 1 ? one : more}`;

function* ofStreams(data: SessionData): Generator<Finding> {
  const { removal } = data;
  if (removal !== undefined)
    yield {
      kind: 'removed',
      severity: 'info',
      text: `retention removed ${many(
        removal.streams.reduce((sum, { events }) => sum + events, 0),
        'event',
      )} by the policy ${removal.policy}, after ${many(removal.days, 'day')}: nothing of this is lost`,
      eventIds: [],
    };
  for (const { streamId, completeness, integrity } of data.streams) {
    const where = data.streams.length === 1 ? '' : ` (stream ${streamId})`;
    const faults = integrity?.faults ?? [];
    for (const fault of faults.filter(({ kind }) => provesChange(kind)))
      yield {
        kind: 'tampered',
        severity: 'high',
        text: `integrity is broken at event ${fault.seq}: ${fault.what}${where}`,
        eventIds: [`${streamId}-${fault.seq}`],
      };
    if (completeness === undefined) continue;
    if (removal === undefined && completeness.unaccounted.length > 0)
      yield {
        kind: 'incomplete',
        severity: 'high',
        text: `${many(countRanges(completeness.unaccounted), 'event')} neither stored nor declared missing: ${few(completeness.unaccounted.map(([a, b]) => (a === b ? `${a}` : `${a} to ${b}`)))}${where}`,
        eventIds: [],
      };
    if (!completeness.closed)
      yield {
        kind: 'not_closed',
        severity: 'medium',
        text: `the stream is not closed: it still runs, or its end never arrived${where}`,
        eventIds: [],
      };
  }
  const letters = standing(data.deadLetters);
  if (letters.length > 0)
    yield {
      kind: 'parked',
      severity: 'high',
      text: `${many(letters.length, 'event')} could not be stored and ${letters.length === 1 ? 'is' : 'are'} parked: ${few([...new Set(letters.map(({ reason, field }) => (field === '' ? reason : `${reason} (${field})`)))])}`,
      eventIds: [],
    };
}

function gapText(event: FlatEvent): string {
  const { gap_count: count, gap_first_seq: first, gap_last_seq: last } = event;
  const size = count ?? (first === undefined || last === undefined ? undefined : last - first + 1);
  const what = size === undefined ? 'an unknown number of events' : many(size, 'event');
  const numbers = first === undefined || last === undefined ? '' : `, numbers ${first} to ${last}`;
  const from = event.sensor_name === undefined ? '' : ` from ${event.sensor_name}`;
  const why = event.reason === undefined ? '' : ` (${event.reason})`;
  return `${what}${from} lost: ${event.gap_reason}${numbers}${why}`;
}

function* ofEvents(events: readonly FlatEvent[]): Generator<Finding> {
  const coverage = new Map<string, FlatEvent>();
  for (const event of events) {
    const at = { ns: event.ts, eventIds: [eventId(event)] };
    if (GAPS.has(event.kind)) yield { kind: 'gap', severity: 'high', text: gapText(event), ...at };
    else if (ALERTS.has(event.kind))
      yield {
        kind: 'alert',
        severity: 'high',
        text: `${event.severity ?? ''} ${event.alert_rule ?? ''}${event.reason === undefined ? '' : `: ${event.reason}`}`,
        ...at,
      };
    else if (event.sensor_name !== undefined && event.coverage !== undefined)
      coverage.set(event.sensor_name, event);
  }
  for (const event of coverage.values()) {
    if (event.coverage === 'complete') continue;
    yield {
      kind: 'coverage',
      severity: 'medium',
      text: `sensor ${event.sensor_name} covers ${event.coverage === 'none' ? 'nothing' : 'only a part'}${event.reason === undefined ? '' : `: ${event.reason}`}`,
      ns: event.ts,
      eventIds: [eventId(event)],
    };
  }
}

/** Calls that are reported as refused, and of which no channel tells who decided. */
function* deniedButRan({ call, approvals, effects }: CallItem): Generator<Finding> {
  const denied = call.outcome === 'denied' && approvals.length === 0;
  const ran = effects.processes.filter(({ process }) => process.images.length > 0);
  if (denied && ran.length > 0)
    yield {
      kind: 'denied_but_ran',
      severity: 'high',
      text: `call ${nameOf(call)} was refused, yet ${many(ran.length, 'process', 'processes')} ran: ${few(ran.map(({ process }) => process.images.at(-1)?.argv.join(' ') ?? ''))}`,
      ns: call.startedNs,
      callId: call.id,
      eventIds: ran.map(({ process }) => process.id),
    };
}

/** Connections that were made although a rule had said no. */
function* deniedButConnected(effects: Effects, callId?: string): Generator<Finding> {
  for (const connection of effects.connections) {
    if (connection.op !== 'connect' || connection.error !== undefined) continue;
    if (connection.verdict?.decision !== 'deny' || !connection.verdict.enforced) continue;
    yield {
      kind: 'denied_but_ran',
      severity: 'high',
      text: `a connection to ${connection.host ?? connection.ip ?? ''} was made although it was denied`,
      ns: connection.firstNs,
      ...present({ callId }),
      eventIds: [connection.verdict.eventId],
    };
  }
}

/** Connections round the egress proxy, of one call and one decision together. */
function* bypasses({ events, attribution }: Assessment['analysis']): Generator<Finding> {
  const groups = new Map<string, FlatEvent[]>();
  for (const event of events) {
    if (!isBypass(event)) continue;
    const call = event.tool_call_id ?? attribution.get(eventId(event))?.toolCallId;
    const key = JSON.stringify([call ?? null, event.decision]);
    groups.set(key, [...(groups.get(key) ?? []), event]);
  }
  for (const [key, group] of groups) {
    const [callId, decision] = JSON.parse(key) as [string | null, string];
    // Looking a name up points datagram sockets at each of its addresses, without a word sent.
    const sent = group.some(({ attrs }) => attrs?.transport === 'tcp');
    const peers = [...new Set(group.map(({ net_host, net_ip }) => net_host ?? net_ip ?? ''))];
    const rules = [...new Set(group.flatMap(({ rule }) => rule ?? []))];
    const denied = decision === 'deny';
    yield {
      kind: 'bypass',
      severity: denied && sent ? 'high' : denied || sent ? 'medium' : 'info',
      text: `${callId === null ? '' : `call ${callId}: `}${many(group.length, 'connection')} went round the egress proxy, to ${few(peers)}; the policy would ${decision}${rules.length === 0 ? '' : ` (${few(rules)})`}, and nobody enforced it`,
      ns: group[0]?.ts ?? '',
      ...present({ callId: callId ?? undefined }),
      eventIds: group.slice(0, BYPASSES_MAX).map(eventId),
      method: 'egress',
      confidencePct: 95,
    };
  }
}

function* contradictions({ call }: CallItem): Generator<Finding> {
  for (const { field, kept, other } of call.contradictions)
    yield {
      kind: 'contradiction',
      severity: field === 'exit_code' || field === 'outcome' ? 'high' : 'medium',
      text: `call ${nameOf(call)}: ${field.replace('_', ' ')} is ${brief(kept.value)} by ${kept.source}, ${brief(other.value)} by ${other.source}`,
      ns: call.startedNs,
      callId: call.id,
      eventIds: [kept.eventId, other.eventId],
    };
  const { exitCode, outcome } = call;
  const told = call.contradictions.some(({ field }) => field === 'exit_code');
  if (!told && outcome === 'success' && exitCode !== undefined && exitCode.code !== 0)
    yield {
      kind: 'contradiction',
      severity: 'medium',
      text: `call ${nameOf(call)} is reported as a success, and its exit code is ${exitCode.code} by ${exitCode.source}`,
      ns: call.startedNs,
      callId: call.id,
      eventIds: [exitCode.eventId],
    };
}

const BRIEF_CHARS = 60;

/** The beginning of a text; at whole characters. */
function cut(text: string): string {
  const all = [...text.slice(0, BRIEF_CHARS * 2 + 2)];
  return all.length <= BRIEF_CHARS ? text : `${all.slice(0, BRIEF_CHARS).join('')}…`;
}

/** A value as it stands; quoted unless it is a plain word, so that its ends can be seen. */
const brief = (text: string): string =>
  /^[\w.-]+$/.test(text) && text.length <= BRIEF_CHARS ? text : JSON.stringify(cut(text));

/** A call for a reader: its id, and what it asked for. */
function nameOf(call: ToolCall): string {
  const asked = call.command ?? call.tool;
  return asked === undefined ? call.id : `${call.id} (${cut(asked)})`;
}

function* unattributedFinding(effects: Effects): Generator<Finding> {
  const { files, connections, processes } = effects;
  const programs = processes.filter(({ depth }) => depth > 0).length;
  const parts = [
    programs === 0 ? [] : many(programs, 'process', 'processes'),
    files.length === 0 ? [] : many(files.length, 'file'),
    connections.length === 0 ? [] : many(connections.length, 'connection'),
  ].flat();
  if (parts.length === 0) return;
  yield {
    kind: 'unattributed',
    severity: 'info',
    text: `belong to no tool call: ${parts.join(', ')}`,
    eventIds: [],
  };
}

const ORDER = { high: 0, medium: 1, info: 2 } as const;

/** A drift with the call that it is about, as a finding. */
const ofDrift = ({ text, callId, ...drift }: Drift): Finding => ({
  ...drift,
  callId,
  text: `call ${callId}: ${text}`,
});

/** All findings of a session, the gravest first, then by time. */
export function findingsOf(
  data: SessionData,
  assessment: Assessment,
  calls: readonly CallItem[],
  unattributed: Effects,
): Finding[] {
  const all: Finding[] = [
    ...ofStreams(data),
    ...ofEvents(assessment.analysis.events),
    ...assessment.drift().map(ofDrift),
    ...assessment.claims(),
    ...bypasses(assessment.analysis),
    ...calls.flatMap((item) => [
      ...deniedButRan(item),
      ...deniedButConnected(item.effects, item.call.id),
      ...contradictions(item),
    ]),
    ...deniedButConnected(unattributed),
    ...unattributedFinding(unattributed),
  ];
  return all.sort(
    (a, b) =>
      ORDER[a.severity] - ORDER[b.severity] ||
      ((a.ns ?? '') < (b.ns ?? '') ? -1 : (a.ns ?? '') > (b.ns ?? '') ? 1 : 0),
  );
}
