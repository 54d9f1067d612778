/** A sealer over a real engine and a log on a real disk, with time in hand. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {
  createChain,
  digestOf,
  EVENTS_TABLE,
  encode,
  type Head,
  type Store,
  signerOf,
  type TelltaleEvent,
  validate,
} from '#schemas';
import { openLogFiles } from '../../../ingest/seal/files.ts';
import { openLog } from '../../../ingest/seal/log.ts';
import { createSealer, type SealSettings } from '../../../ingest/seal/sealer.ts';
import { walkHeads } from '../../../ingest/seal/walk.ts';
import type { WitnessClient } from '../../../ingest/seal/witnesses.ts';
import { type FakeClock, fakeClock, fakeLog, fakeMeter } from '../../fakes/ports.ts';
import { newStream } from '../engine.ts';

export const KEY = signerOf('example.com/log', 1, Buffer.alloc(32, 1));

/** A directory that is gone after the tests. */
export const temporary = (name: string): string =>
  fs.mkdtempSync(path.join(os.tmpdir(), `telltale-${name}-`));

/** Events of a new stream as a collector would have stamped them: open, work, heartbeats, close. */
export function session(plan: string, tenant = 'default'): TelltaleEvent[] {
  const stream = newStream(tenant);
  const chain = createChain(stream);
  const kinds: Record<string, object> = {
    o: {
      ...{ kind: 'session.open', schema_version: '2', command_args: ['sh'] },
      content_salt: '00112233445566778899aabbccddeeff',
    },
    h: { kind: 'session.heartbeat' },
    c: { kind: 'session.close', close_reason: 'exited' },
    f: {},
  };
  return [...plan].map((letter, seq) => {
    const point = 'hc'.includes(letter) ? { chain_count: seq, chain_head: chain.head } : {};
    const base = { source: 'collector', ...kinds[letter], ...point };
    const bare = letter === 'f' ? {} : { pid: undefined, file_op: undefined, file_path: undefined };
    const event = JSON.parse(JSON.stringify(stream.event(seq, { ...base, ...bare } as object)));
    const checked = validate(event);
    if (!checked.ok) throw new Error(JSON.stringify(checked));
    chain.push(digestOf(event));
    return event as TelltaleEvent;
  });
}

let inserts = 0;
/** Rows as ingest writes them; `atMs` stands for when that was. */
export async function insert(
  store: Store,
  events: readonly TelltaleEvent[],
  atMs?: number,
): Promise<void> {
  const rows = events.map((event) => {
    const line = encode(event).toString();
    return atMs === undefined
      ? line
      : `${line.slice(0, -1)},"ingested_at":"${new Date(atMs).toISOString().slice(0, -1)}"}`;
  });
  await store.insert({
    table: EVENTS_TABLE,
    lines: Buffer.from(`${rows.join('\n')}\n`),
    rows: rows.length,
    dedupToken: `seal-${process.pid}-${++inserts}`,
    timeMs: 30_000,
  });
}

export interface RigOptions {
  readonly store: Store;
  readonly dir: string;
  readonly clock?: FakeClock;
  readonly witnesses?: readonly WitnessClient[];
  readonly settings?: Partial<SealSettings>;
}

export async function rig({ store, dir, witnesses = [], settings, ...more }: RigOptions) {
  const files = await openLogFiles(dir);
  const writer = await openLog(files, KEY);
  const clock = more.clock ?? fakeClock(BigInt(Date.now()) * 1_000_000n);
  const [log, meter] = [fakeLog(), fakeMeter()];
  const sealer = createSealer({
    ...{ store, log, meter, clock, files, writer, witnesses },
    ...(settings === undefined ? {} : { settings }),
  });
  const heads = async (): Promise<Head[]> => {
    const found: Head[] = [];
    for await (const { head } of walkHeads(writer.head.size, files.read)) found.push(head);
    return found;
  };
  /** What the log holds of a session, as the numbers of its events. */
  const seqs = async (events: readonly TelltaleEvent[]) =>
    (await heads())
      .filter(({ stream_id }) => stream_id === events[0]?.stream_id)
      .map(({ seq }) => seq);
  const errors = () => log.lines.filter(({ level }) => level === 'error').map(({ event }) => event);
  return { files, writer, clock, log, meter, sealer, heads, seqs, errors };
}
