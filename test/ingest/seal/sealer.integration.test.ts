import fs from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import { createChain, digestOf, type Store, StoreError, type TelltaleEvent } from '#schemas';
import { sightings } from '../../../ingest/seal/heads.ts';
import { checkTree } from '../../../ingest/seal/walk.ts';
import { fakeClock } from '../../fakes/ports.ts';
import { useEngine } from '../engine.ts';
import { insert, rig, session, temporary } from './rig.ts';

const engine = useEngine();
const dirs: string[] = [];
const fresh = () => {
  dirs.push(temporary('sealer'));
  return dirs.at(-1) as string;
};
afterAll(() => {
  for (const dir of dirs) fs.rmSync(dir, { recursive: true, force: true });
});

const remove = ({ stream_id }: TelltaleEvent, what: string) =>
  engine.store.command(
    `ALTER TABLE telltale.events DELETE WHERE stream_id = '${stream_id}' AND ${what} SETTINGS mutations_sync = 1`,
  );

describe('the sealer, over a real engine', () => {
  it('puts open and close into the log as they are, and nothing twice', async () => {
    const { sealer, heads, seqs, files, writer, errors } = await rig({
      store: engine.store,
      dir: fresh(),
    });
    const events = session('offfhffc', 'tenant "one" — ü');
    await insert(engine.store, events);
    await sealer.round();
    expect(await seqs(events)).toEqual([0, 7]);
    const [open, close] = (await heads()).filter((one) => one.stream_id === events[0]?.stream_id);
    expect(open).toEqual({
      tenant: 'tenant "one" — ü',
      session_id: events[0]?.session_id,
      stream_id: events[0]?.stream_id,
      seq: 0,
      chain_count: 0,
      chain_head: createChain(events[0] as TelltaleEvent).head,
      event_digest: digestOf(events[0] as TelltaleEvent),
      final: false,
    });
    expect(close).toMatchObject({
      ...{ seq: 7, chain_count: 7, final: true },
      chain_head: (events[7] as { chain_head?: string }).chain_head,
      event_digest: digestOf(events[7] as TelltaleEvent),
    });
    const size = writer.head.size;
    for (let i = 0; i < 3; i++) expect(await sealer.round()).toMatchObject({ sealed: 0 });
    expect(writer.head.size).toBe(size);
    expect(await checkTree(writer.head, files.read)).toBeUndefined();
    expect(errors()).toEqual([]);
  });

  it('seals the newest heartbeat of a stream at most once a minute', async () => {
    const { sealer, seqs, clock } = await rig({ store: engine.store, dir: fresh() });
    const events = session('ofhfhfhfhfhc');
    await insert(engine.store, events.slice(0, 1));
    await sealer.round();
    await insert(engine.store, events.slice(1, 5));
    await sealer.round();
    expect(await seqs(events)).toEqual([0]);
    clock.advance(60_000);
    await sealer.round();
    expect(await seqs(events)).toEqual([0, 4]);
    await insert(engine.store, events.slice(5, 9), Number(clock.wallNs() / 1_000_000n));
    clock.advance(30_000);
    await sealer.round();
    expect(await seqs(events)).toEqual([0, 4]);
    clock.advance(31_000);
    await sealer.round();
    expect(await seqs(events)).toEqual([0, 4, 8]);
    await insert(engine.store, events.slice(9), Number(clock.wallNs() / 1_000_000n));
    await sealer.round();
    expect(await seqs(events)).toEqual([0, 4, 8, 11]);
  });

  it('does not wait with the heartbeat of a stream whose open is not there', async () => {
    const { sealer, seqs, errors } = await rig({ store: engine.store, dir: fresh() });
    const events = session('ofh');
    await insert(engine.store, events.slice(1));
    await sealer.round();
    expect(await seqs(events)).toEqual([2]);
    await insert(engine.store, events.slice(0, 1));
    await sealer.round();
    await sealer.round();
    expect(await seqs(events)).toEqual([2, 0]);
    expect(errors()).toEqual([]);
  });

  it('finds where it was from the log alone, and seals what came meanwhile', async () => {
    const dir = fresh();
    const clock = fakeClock(BigInt(Date.now()) * 1_000_000n);
    const first = await rig({ store: engine.store, dir, clock });
    const [a, b] = [session('offc'), session('ofhf')];
    await insert(engine.store, [...a, ...b]);
    await first.sealer.round();
    const size = first.writer.head.size;
    const late = session('oc');
    await insert(engine.store, late);
    const second = await rig({ store: engine.store, dir, clock });
    const round = await second.sealer.round();
    expect(round).toMatchObject({ sealed: 2 });
    expect(second.writer.head.size).toBe(size + 2);
    expect(await second.seqs(a)).toEqual([0, 3]);
    expect(await second.seqs(b)).toEqual([0]);
    expect(second.errors()).toEqual([]);
  });

  it('looks only as far back as it must after a restart', async () => {
    const dir = fresh();
    const start = Date.now();
    const first = await rig({ store: engine.store, dir });
    await insert(engine.store, session('oc'));
    await first.sealer.round();
    const second = await rig({ store: engine.store, dir });
    const asked: number[] = [];
    const watching: Store = {
      ...engine.store,
      stream: (sql, limits, signal) => {
        asked.push(Number(sql.params.since));
        return engine.store.stream(sql, limits, signal);
      },
    };
    const third = await rig({ store: watching, dir });
    await third.sealer.round();
    expect(asked[0]).toBeGreaterThan(start - 310_000);
    await second.sealer.round();
  });

  it('finds a row that becomes visible up to five minutes after its time, and no later', async () => {
    const { sealer, seqs, clock } = await rig({ store: engine.store, dir: fresh() });
    await sealer.round();
    clock.advance(120_000);
    const nowMs = Number(clock.wallNs() / 1_000_000n);
    const [late, later] = [session('oc'), session('oc')];
    await insert(engine.store, late, nowMs - 290_000);
    await insert(engine.store, later, nowMs - 900_000);
    await sealer.round();
    expect(await seqs(late)).toEqual([0, 1]);
    expect(await seqs(later)).toEqual([]);
  });

  it('reports another event at a sealed place, and logs it beside the first', async () => {
    const { sealer, heads, clock, log, meter } = await rig({ store: engine.store, dir: fresh() });
    const events = session('ofc');
    await insert(engine.store, events);
    await sealer.round();
    const forged = { ...(events[2] as object), close_reason: 'signalled' } as TelltaleEvent;
    const opened = { ...(events[0] as object), cwd: '/other' } as TelltaleEvent;
    await insert(engine.store, [forged, opened], Number(clock.wallNs() / 1_000_000n));
    expect(await sealer.round()).toMatchObject({ sealed: 2, contradictions: 2 });
    const mine = (await heads()).filter(({ stream_id }) => stream_id === events[0]?.stream_id);
    expect(mine.map(({ seq, event_digest }) => [seq, event_digest])).toEqual([
      [0, digestOf(events[0] as TelltaleEvent)],
      [2, digestOf(events[2] as TelltaleEvent)],
      [0, digestOf(opened)],
      [2, digestOf(forged)],
    ]);
    const said = log.lines.filter(({ event }) => event === 'seal.contradiction');
    expect(said).toHaveLength(2);
    expect(said[0]).toMatchObject({ level: 'error', fields: { stream_id: events[0]?.stream_id } });
    expect(meter.counts.get('telltale.seal.contradictions')).toBe(2);
    for (let i = 0; i < 3; i++)
      expect(await sealer.round()).toMatchObject({ sealed: 0, contradictions: 0 });
    // The tests after this one begin with a new log, which would say it again.
    await remove(events[0] as TelltaleEvent, 'seq >= 0');
  });

  it('reports a session that was put in the place of another one', async () => {
    const { sealer, heads, clock, errors } = await rig({ store: engine.store, dir: fresh() });
    const events = session('ofc');
    await insert(engine.store, events);
    await sealer.round();
    await remove(events[0] as TelltaleEvent, 'seq >= 0');
    clock.advance(2_000);
    const forged = events.map((event) => ({ ...event, host: 'other' }));
    await insert(engine.store, forged, Number(clock.wallNs() / 1_000_000n) - 500);
    expect(await sealer.round()).toMatchObject({ sealed: 2, contradictions: 2 });
    const mine = (await heads()).filter(({ stream_id }) => stream_id === events[0]?.stream_id);
    expect(mine.map(({ seq }) => seq)).toEqual([0, 2, 0, 2]);
    expect(errors()).toEqual(['seal.contradiction', 'seal.contradiction']);
    expect(await sealer.round()).toMatchObject({ sealed: 0, contradictions: 0 });
    await remove(events[0] as TelltaleEvent, 'seq >= 0');
  });

  it('takes no row that no collector made, and goes on', async () => {
    const { sealer, seqs, errors } = await rig({ store: engine.store, dir: fresh() });
    const [bad, good] = [session('oc'), session('oc')];
    const close = { ...(bad[1] as object), chain_head: 'not a hash' } as TelltaleEvent;
    await insert(engine.store, [bad[0] as TelltaleEvent, close, ...good]);
    for (let i = 0; i < 3; i++) await sealer.round();
    expect(await seqs(bad)).toEqual([0]);
    expect(await seqs(good)).toEqual([0, 1]);
    expect(errors()).toEqual(['seal.head_invalid']);
    await remove(bad[0] as TelltaleEvent, 'seq >= 0');
  });

  it('notices that a sealed head is gone when its stream goes on', async () => {
    const { sealer, seqs, clock, errors } = await rig({ store: engine.store, dir: fresh() });
    const events = session('ofhfhc');
    await insert(engine.store, events.slice(0, 3));
    await sealer.round();
    clock.advance(61_000);
    await sealer.round();
    expect(await seqs(events)).toEqual([0, 2]);
    await remove(events[0] as TelltaleEvent, 'seq = 2');
    await insert(engine.store, events.slice(3), Number(clock.wallNs() / 1_000_000n));
    await sealer.round();
    await sealer.round();
    expect(errors()).toEqual(['seal.head_missing']);
    expect(await seqs(events)).toEqual([0, 2, 5]);
  });

  it('goes on after the store was away, and after the disk was full', async () => {
    let [storeAway, diskFull] = [true, true];
    const flaky: Store = {
      ...engine.store,
      query: async (sql, limits, signal) => {
        if (storeAway) throw new StoreError({ code: 'unreachable', message: 'away' });
        return engine.store.query(sql, limits, signal);
      },
    };
    const { sealer, seqs, files } = await rig({ store: flaky, dir: fresh() });
    const write = files.write;
    Object.assign(files, {
      write: async (name: string, bytes: Uint8Array) => {
        if (diskFull) throw new Error('ENOSPC');
        await write(name, bytes);
      },
    });
    const events = session('ofc');
    await insert(engine.store, events);
    await expect(sealer.round()).rejects.toThrow('away');
    storeAway = false;
    await expect(sealer.round()).rejects.toThrow('ENOSPC');
    diskFull = false;
    await sealer.round();
    expect(await seqs(events)).toEqual([0, 2]);
  });

  it('runs by the clock until it is stopped', async () => {
    const { sealer, seqs, log } = await rig({ store: engine.store, dir: fresh() });
    const events = session('oc');
    await insert(engine.store, events);
    await sealer.start();
    while ((await seqs(events)).length < 2) await new Promise((done) => setTimeout(done, 20));
    await sealer.stop();
    await sealer.stop();
    expect(log.lines.filter(({ level }) => level === 'error' || level === 'warn')).toEqual([]);
  });

  it('sees one row a stream, however many heartbeats there are', async () => {
    const events = session(`o${'h'.repeat(500)}`);
    await insert(engine.store, events, Date.now() + 1e9);
    const seen = [];
    for await (const one of sightings(engine.store, Date.now() + 1e9 - 1000)) seen.push(one);
    expect(seen).toEqual([
      {
        tenant: 'default',
        session_id: events[0]?.session_id,
        stream_id: events[0]?.stream_id,
        ...{ lastSeq: 500, hasOpen: true, finalSeq: undefined, doubled: false },
        endsMs: expect.any(Number),
      },
    ]);
  });
});
