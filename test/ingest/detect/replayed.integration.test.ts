/** Dead letters that are replayed go through the rules, however late: what they show is raised or withdrawn. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import {
  ALERT_STATES_TABLE,
  ALERTS_TABLE,
  DEAD_TABLE,
  encode,
  frame,
  type TelltaleEvent,
} from '#schemas';
import { createClock, systemRandom } from '../../../deploy/process/clock.ts';
import { createDetection, overWhole } from '../../../deploy/rules/detection.ts';
import { createIngest } from '../../../ingest/loop.ts';
import { deadLine } from '../../../ingest/outcome.ts';
import { createReplay } from '../../../ingest/replay.ts';
import { fakeLog, fakeMeter } from '../../fakes/ports.ts';
import { LIMITS, newStream, useEngine } from '../engine.ts';

const engine = useEngine();
const never = new AbortController().signal;
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-replayed-'));
fs.writeFileSync(
  path.join(dir, 'rules.yml'),
  `
title: The first, then the second
id: pair
level: low
language: eql
query: |
  sequence by session.id with maxspan=1h
    [file where file_path == "/first"]
    [file where file_path == "/second"]
---
title: Nobody cleans up
id: litter
level: low
language: eql
query: |
  sequence by session.id with maxspan=1h
    [file where file_path == "/second"]
    ![file where file_path == "/clean"]
`,
);
afterAll(() => fs.rmSync(dir, { recursive: true, force: true }));

const shared = () => {
  const ports = { log: fakeLog(), meter: fakeMeter(), clock: createClock() };
  return { store: engine.store, ...ports, random: systemRandom };
};
const detectionOf = (ports: ReturnType<typeof shared>) =>
  createDetection({ folders: [dir], fleetRules: false, queryUrl: () => '' }, ports);

async function take(events: readonly TelltaleEvent[]): Promise<void> {
  const ports = shared();
  const ingest = createIngest({ ...ports, detect: detectionOf(ports).detect });
  const frames = events.map((event) => ({ bytes: frame([event]), origin: `t/${event.seq}` }));
  await ingest.take({ name: 'replayed', frames }, never);
}

async function park(events: readonly TelltaleEvent[]): Promise<void> {
  const lines = events.map(({ tenant, session_id, stream_id, seq }, at) => {
    const id = { tenant, session_id, stream_id, seq };
    const why = { reason: 'unknown_kind', field: 'kind', detail: 'new' } as const;
    const bytes = encode(events[at] as TelltaleEvent);
    const origin = `telltale.events/0/${seq}/${seq}`;
    return `${deadLine({ ...id, ...why, bytes, origin }, Date.now())}\n`;
  });
  const one = { table: DEAD_TABLE, lines: Buffer.from(lines.join('')), rows: lines.length };
  await engine.store.insert({ ...one, dedupToken: 'parked', timeMs: 20_000 });
}

async function texts(sql: string, session: string): Promise<string[]> {
  const rows = await engine.store.query({ text: sql, params: { s: session } }, LIMITS);
  return rows.map(({ what }) => String(what));
}

describe('replayed dead letters', () => {
  it('are seen by the rules in their place', async () => {
    const stream = newStream();
    const at = (seq: number, file_path: string) =>
      stream.event(seq, { file_op: 'write', file_path } as object);
    await park([at(0, '/first'), at(3, '/clean')]);
    await take([at(1, '/other'), at(2, '/second')]);
    const session = stream.session_id;
    const raised = `SELECT rule_id AS what FROM ${ALERTS_TABLE}
      WHERE session_id = {s:UUID} ORDER BY what`;
    expect(await texts(raised, session)).toEqual(['litter']);

    const ports = shared();
    const detect = overWhole(detectionOf(ports).detect);
    const replay = createReplay({ ...ports, ingest: createIngest({ ...ports, detect }) });
    const counts = await replay.run({ session }, { dryRun: false }, never);
    expect(counts).toMatchObject([{ letters: 2, stored: 2 }]);
    expect(await texts(raised, session)).toEqual(['litter', 'pair']);
    const withdrawn = `SELECT a.rule_id AS what FROM ${ALERTS_TABLE} AS a
      JOIN ${ALERT_STATES_TABLE} AS s ON a.fingerprint = s.fingerprint
      WHERE a.session_id = {s:UUID} AND s.state = 'withdrawn'`;
    expect(await texts(withdrawn, session)).toEqual(['litter']);
  });
});
