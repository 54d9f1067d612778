/** What was shown for approval, against what the call asks for and what ran. */
import { createHash } from 'node:crypto';
import { eventId } from '#schemas';
import type { Analysis } from '../analyse.ts';
import { expect } from './command.ts';
import { approvedBy, brief, type Drift, isDenial } from './finding.ts';
import { callEvents, type Execution, type Review } from './review.ts';

/** Whether the shell's text differs, or the program: both of what was shown and of what ran. */
export function* ofCommand(analysis: Analysis, review: Review): Generator<Drift> {
  const { callId, shown, executions, call } = review;
  if (shown === undefined) return;
  const common = { callId, kind: 'other_command', severity: 'high', method: 'argv' } as const;
  const fits = executions.some(({ match }) => match === 'same' || match === 'part');
  const others = executions.filter(
    (one) => one.match === 'other' && !isOrphan(analysis, one, fits),
  );
  const other = others.find(({ ns }) => approvedBy(review, ns) !== undefined);
  if (other !== undefined) {
    yield {
      ...common,
      text: `approved was ${brief(shown.expected.text)}; ran: ${brief(other.command)}`,
      ns: other.ns,
      eventIds: [shown.eventId, ...others.slice(0, 3).map((one) => one.eventId)],
      confidencePct: fits ? 75 : 90,
    };
    return;
  }
  const asked = call?.command;
  if (shown.from !== 'approval' || asked === undefined || executions.length > 0) return;
  const { expected } = shown;
  if (expected.cut || expect(asked).squeezed === expected.squeezed) return;
  const event = callEvents(analysis, callId).find(({ command }) => command === asked);
  if (event === undefined || approvedBy(review, '9') === undefined) return;
  yield {
    ...common,
    severity: 'medium',
    text: `approved was ${brief(expected.text)}; the call asks for: ${brief(asked)}`,
    ns: event.ts,
    eventIds: [shown.eventId, eventId(event)],
    confidencePct: 60,
  };
}

/**
 * A program whose parent is not known, or gone, beside one that fits: it may well be a grandchild
 * of that one, which a process between them left behind.
 */
function isOrphan(analysis: Analysis, { process }: Execution, fits: boolean): boolean {
  const { parentId, startedNs } = process;
  const parent = parentId === undefined ? undefined : analysis.processes.byId.get(parentId);
  const gone = parent?.endedNs !== undefined && parent.endedNs <= startedNs;
  return fits && (parent === undefined || gone);
}

/** Arguments that changed between the answer and the run, as one and the same channel tells them. */
export function* ofArguments(analysis: Analysis, review: Review): Generator<Drift> {
  const answer = review.decisions.find((one) => !isDenial(one));
  if (answer === undefined) return;
  const told = callEvents(analysis, review.callId).filter(
    (event) => event.arguments !== undefined && event.truncated !== true,
  );
  const earlier = told.findLast(({ ts }) => ts <= answer.ts);
  const later = told.find(
    (event) =>
      event.ts > answer.ts &&
      event.source === earlier?.source &&
      event.arguments !== earlier.arguments,
  );
  if (earlier === undefined || later === undefined) return;
  yield {
    kind: 'other_command',
    severity: 'high',
    callId: review.callId,
    method: 'arguments',
    text: 'the arguments of the call changed after it was approved',
    ns: later.ts,
    eventIds: [eventId(answer), eventId(earlier), eventId(later)],
    confidencePct: 85,
  };
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

/** What an approval's hash may be of: the text that was shown, as this agent shows it. */
export function* ofHash(analysis: Analysis, reviews: readonly Review[]): Generator<Drift> {
  const judged = reviews.flatMap((review) =>
    review.decisions.flatMap((event) => {
      const { shown_sha256: hash } = event;
      if (hash === undefined || isDenial(event)) return [];
      const told = callEvents(analysis, review.callId).flatMap((one) => [
        one.command,
        one.arguments,
      ]);
      const texts = [event.command, ...told].flatMap((text) => text ?? []);
      return [{ review, event, fits: texts.some((text) => sha256(text) === hash), texts }];
    }),
  );
  // How an agent makes its hash is its own matter: only where some fit does another mean something.
  const known = new Set(judged.filter(({ fits }) => fits).map(({ event }) => event.source));
  for (const { review, event, fits, texts } of judged)
    if (!fits && texts.length > 0 && known.has(event.source))
      yield {
        kind: 'other_command',
        severity: 'high',
        callId: review.callId,
        method: 'hash',
        text: `what was shown for approval is not what the call asks for: ${brief(texts[0] ?? '')}`,
        ns: event.ts,
        eventIds: [eventId(event), ...(review.call?.eventIds.slice(0, 2) ?? [])],
        confidencePct: 90,
      };
}
