import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { accountFor, factsOf, type TelltaleEvent, unframe, verifyChain } from '#schemas';
import { systemDisk } from '../../collector/disk.ts';
import { openSession, SESSION_DEFAULTS, type Session } from '../../collector/session.ts';
import { createShipper, SHIP_DEFAULTS, ShipError, type Transport } from '../../collector/ship.ts';
import { createSpool, SPOOL_DEFAULTS, type Spool } from '../../collector/spool.ts';
import { fakeClock, fakeLog, fakeMeter, fakeRandom } from '../fakes/ports.ts';
import { fileDraft, identity } from './drafts.ts';

let dir: string;
beforeEach(() => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-session-'));
});
afterEach(() => fs.rmSync(dir, { recursive: true, force: true }));

function open(bytesMax: number = SPOOL_DEFAULTS.bytesMax): {
  session: Session;
  spool: Spool;
  log: ReturnType<typeof fakeLog>;
  clock: ReturnType<typeof fakeClock>;
} {
  const log = fakeLog();
  const clock = fakeClock();
  const spool = createSpool(
    identity,
    { ...SPOOL_DEFAULTS, dir, bytesMax },
    { disk: systemDisk, clock: fakeClock(), log: log },
  );
  const deps = { spool, log, meter: fakeMeter(), clock, random: fakeRandom() };
  const settings = { ...SESSION_DEFAULTS, checkpointEvents: 10 };
  const command = { commandArgs: ['sh', '-c', 'true'], cwd: '/srv', settings: {} };
  return { session: openSession({ ...deps, settings }, command), spool, log, clock };
}

function readAll(spool: Spool): TelltaleEvent[] {
  const out: TelltaleEvent[] = [];
  for (let lines = spool.peek(1e6); lines.length > 0; lines = spool.peek(1e6)) {
    for (const line of lines) out.push(JSON.parse(line.bytes.toString()));
    spool.release((lines.at(-1) as { seq: number }).seq + 1);
  }
  return out;
}

describe('session', () => {
  it('numbers, chains and closes a stream that verifies', async () => {
    const { session, spool } = open();
    for (let i = 0; i < 55; i++) await session.add([fileDraft(`/f${i}`)]);
    await session.close({ close_reason: 'exited', exit_code: 0 });
    const events = readAll(spool);
    expect(events.map((event) => event.seq)).toEqual(events.map((_, i) => i));
    expect(events[0]?.kind).toBe('session.open');
    expect(events.at(-1)).toMatchObject({ kind: 'session.close', chain_count: events.length - 1 });
    expect(events.filter((event) => event.kind === 'session.heartbeat').length).toBe(5);
    expect(accountFor(factsOf(events)).verdict).toBe('complete');
    const integrity = verifyChain(identity, events);
    expect(integrity).toMatchObject({ verdict: 'intact', covered: events.length, faults: [] });
    spool.close({ finished: true });
  });

  it('drops and counts when the spool stays full, and declares exactly that many', async () => {
    const { session, spool, log, clock } = open(4000);
    const began = clock.monotonicNs();
    for (let i = 0; i < 50; i++) await session.add([fileDraft(`/f${i}`)]);
    // The agent was held up once, not for each batch.
    const heldMs = Number(clock.monotonicNs() - began) / 1e6;
    expect(heldMs).toBeGreaterThanOrEqual(SESSION_DEFAULTS.blockMsMax);
    expect(heldMs).toBeLessThan(2 * SESSION_DEFAULTS.blockMsMax);
    expect(log.lines.map((line) => line.event)).toContain('session.spool_full');
    const before = readAll(spool);
    await session.add([fileDraft('/after')]);
    await session.close({ close_reason: 'exited', exit_code: 0 });
    const events = [...before, ...readAll(spool)];
    const files = events.filter((event) => event.kind === 'file').length;
    const account = accountFor(factsOf(events));
    expect(account).toMatchObject({ verdict: 'declared', unaccounted: [], unknownLoss: false });
    expect(files + account.unnumberedLost).toBe(51);
    expect(account.unnumberedLost).toBeGreaterThan(0);
    expect(verifyChain(identity, events).verdict).toBe('intact');
    spool.close({ finished: true });
  });
});

describe('shipper', () => {
  it('sends every event in order over a destination that fails and loses answers', async () => {
    const { session, spool, log } = open();
    const arrived = new Map<number, TelltaleEvent>();
    let call = 0;
    const transport: Transport = {
      name: 'fake',
      connect: async () => {},
      close: async () => {},
      send: async (_session, frame) => {
        call++;
        if (call % 3 === 1) throw new ShipError('away');
        for (const { event } of unframe(frame).good) arrived.set(event.seq, event);
        if (call % 3 === 2) throw new ShipError('the answer was lost');
      },
    };
    const settings = { ...SHIP_DEFAULTS, frameBytes: 2000 };
    const deps = { spool, transport, log, meter: fakeMeter(), clock: fakeClock(), settings };
    const shipper = createShipper(deps);
    shipper.start();
    for (let i = 0; i < 100; i++) await session.add([fileDraft(`/f${i}`)]);
    await session.close({ close_reason: 'exited', exit_code: 0 });
    expect(await shipper.drain(1e9)).toBe(true);
    await shipper.stop();
    expect([...arrived.keys()]).toEqual(Array.from({ length: session.eventCount }, (_, i) => i));
    expect(accountFor(factsOf([...arrived.values()])).verdict).toBe('complete');
    spool.close({ finished: true });
    expect(fs.readdirSync(dir)).toEqual([]);
  });

  it('stops at once while the destination hangs, and keeps what was not acknowledged', async () => {
    const { session, spool, log } = open();
    const transport: Transport = {
      name: 'fake',
      connect: async () => {},
      close: async () => {},
      send: (_session, _frame, signal) =>
        new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
    };
    const clock = fakeClock();
    const shipper = createShipper({ spool, transport, log, meter: fakeMeter(), clock });
    shipper.start();
    await session.close({ close_reason: 'stopped' });
    expect(await shipper.drain(100)).toBe(false);
    await shipper.stop();
    expect(spool.pending).toBe(2);
    spool.close({ finished: true });
    expect(fs.readdirSync(dir)).toEqual([identity.stream_id]);
  });
});
