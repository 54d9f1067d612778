/**
 * Tool calls, merged from the several channels that report them.
 *
 * Each `call` and `result` event with one `tool_call_id` carries what one channel knew. For each
 * field the *first known* value in the order of the session is kept; a later, different value is a
 * contradiction that names both sources. What is no contradiction: a value that the source had cut
 * (`truncated`), JSON that only differs in layout or key order, and durations, which every channel
 * measures from another point.
 *
 * The exit code has a rule of its own, since agents misreport it (`success` is not the exit code):
 *
 *   1. the kernel: how the call's own root process ended (`settleExit`, once the tree is known);
 *   2. else the claim with the best assurance: verified, observed, reported, inferred;
 *   3. among equals the first.
 */
import { ASSURANCES, eventId, type TelltaleEvent } from '#schemas';
import { byTime, type FlatEvent, inOrder, roleOf, shiftNs } from './view.ts';

/** Who said so, and when. */
export interface Claim {
  readonly value: string;
  /** The channel or sensor: otlp, rollout, hook, seccomp. */
  readonly source: string;
  readonly eventId: string;
}

/** Two claims about one field that can't both be true. */
export interface Contradiction {
  readonly field: string;
  readonly kept: Claim;
  readonly other: Claim;
}

export interface ExitCode {
  readonly code: number;
  /** `kernel`: how the process ended. Otherwise what a channel said. */
  readonly from: 'kernel' | 'channel';
  readonly source: string;
  readonly eventId: string;
}

/** One tool call, as all channels together tell it. */
export interface ToolCall {
  readonly id: string;
  readonly turnId?: string;
  readonly tool?: string;
  readonly namespace?: string;
  readonly mcpServer?: string;
  readonly command?: string;
  readonly cwd?: string;
  readonly arguments?: string;
  readonly outcome?: string;
  readonly error?: string;
  readonly changes: readonly string[];
  readonly outputBytes?: number;
  readonly exitCode?: ExitCode;
  readonly exitSignal?: string;
  readonly durationNs?: number;
  readonly startedNs: string;
  /** When the last channel reported its end; absent while it runs, or if it never ended. */
  readonly endedNs?: string;
  /** Sources that reported it, sorted. */
  readonly channels: readonly string[];
  /** Events of the call and of its result, in order. */
  readonly eventIds: readonly string[];
  readonly contradictions: readonly Contradiction[];
}

type MergedField = 'tool' | 'mcp_server' | 'command' | 'cwd' | 'arguments' | 'outcome';
const MERGED: readonly MergedField[] = [
  'tool',
  'mcp_server',
  'command',
  'cwd',
  'arguments',
  'outcome',
];

/** JSON with sorted keys and no layout; text that is no JSON without outer blanks. */
export function normalText(text: string): string {
  const trimmed = text.trim();
  if (!trimmed.startsWith('{') && !trimmed.startsWith('[')) return trimmed;
  try {
    return JSON.stringify(JSON.parse(trimmed), (_key, value: unknown) =>
      typeof value === 'object' && value !== null && !Array.isArray(value)
        ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
        : value,
    );
  } catch {
    return trimmed;
  }
}

const claim = (event: FlatEvent, value: string): Claim => ({
  value,
  source: event.source,
  eventId: eventId(event),
});

/** All claims about one field in order, those of a cut value last; 'unknown' is not known. */
function claimsOf(events: readonly FlatEvent[], field: MergedField): FlatEvent[] {
  const known = events.filter((event) => {
    const value = event[field];
    return value !== undefined && value !== '' && !(field === 'outcome' && value === 'unknown');
  });
  const cut = (event: FlatEvent) => isCut(event, field);
  return [...known.filter((event) => !cut(event)), ...known.filter(cut)];
}

/** Whether this channel's value is only a part: cut by its source, or by the collector. */
function isCut(event: FlatEvent, field: string): boolean {
  const text = field === 'arguments' || field === 'command';
  const altered = event.altered?.some((what) => what.startsWith(`${field}:`)) ?? false;
  return altered || (text && event.truncated === true);
}

function mergeField(events: readonly FlatEvent[], field: MergedField, out: Contradiction[]) {
  const [first, ...rest] = claimsOf(events, field);
  if (first === undefined) return undefined;
  const value = String(first[field]);
  const seen = new Set([normalText(value)]);
  for (const event of rest) {
    const other = String(event[field]);
    const normal = normalText(other);
    if (seen.has(normal) || isCut(event, field) || isCut(first, field)) continue;
    seen.add(normal);
    out.push({ field, kept: claim(first, value), other: claim(event, other) });
  }
  return value;
}

function mergeExit(events: readonly FlatEvent[], out: Contradiction[]): ExitCode | undefined {
  const rank = (event: FlatEvent) => ASSURANCES.indexOf(event.assurance);
  const known = events.filter((event) => event.exit_code !== undefined);
  const best = [...known].sort((a, b) => rank(a) - rank(b) || byTime(a, b))[0];
  if (best?.exit_code === undefined) return undefined;
  const seen = new Set([best.exit_code]);
  for (const event of known) {
    if (event.exit_code === undefined || seen.has(event.exit_code)) continue;
    seen.add(event.exit_code);
    out.push({
      field: 'exit_code',
      kept: claim(best, String(best.exit_code)),
      other: claim(event, String(event.exit_code)),
    });
  }
  const { exit_code: code, source } = best;
  return { code, from: 'channel', source, eventId: eventId(best) };
}

const first = <K extends keyof FlatEvent>(events: readonly FlatEvent[], key: K) =>
  events.find((event) => event[key] !== undefined)?.[key];

function times(events: readonly FlatEvent[]) {
  const results = events.filter((event) => roleOf(event) === 'result');
  const starts = events.map((event) =>
    roleOf(event) === 'result' && event.duration_ns !== undefined
      ? shiftNs(event.ts, -BigInt(event.duration_ns))
      : event.ts,
  );
  const startedNs = starts.sort()[0] ?? '';
  const endedNs = results.reduce<string | undefined>(
    (max, { ts }) => (max === undefined || ts > max ? ts : max),
    undefined,
  );
  return { startedNs, endedNs };
}

/** Leaves the absent fields out, as `exactOptionalPropertyTypes` wants it. */
export function present<T extends object>(fields: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  // A loop: this runs several times for each event, and entries of objects cost an array each.
  const out: Record<string, unknown> = {};
  for (const name in fields) if (fields[name] !== undefined) out[name] = fields[name];
  return out as { [K in keyof T]: Exclude<T[K], undefined> };
}

function mergeOne(id: string, events: readonly FlatEvent[]): ToolCall {
  const contradictions: Contradiction[] = [];
  const merged: Partial<Record<MergedField, string>> = {};
  for (const field of MERGED) {
    const value = mergeField(events, field, contradictions);
    if (value !== undefined) merged[field] = value;
  }
  const exitCode = mergeExit(events, contradictions);
  const { startedNs, endedNs } = times(events);
  return {
    id,
    startedNs,
    changes: [...new Set(events.flatMap((event) => event.changes ?? []))],
    channels: [...new Set(events.map(({ source }) => source))].sort(),
    eventIds: events.map(eventId),
    contradictions,
    ...present({
      turnId: first(events, 'turn_id'),
      tool: merged.tool,
      namespace: first(events, 'tool_namespace'),
      mcpServer: merged.mcp_server,
      command: merged.command,
      cwd: merged.cwd,
      arguments: merged.arguments,
      outcome: merged.outcome,
      error: first(events, 'error'),
      outputBytes: first(events, 'output_bytes'),
      durationNs: first(events, 'duration_ns'),
      exitCode,
      endedNs,
    }),
  };
}

/** The session's tool calls, by start. Events of other roles, and those without a call, are left. */
export function mergeToolCalls(events: readonly TelltaleEvent[]): ToolCall[] {
  const byId = new Map<string, FlatEvent[]>();
  for (const event of inOrder(events)) {
    const role = roleOf(event);
    if ((role !== 'call' && role !== 'result') || event.tool_call_id === undefined) continue;
    const group = byId.get(event.tool_call_id);
    if (group === undefined) byId.set(event.tool_call_id, [event]);
    else group.push(event);
  }
  return [...byId]
    .map(([id, group]) => mergeOne(id, group))
    .sort((a, b) =>
      a.startedNs === b.startedNs ? (a.id < b.id ? -1 : 1) : a.startedNs < b.startedNs ? -1 : 1,
    );
}

/** How the kernel saw a call's root process end. */
export interface KernelExit {
  readonly code?: number;
  readonly signal?: string;
  readonly source: string;
  readonly eventId: string;
}

/** The call with the kernel's exit code put first; what a channel said instead is contradicted. */
export function settleExit(call: ToolCall, kernel: KernelExit | undefined): ToolCall {
  if (kernel === undefined) return call;
  const contradictions = [...call.contradictions];
  const { source, eventId: id } = kernel;
  const said = call.exitCode;
  // A shell reports a death by signal N as 128 + N; that is the same end, told otherwise. But
  // nothing that a signal ended has ended well.
  const ended = kernel.code === undefined ? kernel.signal : String(kernel.code);
  const differs = kernel.code === undefined ? said?.code === 0 : said?.code !== kernel.code;
  if (said !== undefined && ended !== undefined && differs) {
    contradictions.push({
      field: 'exit_code',
      kept: { value: ended, source, eventId: id },
      other: { value: String(said.code), source: said.source, eventId: said.eventId },
    });
  }
  const { exitCode: _replaced, ...rest } = call;
  return {
    ...rest,
    contradictions,
    ...(kernel.code === undefined
      ? present({ exitCode: said?.code === 0 ? undefined : said })
      : { exitCode: { code: kernel.code, from: 'kernel' as const, source, eventId: id } }),
    ...present({ exitSignal: kernel.signal }),
  };
}
