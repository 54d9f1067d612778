/** Scope creep: more runs, other calls, other files or hosts than were approved. */
import { eventId } from '#schemas';
import type { Analysis } from '../analyse.ts';
import type { FlatEvent } from '../view.ts';
import { expect } from './command.ts';
import { before, brief, type Drift, isDenial } from './finding.ts';
import { type Execution, executionsLike, type Review, type Shown } from './review.ts';
import { beyond } from './scope.ts';

/** One call that did more than its approval names. */
export function* ofScope(analysis: Analysis, review: Review): Generator<Drift> {
  const { callId, executions } = review;
  const answer = review.decisions.findLast((one) => !isDenial(one));
  if (answer === undefined) return;
  const common = { callId, kind: 'scope_creep', severity: 'medium', method: 'scope' } as const;
  const runs = executions.filter(
    (one) => one.match === 'same' && one.ns >= before(answer.ts) && !isRetry(review, one),
  );
  if (answer.scope === 'once' && runs.length > 1 && runs[1] !== undefined)
    yield {
      ...common,
      text: `it was approved once and ran ${runs.length} times`,
      ns: runs[1].ns,
      eventIds: [eventId(answer), ...runs.slice(0, 4).map((one) => one.eventId)],
      confidencePct: 80,
    };
  const more = beyond(analysis, review).filter(({ event }) => event.ts >= before(answer.ts));
  const [first] = more;
  if (first !== undefined)
    yield {
      ...common,
      text: `the approval does not name what was touched: ${more
        .slice(0, 3)
        .map(({ what }) => brief(what))
        .join(', ')}${more.length > 3 ? ` and ${more.length - 3} more` : ''}`,
      ns: first.event.ts,
      eventIds: [eventId(answer), ...more.slice(0, 4).map(({ event }) => eventId(event))],
      confidencePct: first.confidencePct,
    };
}

/** A try that the sandbox stopped, after which the same is tried again. */
const isRetry = (review: Review, { process }: Execution): boolean =>
  review.rules.some(({ decided_by: by }) => by === 'sandbox') && (process.exitCode ?? 0) !== 0;

/** What was approved of one text, over all calls: the earliest of each sort of answer. */
interface Approved {
  readonly shown: Shown;
  once?: FlatEvent;
  /** For a session, for always, or by a configuration. */
  wider?: FlatEvent;
}

const isOnce = (one: FlatEvent): boolean => one.scope === 'once' && one.decided_by === 'user';

function approvedTexts(reviews: readonly Review[]): Map<string, Approved> {
  const byText = new Map<string, Approved>();
  for (const { shown, decisions } of reviews) {
    if (shown === undefined) continue;
    const known: Approved = byText.get(shown.expected.squeezed) ?? { shown };
    byText.set(shown.expected.squeezed, known);
    for (const one of decisions) {
      if (isDenial(one)) continue;
      const sort = isOnce(one) ? 'once' : 'wider';
      if (known[sort] === undefined || one.ts < known[sort].ts) known[sort] = one;
    }
  }
  return byText;
}

/** Calls that ran what was approved once, and for another call. */
export function* ofReuse(analysis: Analysis, reviews: readonly Review[]): Generator<Drift> {
  const reviewed = new Set(reviews.map(({ callId }) => callId));
  const byText = approvedTexts(reviews);
  for (const call of analysis.calls) {
    if (call.command === undefined || reviewed.has(call.id)) continue;
    const approved = byText.get(expect(call.command).squeezed);
    const answer = approved?.once;
    if (approved === undefined || answer === undefined || answer.ts > call.startedNs) continue;
    if (approved.wider !== undefined && approved.wider.ts <= call.startedNs) continue;
    const runs = executionsLike(analysis, call.id, approved.shown, call.cwd);
    const run = runs.find(({ match }) => match === 'same');
    if (run === undefined) continue;
    yield {
      kind: 'scope_creep',
      severity: 'medium',
      callId: call.id,
      method: 'scope',
      text: `it ran on an approval that was for one other call: ${brief(run.command)}`,
      ns: run.ns,
      eventIds: [eventId(answer), run.eventId],
      confidencePct: 70,
    };
  }
}
