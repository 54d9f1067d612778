/**
 * What the rules' state costs in memory: sessions that live at the same time, each with an event a
 * second of the benchmark's workload, in simulated time. Events are decoded one by one and let go,
 * as a worker does, so that no text is shared that would not be shared there. The heap is measured
 * behind a forced collection, before the first event and behind the last.
 */
import v8 from 'node:v8';
import vm from 'node:vm';
import {
  createEngine,
  createRuleSet,
  createViews,
  decode,
  type Rule,
  type TelltaleEvent,
} from '#schemas';
import { cpuMicrosEach, round } from './ingest/measure.ts';
import { madeSession, withApprovals } from './workload.ts';

const TEMPLATES = 60;
const BATCH = 500;
const SECOND_NS = 1_000_000_000n;
const START_NS = 1_764_000_000_000_000_000n;
/** How far behind the newest event the engine is told that none will come any more. */
const LATENESS_NS = 600n * SECOND_NS;

v8.setFlagsFromString('--expose_gc');
const collect = vm.runInNewContext('gc') as () => void;

function heapBytes(): number {
  collect();
  collect();
  return process.memoryUsage().heapUsed;
}

/** The event of a template’s line as one of session `number`, at `timeNs`. */
function eventOf(line: string, number: number, timeNs: bigint): TelltaleEvent {
  const digits = number.toString(16).padStart(12, '0');
  const text = line
    .replace(/"(session_id|stream_id)":"([0-9a-f-]{24})[0-9a-f]{12}"/g, `"$1":"$2${digits}"`)
    .replace(/"(ts|observed_ts)":"[0-9]+"/g, `"$1":"${timeNs}"`);
  const decoded = decode(text);
  if (!decoded.ok) throw new Error('a line of the workload does not decode');
  return decoded.event;
}

/** The event of each session in one second; a template that is at its end has none. */
function* second(lines: readonly string[][], sessions: number, at: number) {
  const step = SECOND_NS / BigInt(sessions);
  for (let number = 0; number < sessions; number++) {
    const line = lines[number % lines.length]?.[at];
    if (line === undefined) continue;
    yield eventOf(line, number, START_NS + BigInt(at) * SECOND_NS + BigInt(number) * step);
  }
}

/**
 * Megabytes that the engine and its lineage hold, and the CPU time of both. With `approvals` each
 * tool call is asked for and decided, which opens a match of rules about approvals.
 */
export async function measureState(
  rules: readonly Rule[],
  sessions: number,
  seconds: number,
  approvals = false,
) {
  const change = approvals ? withApprovals : undefined;
  const recorded = await Promise.all(
    Array.from({ length: TEMPLATES }, (_, n) => madeSession(9, n, seconds, change)),
  );
  const lines = recorded.map((one) => one.lines.map((line) => line.toString()).slice(0, seconds));
  const set = createRuleSet(rules);
  // The index is made as kinds of events come; it is no state.
  const warm = createEngine(set, createViews());
  for (const at of lines[0]?.keys() ?? []) warm.add([...second(lines, TEMPLATES, at)]);
  const engine = createEngine(set, createViews());
  const before = heapBytes();
  let micros = 0;
  let count = 0;
  let raised = 0;
  const add = async (batch: TelltaleEvent[]) => {
    count += batch.length;
    micros += await cpuMicrosEach(1, () => {
      raised += engine.add(batch).raised.length;
    });
  };
  let advanceMicros = 0;
  for (let at = 0; at < seconds; at++) {
    let batch: TelltaleEvent[] = [];
    for (const event of second(lines, sessions, at)) {
      batch.push(event);
      if (batch.length < BATCH) continue;
      await add(batch);
      batch = [];
    }
    await add(batch);
    const timeNs = START_NS + BigInt(at) * SECOND_NS - LATENESS_NS;
    advanceMicros = await cpuMicrosEach(1, () => engine.advance(timeNs));
  }
  const bytes = heapBytes() - before;
  const { groups, hits, evicted } = engine.stats();
  return {
    rules: rules.length,
    sessions,
    events: count,
    state_mb: round(bytes / 1e6),
    bytes_a_session: Math.round(bytes / sessions),
    micros_an_event: round(micros / count, 2),
    advance_ms: round(advanceMicros / 1000),
    ...{ groups, hits, evicted, alerts: raised },
  };
}
