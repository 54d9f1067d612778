/** Which version of a policy was in force when, by what the recording and the rules themselves say. */
import { eventId } from '#schemas';
import type { Analysis } from '../analyse.ts';
import { type FlatEvent, roleOf } from '../view.ts';
import { before, brief, type Drift, isDenial } from './finding.ts';
import { deedsOf } from './order.ts';
import type { Review } from './review.ts';

/** A version that was seen in force. */
export interface PolicyState {
  readonly ns: string;
  readonly version: string;
  readonly eventId: string;
}

export interface Policies {
  /** The version in force at `ns`, for an approval that names this policy, or none. */
  at(policy: string | undefined, ns: string): PolicyState | undefined;
}

function lastBefore(states: readonly PolicyState[], ns: string): PolicyState | undefined {
  let low = 0;
  let high = states.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((states[middle] as PolicyState).ns <= ns) low = middle + 1;
    else high = middle;
  }
  return states[low - 1];
}

/** Reads the versions that the opening of streams and rules' decisions carry; `events` in order. */
export function policiesOf(events: readonly FlatEvent[]): Policies {
  const byName = new Map<string, PolicyState[]>();
  for (const event of events) {
    const { policy_version: version, policy = '' } = event;
    const role = roleOf(event);
    if (version === undefined || (role !== 'protocol' && role !== 'policy')) continue;
    const state = { ns: event.ts, version, eventId: eventId(event) };
    const list = byName.get(policy);
    if (list === undefined) byName.set(policy, [state]);
    else list.push(state);
  }
  const [only] = byName.size === 1 ? [...byName.values()] : [];
  return {
    at(policy, ns) {
      // Where one side does not name its policy, they can only be compared if there is just one.
      const states = byName.get(policy ?? '') ?? (policy === undefined ? only : byName.get(''));
      return states === undefined ? undefined : lastBefore(states, ns);
    },
  };
}

/** Approvals under another version than was in force then, or when it ran. */
export function* ofPolicy(
  policies: Policies,
  analysis: Analysis,
  review: Review,
): Generator<Drift> {
  const { deeds } = deedsOf(analysis, review);
  for (const answer of review.decisions) {
    const { policy, policy_version: version } = answer;
    if (version === undefined || isDenial(answer)) continue;
    const common = { callId: review.callId, severity: 'medium', method: 'policy' } as const;
    const then = policies.at(policy, answer.ts);
    if (then !== undefined && then.version !== version && then.ns <= before(answer.ts)) {
      yield {
        ...common,
        kind: 'wrong_policy',
        text: `it was approved under version ${brief(version)} of the policy while ${brief(then.version)} was in force`,
        ns: answer.ts,
        eventIds: [eventId(answer), then.eventId],
        confidencePct: 85,
      };
      return;
    }
    const deed = deeds.find(({ ns }) => ns >= before(answer.ts));
    const now = deed === undefined ? undefined : policies.at(policy, deed.ns);
    if (deed === undefined || now === undefined || now.version === version) continue;
    if (now.ns <= answer.ts) continue;
    yield {
      ...common,
      kind: 'stale_policy',
      text: `it was approved under version ${brief(version)} of the policy and ran under ${brief(now.version)}`,
      ns: deed.ns,
      eventIds: [eventId(answer), now.eventId, deed.id],
      confidencePct: 85,
    };
    return;
  }
}
