/**
 * CPU time of the worker for each event, the engine left out: frame bytes -> decode -> sequence ->
 * encoded insert. Beside it, in the same run: the reference decoder (parse, validate, encode again,
 * compare), the same without the canonical check, and what the engine itself costs for a row.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { canonical, decode, type Store, validate } from '#schemas';
import { nativeBlock } from '../../../deploy/stores/native.ts';
import { createIngest } from '../../../ingest/loop.ts';
import type { Batch } from '../../../ingest/outcome.ts';
import { fakeClock, fakeLog, fakeMeter, fakeRandom } from '../../fakes/ports.ts';
import { framesOf, madeSession, type Recorded } from '../workload.ts';
import { ceilingOf, encoded } from './engine.ts';
import { cpuMicrosEach, median, round, say } from './measure.ts';

const SESSIONS = 40;
const EVENTS_EACH = 1000;
const ROUNDS = 5;
const CEILING_SECONDS = 4;
const BATCH_FRAMES = 128;
const never = new AbortController().signal;

function batchesOf(frames: readonly Buffer[]): Batch[] {
  const batches: Batch[] = [];
  for (let at = 0; at < frames.length; at += BATCH_FRAMES) {
    const some = frames.slice(at, at + BATCH_FRAMES);
    const named = some.map((bytes, i) => ({ bytes, origin: `t/0/${at + i}` }));
    batches.push({ name: `t/0/${at}`, frames: named });
  }
  return batches;
}

/** Encodes what it is given, as the real stores do, and keeps nothing. */
const encodingStore = (): Store => ({
  query: async () => [],
  columns: async () => ({}),
  stream: async function* () {},
  insert: async ({ lines }) => {
    if (nativeBlock(lines) === undefined) throw new Error('not taken by the fast road');
  },
  command: async () => {},
  ping: async () => {},
  close: async () => {},
});

async function work(batches: readonly Batch[], events: number): Promise<void> {
  const ports = { log: fakeLog(), meter: fakeMeter(), clock: fakeClock(), random: fakeRandom() };
  const ingest = createIngest({ store: encodingStore(), ...ports });
  let stored = 0;
  for (const batch of batches) stored += (await ingest.take(batch, never)).stored;
  if (stored !== events) throw new Error(`${stored} of ${events} events were stored`);
}

function each(lines: readonly Buffer[], good: (line: string) => boolean): void {
  for (const line of lines) if (!good(line.toString('utf8'))) throw new Error('refused');
}

export async function cpu(): Promise<object> {
  const sessions: Recorded[] = [];
  for (let n = 0; n < SESSIONS; n++) sessions.push(await madeSession(1, n, EVENTS_EACH));
  const lines = sessions.flatMap((session) => session.lines);
  const frames = framesOf(sessions);
  const batches = batchesOf(frames);
  const bytes = lines.reduce((sum, line) => sum + line.length, 0);
  say(`${lines.length} events of ${round(bytes / lines.length, 0)} bytes, ${ROUNDS} rounds`);
  const series = {
    reference: () => each(lines, (line) => decode(line).ok),
    unchecked: () => each(lines, (line) => validate(JSON.parse(line)).ok),
    worker: () => work(batches, lines.length),
  };
  const found = { reference: [], unchecked: [], worker: [] } as Record<string, number[]>;
  const order = ['reference', 'unchecked', 'worker', 'worker', 'unchecked', 'reference'] as const;
  for (let i = 0; i <= ROUNDS; i++)
    for (const name of order) {
      const micros = await cpuMicrosEach(lines.length, series[name]);
      // The first round warms up.
      if (i > 0) (found[name] as number[]).push(micros);
    }
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-ceiling-'));
  const ceiling = await ceilingOf(path.join(dir, 'store'), encoded(sessions), CEILING_SECONDS);
  fs.rmSync(dir, { recursive: true, force: true });
  const [reference, unchecked, worker] = ['reference', 'unchecked', 'worker'].map((name) =>
    median(found[name] as number[]),
  ) as [number, number, number];
  const sample = lines[0]?.toString() ?? '';
  if (canonical(JSON.parse(sample)) !== sample) throw new Error('the workload is not canonical');
  return {
    bytesPerEvent: round(bytes / lines.length, 0),
    workerMicros: round(worker),
    workerEventsPerSecondACore: Math.round(1e6 / worker),
    referenceDecodeMicros: round(reference),
    uncheckedDecodeMicros: round(unchecked),
    engineMicros: round(ceiling.cpuMicrosPerRow),
    engineRowsPerSecond: Math.round(ceiling.rowsPerSecond),
    ratioToEngine: round(1e6 / worker / ceiling.rowsPerSecond, 2),
    workerOfUnchecked: round(worker / unchecked, 2),
  };
}
