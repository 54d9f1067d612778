/** How good the evidence is: which sensors covered a stream, and how its events came to be known. */
import { ASSURANCES } from '../fields.ts';
import { EVENTS, isCount, type Place } from './format.ts';
import type { JsonObject } from './json.ts';

/** From worst to best. */
export const LEVELS = ['none', 'agent-only', 'partial', 'full'] as const;
export type Level = (typeof LEVELS)[number];
/** Rungs of sensors that see the kernel; the fourth is the agent's own channels. */
const KERNEL_RUNG_MAX = 3;

export type Counts = Readonly<Record<(typeof ASSURANCES)[number], number>>;

export interface StreamAssurance {
  readonly level: Level;
  readonly first: Place | undefined;
  readonly counts: Counts;
  /** `sensor` events by what they say. */
  readonly coverage: Readonly<Record<'complete' | 'partial' | 'none', number>>;
  readonly gaps: number;
}

/** Collects what the events of one stream say of their sensors. */
export function createAssurance(stream: string) {
  const counts = Object.fromEntries(ASSURANCES.map((name) => [name, 0])) as Record<string, number>;
  const coverage: Record<string, number> = { complete: 0, partial: 0, none: 0 };
  let gaps = 0;
  let kernelSaw = false;
  let kernelSawAll = false;
  let began: Place | undefined;
  let lowered: Place | undefined;

  const placeOf = (seq: number, line: number, code: string, what: string): Place => ({
    code,
    file: EVENTS,
    line,
    stream_id: stream,
    first_seq: seq,
    last_seq: seq,
    what,
  });

  function addSensor(event: JsonObject, seq: number, line: number): void {
    const { coverage: covers, sensor_rung: rung } = event;
    const word = covers === 'complete' || covers === 'partial' ? covers : 'none';
    coverage[word] = (coverage[word] as number) + 1;
    if (isCount(rung) && rung >= 1 && rung <= KERNEL_RUNG_MAX && word !== 'none') {
      kernelSaw = true;
      if (word === 'complete') kernelSawAll = true;
    }
    if (covers !== 'complete')
      lowered ??= placeOf(seq, line, 'coverage', 'a sensor or channel did not cover all');
  }

  return {
    /** Takes an event of the stream. */
    add(event: JsonObject, seq: number, line: number): void {
      const what = 'no kernel sensor covered the stream';
      began ??= placeOf(seq, line, 'no_kernel_sensor', what);
      const how = event.assurance;
      if (typeof how === 'string' && Object.hasOwn(counts, how))
        counts[how] = (counts[how] as number) + 1;
      if (event.kind === 'sensor') addSensor(event, seq, line);
      else if (event.kind === 'gap') {
        gaps++;
        lowered ??= placeOf(seq, line, 'gap', 'events were declared lost');
      }
    },
    result(): StreamAssurance {
      const rest = { counts: counts as Counts, coverage: coverage as never, gaps };
      if (!kernelSaw)
        return { level: counts.reported === 0 ? 'none' : 'agent-only', first: began, ...rest };
      if (lowered === undefined && kernelSawAll)
        return { level: 'full', first: undefined, ...rest };
      return { level: 'partial', first: lowered, ...rest };
    },
  };
}
