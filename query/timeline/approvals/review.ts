/**
 * An approval held against what ran: who was asked and decided what, the text that was shown, and
 * each program that the call started, compared with that text.
 */
import { eventId } from '#schemas';
import type { Analysis } from '../analyse.ts';
import { present, type ToolCall } from '../merge.ts';
import type { Process } from '../processes.ts';
import { type FlatEvent, roleOf } from '../view.ts';
import { compare, type Expected, expect } from './command.ts';
import { shellText } from './words.ts';

/** One program that a call started. */
export interface Execution {
  readonly process: Process;
  readonly ns: string;
  readonly eventId: string;
  readonly command: string;
  /** `unknown` where nobody knows what was shown. */
  readonly match: 'same' | 'part' | 'other' | 'unknown';
}

/** What was shown for approval. */
export interface Shown {
  readonly expected: Expected;
  readonly eventId: string;
  /** The approval's own text, or else the call's, as it was told by then. */
  readonly from: 'approval' | 'call';
}

/** All that is known of the approval of one call. */
export interface Review {
  readonly callId: string;
  readonly call?: ToolCall;
  /** Questions: `asked` approvals, and rules that decided to ask. */
  readonly requests: readonly FlatEvent[];
  /** Answers of a person, a hook, the configuration: approved, denied, cancelled. */
  readonly decisions: readonly FlatEvent[];
  /** Rules that allowed or denied it. */
  readonly rules: readonly FlatEvent[];
  readonly shown?: Shown;
  readonly executions: readonly Execution[];
  readonly cwd?: string;
}

/** Programs of one process, and processes of one call, that are compared: a bound on hostile sessions. */
const IMAGES_MAX = 8;
const COMPARED_MAX = 256;

const ASKS = new Set(['asked', 'ask']);

const isCut = (event: FlatEvent, field: string): boolean =>
  event.truncated === true ||
  (event.altered?.some((what) => what.startsWith(`${field}:`)) ?? false);

/** What was shown: the last text that an approval has, else what the call was by the first answer. */
function shownOf(analysis: Analysis, callId: string, approvals: readonly FlatEvent[]) {
  const told = approvals.filter(({ command }) => command !== undefined);
  const event = told.findLast((one) => !ASKS.has(one.decision ?? '')) ?? told.at(-1);
  const byNs = approvals.find((one) => !ASKS.has(one.decision ?? ''))?.ts ?? approvals[0]?.ts;
  const calls = callEvents(analysis, callId).filter(({ command }) => command !== undefined);
  const call = calls.findLast(({ ts }) => byNs !== undefined && ts <= byNs) ?? calls[0];
  const best = event ?? call;
  if (best?.command === undefined) return undefined;
  return {
    expected: expect(best.command, isCut(best, 'command')),
    eventId: eventId(best),
    from: event === undefined ? ('call' as const) : ('approval' as const),
  };
}

/** Events of a call that tell what it asks for, in order. */
export function callEvents(analysis: Analysis, callId: string): FlatEvent[] {
  const call = analysis.callById.get(callId);
  return (call?.eventIds ?? []).flatMap((id) => {
    const event = analysis.byId.get(id);
    return event === undefined || roleOf(event) !== 'call' ? [] : [event];
  });
}

/**
 * The program of a process to compare: the first that it ran. An agent's own launcher may stand
 * before it; a shell with other text may not, since that text is what ran.
 */
function executionOf(process: Process, shown: Shown | undefined, cwd?: string): Execution {
  const [first] = process.images;
  let match: Execution['match'] = 'unknown';
  // Without its arguments (they may be withheld or erased) a program can't be compared.
  if (shown !== undefined && (first?.argv.length ?? 0) > 0)
    for (const image of process.images.slice(0, IMAGES_MAX)) {
      const where = image.cwd ?? first?.cwd ?? cwd;
      match = compare(shown.expected, { ...image, ...present({ cwd: where }) });
      if (match !== 'other' || shellText(image.argv) !== undefined) break;
    }
  const told = process.images.at(-1);
  return {
    process,
    ns: first?.ns ?? process.startedNs,
    eventId: first?.eventId ?? process.id,
    command: told === undefined ? '' : told.argv.join(' ') || told.exe,
    match,
  };
}

/** Groups approvals and rules by the call that they are about, once a session. */
export function reviewsOf(analysis: Analysis): Review[] {
  const session = analysis.events.find((event) => event.command_args !== undefined);
  const reviews: Review[] = [];
  for (const [callId, caused] of analysis.causedBy) {
    if (callId === undefined) continue;
    const approvals = caused.filter((event) => roleOf(event) === 'approval');
    const rules = caused.filter((event) => roleOf(event) === 'policy');
    const asked = rules.filter(({ decision }) => ASKS.has(decision ?? ''));
    if (approvals.length === 0 && asked.length === 0) continue;
    const call = analysis.callById.get(callId);
    const shown = shownOf(analysis, callId, approvals);
    const cwd = call?.cwd ?? session?.cwd;
    reviews.push({
      callId,
      requests: [...approvals.filter(({ decision }) => ASKS.has(decision ?? '')), ...asked],
      decisions: approvals.filter(({ decision }) => !ASKS.has(decision ?? '')),
      rules: rules.filter(({ decision }) => !ASKS.has(decision ?? '')),
      executions: executionsLike(analysis, callId, shown, cwd),
      ...present({ call, shown, cwd }),
    });
  }
  return reviews;
}

/** The programs that a call started, compared with a text that was shown for it or for another. */
export function executionsLike(
  analysis: Analysis,
  callId: string,
  shown: Shown | undefined,
  cwd?: string,
): Execution[] {
  const roots = analysis.roots.get(callId) ?? [];
  return roots.map((process, at) =>
    executionOf(process, at < COMPARED_MAX ? shown : undefined, cwd),
  );
}
