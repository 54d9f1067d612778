/** One run's lines: what they say goes to the session's scope, and what they lose is counted. */
import type { Draft, DraftOf } from '#schemas';
import { readJson } from '../json.ts';
import type { Sink } from '../sensors/seccomp.ts';
import type { FeedFact, FeedFormat } from './facts.ts';
import type { Scope } from './scope.ts';

export interface IntakeDeps {
  readonly format: FeedFormat;
  /** What every event of the feed itself has. */
  readonly own: () => Pick<DraftOf<'gap'>, 'ts' | 'source' | 'assurance' | 'sensor_name'>;
  readonly sink: Sink;
}

/** One run's state: where facts go at this moment, and what was counted. */
export function createIntake({ format, own, sink }: IntakeDeps) {
  const counts = { lines: 0, unread: 0 };
  let scope: Scope | undefined;
  let probe: Draft[] | undefined = [];
  const lossDraft = (fact: Extract<FeedFact, { what: 'loss' }>): Draft => ({
    ...{ kind: 'gap', ...own(), ts: fact.ts, gap_reason: 'sensor_overrun' },
    reason: `${fact.reason}; of the whole host, so how many are this session's is not known`,
    ...(fact.hostCount === undefined ? {} : { attrs: { host_events: String(fact.hostCount) } }),
  });
  const take = (line: unknown): readonly Draft[] => {
    counts.lines++;
    let fact: FeedFact | undefined;
    try {
      fact = format.read(typeof line === 'string' ? readJson(line) : line);
    } catch {
      fact = undefined;
    }
    if (fact === undefined) counts.unread++;
    if (fact === undefined || scope === undefined) return [];
    if (fact.what === 'loss') return [lossDraft(fact)];
    return scope.take(fact);
  };
  return {
    counts,
    probed: () => probe ?? [],
    scope: () => scope,
    follow(next: Scope, isProbe: boolean) {
      scope = next;
      probe = isProbe ? [] : undefined;
    },
    async lines(lines: readonly unknown[]) {
      const drafts = lines.flatMap(take);
      if (probe !== undefined) probe.push(...drafts);
      else if (drafts.length > 0) await sink(drafts);
    },
  };
}

export type Intake = ReturnType<typeof createIntake>;
