/**
 * What integrity costs behind the collector: the same rows into the same engine with the columns of
 * integrity and without them, in turn in one run. The worker's own share is nothing to measure: it
 * hashes no event. What stamping costs the collector is `npm run bench:integrity`.
 */
import fs from 'node:fs';
import path from 'node:path';
import { madeSession } from '../workload.ts';
import { ceilingOf, encoded, INTEGRITY_COLUMNS } from './engine.ts';
import { median, round, say } from './measure.ts';

const ROOT = path.resolve(import.meta.dirname, '../../..');
const SESSIONS = 20;
const EVENTS_EACH = 2000;

export async function integrity(seconds: number): Promise<object> {
  const sessions = [];
  for (let n = 0; n < SESSIONS; n++) sessions.push(await madeSession(0, n, EVENTS_EACH));
  const blocks = encoded(sessions);
  const found = { with: [] as number[], without: [] as number[] };
  const dirs: string[] = [];
  for (const name of ['with', 'without', 'without', 'with'] as const) {
    const dir = path.join(ROOT, `.cache/bench-integrity-${process.pid}-${dirs.length}`);
    dirs.push(dir);
    const left = name === 'with' ? [] : INTEGRITY_COLUMNS;
    const { cpuMicrosPerRow } = await ceilingOf(dir, blocks, seconds, left);
    found[name].push(cpuMicrosPerRow);
    say(`${name}: ${round(cpuMicrosPerRow)} us a row`);
  }
  for (const dir of dirs) fs.rmSync(dir, { recursive: true, force: true });
  const [whole, bare] = [median(found.with), median(found.without)];
  return {
    engineMicros: round(whole),
    withoutMicros: round(bare),
    share: round(1 - bare / whole, 3),
  };
}
