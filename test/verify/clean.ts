/** Clean bundles of every sort, and the verdicts that each must get. */
import type { StreamPlan, WorldPlan } from './world.ts';

export interface CleanCase {
  readonly name: string;
  readonly plan: WorldPlan;
  readonly content?: 'none';
  readonly log?: false;
  readonly integrity: 'intact' | 'unverifiable';
  readonly completeness: 'complete' | 'declared' | 'open';
  readonly assurance: 'full' | 'partial' | 'agent-only' | 'none';
}

const stream = (more: Partial<StreamPlan> = {}): StreamPlan => ({
  events: 60,
  every: 12,
  close: true,
  sensor: 'full',
  // Kinds that say nothing of sensors or gaps; those are added by plan.
  ...more,
});
const others: readonly StreamPlan[] = [stream({ events: 20 })];
const good = { integrity: 'intact', completeness: 'complete', assurance: 'full' } as const;

export const CLEAN: readonly CleanCase[] = [
  { name: 'one stream', plan: { sessions: [[stream()], others] }, ...good },
  {
    name: 'two streams',
    plan: { sessions: [[stream(), stream({ events: 33 })], others] },
    ...good,
  },
  { name: 'erased payloads', plan: { sessions: [[stream()], others], erase: true }, ...good },
  { name: 'no content', content: 'none', plan: { sessions: [[stream()], others] }, ...good },
  {
    name: 'no content, some of it erased',
    content: 'none',
    plan: { sessions: [[stream()]], erase: true },
    ...good,
  },
  {
    name: 'a sensor that covered a part',
    plan: { sessions: [[stream({ sensor: 'partial' })]] },
    ...good,
    assurance: 'partial',
  },
  {
    name: 'agent channels only',
    plan: { sessions: [[stream({ sensor: 'none' })]] },
    ...good,
    assurance: 'agent-only',
  },
  {
    name: 'an old installation without a log',
    log: false,
    plan: { sessions: [[stream()]] },
    ...good,
    integrity: 'unverifiable',
  },
  {
    name: 'a declared gap',
    plan: { sessions: [[stream({ gap: true })], others] },
    integrity: 'unverifiable',
    completeness: 'declared',
    assurance: 'partial',
  },
  {
    name: 'a dead letter',
    plan: { sessions: [[stream()], others], dead: true },
    integrity: 'unverifiable',
    completeness: 'declared',
    assurance: 'full',
  },
  {
    name: 'a stream that was never closed, its last event a checkpoint',
    plan: { sessions: [[stream({ close: false })]] },
    ...good,
    completeness: 'open',
  },
  {
    name: 'a stream that was never closed, with a tail that nothing covers',
    plan: { sessions: [[stream({ close: false, events: 65 })]] },
    integrity: 'unverifiable',
    completeness: 'open',
    assurance: 'full',
  },
  {
    name: 'the shortest stream',
    plan: { sessions: [[stream({ events: 2, every: 50 })]] },
    ...good,
  },
];
