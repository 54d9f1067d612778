/**
 * All that can be asked about a session beyond its story: files, network, agents, approvals, drift,
 * claims, coverage. Each part is made when it is first asked for, and once.
 */
import type { TelltaleEvent } from '#schemas';
import { type Agents, agentsOf } from './agents.ts';
import { type Analysis, analyse } from './analyse.ts';
import { driftOf } from './approvals/drift.ts';
import type { Drift } from './approvals/finding.ts';
import { type Review, reviewsOf } from './approvals/review.ts';
import { type ClaimFinding, claimsOf } from './claims.ts';
import { type CoverageMap, coverageOf } from './coverage.ts';
import { buildFiles, type Files } from './files.ts';
import { type Destination, networkOf } from './network.ts';
import type { StreamVerdicts } from './story.ts';

export interface Assessment {
  readonly analysis: Analysis;
  readonly files: () => Files;
  readonly network: () => readonly Destination[];
  readonly agents: () => Agents;
  readonly reviews: () => readonly Review[];
  readonly drift: () => readonly Drift[];
  readonly coverage: () => CoverageMap;
  readonly claims: () => readonly ClaimFinding[];
}

function lazily<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

/** Assesses all events of a session; `streams` tell which numbers are missing. */
export function assess(
  events: readonly TelltaleEvent[],
  streams: readonly StreamVerdicts[],
): Assessment {
  const analysis = analyse(events);
  const files = lazily(() => buildFiles(analysis));
  const reviews = lazily(() => reviewsOf(analysis));
  const coverage = lazily(() => coverageOf(analysis.events, streams));
  return {
    analysis,
    files,
    reviews,
    coverage,
    network: lazily(() => networkOf(analysis)),
    agents: lazily(() => agentsOf(analysis.events)),
    drift: lazily(() => driftOf(analysis, files(), reviews())),
    claims: lazily(() => claimsOf(analysis, files(), coverage())),
  };
}
