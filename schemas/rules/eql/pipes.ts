/** `| head n` and `| tail n` behind a query, as a running state. */
import type { Firing } from '../rule.ts';
import type { Pipe } from './ast.ts';

/**
 * `advance` to this moment says that the events have ended: absences are certain then, and `tail`
 * gives what it kept. Live, nothing ends, which is why a rule with `tail` is not run live.
 */
export const END_OF_TIME_NS = 2n ** 63n - 1n;

/** A firing as it is saved: nanoseconds as text, because JSON has no such integers. */
export type SavedFiring = readonly [
  timeNs: string,
  key: readonly string[],
  events: readonly string[],
];

export const saveFiring = ({ timeNs, key, events }: Firing): SavedFiring => [
  String(timeNs),
  key,
  events,
];
export const loadFiring = ([timeNs, key, events]: SavedFiring): Firing => ({
  timeNs: BigInt(timeNs),
  key,
  events,
});

/** What one pipe remembers: how many passed a `head`, what a `tail` holds back. */
interface PipeState {
  passed: number;
  held: Firing[];
}

export interface SavedPipe {
  readonly passed: number;
  readonly held: readonly SavedFiring[];
}

export interface PipeChain {
  /** What comes out when `firings` go in. */
  push(firings: readonly Firing[]): readonly Firing[];
  /** What comes out because nothing more goes in. */
  end(): readonly Firing[];
  save(): readonly SavedPipe[];
  /** Firings that a `tail` holds. */
  held(): number;
}

/** Most queries have no pipes, and there are many states: one chain for all of them. */
const NO_PIPES: PipeChain = {
  push: (firings) => firings,
  end: () => [],
  save: () => [],
  held: () => 0,
};

/** Runs pipes in their order, from a fresh start or from what `save` gave. */
export function createPipes(pipes: readonly Pipe[], saved?: readonly SavedPipe[]): PipeChain {
  if (pipes.length === 0) return NO_PIPES;
  const states = pipes.map((_pipe, index): PipeState => {
    const from = saved?.[index];
    return { passed: from?.passed ?? 0, held: from?.held.map(loadFiring) ?? [] };
  });
  const through = (firings: readonly Firing[], from: number): readonly Firing[] => {
    let flow = firings;
    for (let index = from; index < pipes.length && flow.length > 0; index += 1) {
      const { name, count } = pipes[index] as Pipe;
      const state = states[index] as PipeState;
      if (name === 'head') {
        flow = flow.slice(0, Math.max(0, count - state.passed));
        state.passed += flow.length;
      } else {
        state.held = [...state.held, ...flow].slice(-count);
        flow = [];
      }
    }
    return flow;
  };
  return {
    push: (firings) => through(firings, 0),
    end: () => {
      let out: readonly Firing[] = [];
      states.forEach((state, index) => {
        const held = state.held;
        state.held = [];
        out = [...out, ...through(held, index + 1)];
      });
      return out;
    },
    save: () => states.map(({ passed, held }) => ({ passed, held: held.map(saveFiring) })),
    held: () => states.reduce((sum, { held }) => sum + held.length, 0),
  };
}
