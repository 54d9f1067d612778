/** The order of question, answer and deed: after a no, before a yes, or without either. */
import { eventId } from '#schemas';
import type { Analysis } from '../analyse.ts';
import { type FlatEvent, isSeen, roleOf } from '../view.ts';
import { before, brief, type Drift, isDenial } from './finding.ts';
import type { Review } from './review.ts';

/** The first thing that the kernel saw of a call, where it started no program: a file, a connection. */
function firstEffect(analysis: Analysis, callId: string): FlatEvent | undefined {
  return (analysis.causedBy.get(callId) ?? []).find(
    (event) =>
      isSeen(event) &&
      event.outcome !== 'failure' &&
      (event.net_op === 'connect' || (event.file_path !== undefined && event.file_op !== 'read')),
  );
}

/** When a call did something: its programs, or else its first effect. */
export function deedsOf(analysis: Analysis, review: Review) {
  const programs = review.executions.map(({ ns, eventId: id, command }) => ({ ns, id, command }));
  if (programs.length > 0) return { deeds: programs, pct: 90 };
  const effect = firstEffect(analysis, review.callId);
  if (effect === undefined) return { deeds: [], pct: 0 };
  const id = eventId(effect);
  const command = effect.file_path ?? effect.net_host ?? effect.net_ip ?? '';
  const pct = Math.min(85, analysis.attribution.get(id)?.confidencePct ?? 50);
  return { deeds: [{ ns: effect.ts, id, command }], pct };
}

/** What was done after a no, before a yes, or without either. */
export function* ofOrder(analysis: Analysis, review: Review): Generator<Drift> {
  const { callId, decisions, requests } = review;
  const { deeds, pct } = deedsOf(analysis, review);
  const last = decisions.at(-1);
  const [first] = deeds;
  if (first === undefined) return;
  const common = { callId, method: 'order', confidencePct: pct };
  if (last === undefined) {
    const [asked] = requests;
    const rule = review.rules.some(({ decision }) => decision === 'allow');
    if (asked === undefined || rule) return;
    yield {
      ...common,
      kind: 'not_approved',
      severity: 'high',
      text: `it was asked for approval, nobody gave it, and ran: ${brief(first.command)}`,
      ns: first.ns,
      eventIds: [eventId(asked), first.id],
    };
    return;
  }
  const late = deeds.filter(({ ns }) => ns >= before(last.ts));
  if (isDenial(last)) {
    const yes = decisions.findLast((one) => !isDenial(one));
    const refused = late.filter(({ ns }) => yes === undefined || ns > yes.ts || last.ts < ns);
    if (refused[0] !== undefined)
      yield {
        ...common,
        kind: 'denied_but_ran',
        severity: 'high',
        text: `it was refused, yet ran: ${brief(refused[0].command)}`,
        ns: refused[0].ns,
        eventIds: [eventId(last), ...refused.slice(0, 3).map(({ id }) => id)],
      };
  }
  const early = earlyDeed(analysis, review, deeds);
  if (early !== undefined)
    yield {
      ...common,
      kind: 'ran_undecided',
      severity: 'medium',
      text: `it ran before it was decided on: ${brief(early.command)}`,
      ns: early.ns,
      eventIds: [early.id, eventId(decisions[0] ?? last)],
      confidencePct: requests.length > 0 ? pct : Math.min(70, pct),
    };
}

interface Deed {
  readonly ns: string;
  readonly id: string;
  readonly command: string;
}

/**
 * Whether an answer was told in one breath with the call's result, as Gemini CLI does once the tool has
 * come back: then its time is not when it was decided, and nothing can be said of the order.
 */
function isToldWithResult(
  { callById, byId }: Analysis,
  callId: string,
  answer: FlatEvent,
): boolean {
  return (callById.get(callId)?.eventIds ?? []).some((id) => {
    const event = byId.get(id);
    return (
      event !== undefined &&
      roleOf(event) === 'result' &&
      event.ts === answer.ts &&
      event.source === answer.source &&
      event.stream_id === answer.stream_id
    );
  });
}

/**
 * What ran before the first answer. An agent may try a command in its sandbox first and ask for
 * more when that fails: then a first try that failed, without a question before it, is none.
 */
function earlyDeed(analysis: Analysis, review: Review, deeds: readonly Deed[]): Deed | undefined {
  const [answer] = review.decisions;
  const [deed] = deeds;
  if (answer === undefined || deed === undefined || deed.ns >= before(answer.ts)) return undefined;
  const asked = review.requests[0];
  if (asked !== undefined && asked.ts <= deed.ns) return deed;
  if (isToldWithResult(analysis, review.callId, answer)) return undefined;
  const tried = review.executions[0]?.process;
  const sandboxed = review.rules.some(({ decided_by: by }) => by === 'sandbox');
  const failed = tried?.exitSignal !== undefined || (tried?.exitCode ?? 0) !== 0 || sandboxed;
  if (failed || analysis.callById.get(review.callId)?.outcome === 'denied') return undefined;
  return deed;
}
