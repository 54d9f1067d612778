/** Bytes on disk for each event of recorded sessions, by column, with all indexes and checkpoints. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { EVENTS_TABLE, type Row, type Store } from '#schemas';
import { migrate } from '../../../deploy/migrate.ts';
import { openStore } from '../../../deploy/stores/open.ts';
import { fakeLog } from '../../fakes/ports.ts';
import { recordDrafts, steppingClock } from '../workload.ts';
import { INTEGRITY_COLUMNS } from './engine.ts';
import { round } from './measure.ts';
import { captured, type Source, sensed } from './recorded.ts';

const LIMITS = { timeMs: 60_000, memoryBytesMax: 4e9, rowsMax: 10_000 };
const COLUMNS_SHOWN = 24;
const STEP_NS = 20_000_003n;

async function insert(store: Store, sources: readonly Source[]) {
  let [events, wireBytes] = [0, 0];
  for (const [n, { drafts }] of sources.entries()) {
    const digits = (n + 1).toString(16).padStart(12, '0');
    const identity = {
      tenant: 'default',
      session_id: `0193a5e0-0000-7000-8000-${digits}`,
      stream_id: `0193a5e1-0000-7000-8000-${digits}`,
      agent: 'codex',
      host: 'worker-1',
      user: 'agent',
    };
    const start = BigInt(drafts[0]?.ts ?? '1764000000000000000');
    const { lines } = await recordDrafts(identity, drafts, steppingClock(start, STEP_NS));
    const bytes = Buffer.concat(lines.flatMap((line) => [line, Buffer.from('\n')]));
    const one = { table: EVENTS_TABLE, lines: bytes, rows: lines.length, timeMs: 60_000 };
    await store.insert({ ...one, dedupToken: String(n) });
    events += lines.length;
    wireBytes += bytes.length;
  }
  return { events, wireBytes };
}

async function measure(sources: readonly Source[]) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-storage-'));
  const store = await openStore(`chdb:${dir}`, { log: fakeLog() });
  const ask = (text: string): Promise<readonly Row[]> => store.query({ text, params: {} }, LIMITS);
  try {
    await migrate(store, { log: fakeLog() });
    // Only parts with a file a column say what each column has.
    await store.command(`ALTER TABLE ${EVENTS_TABLE} MODIFY SETTING min_bytes_for_wide_part = 0`);
    const { events, wireBytes } = await insert(store, sources);
    await store.command(`OPTIMIZE TABLE ${EVENTS_TABLE} FINAL`);
    const active = "WHERE active AND database = 'telltale' AND table = 'events'";
    const [total] = await ask(
      `SELECT sum(bytes_on_disk) AS bytes, sum(rows) AS rows, sum(marks_bytes) AS marks,
         sum(secondary_indices_compressed_bytes) AS indexes FROM system.parts ${active}`,
    );
    const columns = await ask(
      `SELECT column, sum(column_data_compressed_bytes) AS bytes FROM system.parts_columns
       ${active} GROUP BY column ORDER BY bytes DESC`,
    );
    if (Number(total?.rows) !== events) throw new Error(`${total?.rows} rows of ${events} events`);
    const each = (bytes: unknown) => round(Number(bytes) / events, 2);
    const ofColumn = (name: string) =>
      Number(columns.find(({ column }) => column === name)?.bytes ?? 0);
    return {
      events,
      wireBytes,
      diskBytes: Number(total?.bytes),
      bytesPerEvent: each(total?.bytes),
      indexes: each(total?.indexes),
      marks: each(total?.marks),
      integrity: each(INTEGRITY_COLUMNS.reduce((sum, name) => sum + ofColumn(name), 0)),
      columns: Object.fromEntries(
        columns.slice(0, COLUMNS_SHOWN).map(({ column, bytes }) => [column, each(bytes)]),
      ),
    };
  } finally {
    await store.close();
    fs.rmSync(dir, { recursive: true, force: true });
  }
}

export async function storage(): Promise<object> {
  const agents = captured();
  const kernel = await sensed();
  const raw = agents.reduce((sum, { rawBytes }) => sum + rawBytes, 0);
  const lean = agents.reduce((sum, { leanBytes }) => sum + leanBytes, 0);
  const ofAgents = agents.length === 0 ? undefined : await measure(agents);
  return {
    ...(ofAgents === undefined
      ? {}
      : {
          rawBytes: raw,
          ofRaw: round(ofAgents.diskBytes / raw, 4),
          leanBytes: lean,
          ofLean: round(ofAgents.diskBytes / lean, 4),
          agents: ofAgents,
        }),
    ...(kernel.length === 0 ? {} : { kernel: await measure(kernel) }),
  };
}
