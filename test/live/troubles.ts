/**
 * What a collector does while nobody takes its events, with its real session, stamper, spool on a
 * real disk and shipper; only time is made: an hour passes in seconds. Each trouble must end with
 *
 *     drafts given = events received + events declared as lost
 *
 * without a number missing or doubled, and with a chain that verifies.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type Clock, type Draft, type TelltaleEvent, unframe, verifyChain } from '#schemas';
import { type Disk, systemDisk } from '../../collector/disk.ts';
import { openSession } from '../../collector/session.ts';
import { createShipper, ShipError, type Transport } from '../../collector/ship.ts';
import { createSpool, SPOOL_DEFAULTS } from '../../collector/spool.ts';
import { systemRandom } from '../../deploy/process/clock.ts';
import { fakeClock, fakeLog, fakeMeter } from '../fakes/ports.ts';

const MB = 1024 ** 2;
const IDENTITY = {
  ...{ tenant: 'troubles', agent: 'agent', host: 'here', user: 'someone' },
  session_id: '0193a5e0-0000-7000-8000-000000000001',
  stream_id: '0193a5e0-0000-7000-8000-000000000002',
};

interface Trouble {
  readonly name: string;
  readonly seconds: number;
  readonly perSecond: number;
  readonly spoolBytesMax: number;
  /** Bytes that the disk takes while the trouble lasts; then every write fails with ENOSPC. */
  readonly diskBytes?: number;
  /** How the far end fails: no answer at all, or an error at once. */
  readonly far: 'stalls' | 'refuses' | 'answers';
  /** Whether anything is to be lost: a trouble that loses nothing does not test the count. */
  readonly loses: boolean;
}

const TROUBLES: readonly Trouble[] = [
  {
    name: 'a store that stalls for 10 minutes, within the bound of the spool',
    ...{ seconds: 600, perSecond: 100, spoolBytesMax: 1024 * MB, far: 'stalls', loses: false },
  },
  {
    name: 'a store that stalls for 10 minutes, beyond the bound of the spool',
    ...{ seconds: 600, perSecond: 100, spoolBytesMax: 8 * MB, far: 'stalls', loses: true },
  },
  {
    name: 'a network that is away for an hour',
    ...{ seconds: 3600, perSecond: 30, spoolBytesMax: 1024 * MB, far: 'refuses', loses: false },
  },
  {
    name: 'a disk that is full for 10 minutes',
    ...{ seconds: 600, perSecond: 50, spoolBytesMax: 1024 * MB, far: 'refuses', loses: true },
    diskBytes: 4 * MB,
  },
];

/** The far end; what it receives counts once it is open. */
function farEnd(how: Trouble['far']) {
  const received: TelltaleEvent[] = [];
  let open = how === 'answers';
  const waiting: (() => void)[] = [];
  const transport: Transport = {
    name: 'far end',
    connect: async () => {},
    close: async () => {},
    async send(_session, bytes) {
      if (!open && how === 'refuses') throw new ShipError('the network is away');
      if (!open) await new Promise<void>((resolve) => waiting.push(resolve));
      const { good, dead } = unframe(bytes);
      if (dead.length > 0) throw new Error(`${dead.length} dead lines: ${dead[0]?.reason}`);
      received.push(...good.map((line) => line.event));
    },
  };
  const openUp = () => {
    open = true;
    for (const go of waiting.splice(0)) go();
  };
  return { received, transport, openUp };
}

/** A disk that has room for so many more bytes of segments until `grow`. */
function smallDisk(bytes: number): { disk: Disk; grow(): void } {
  let room = bytes;
  const full = () => Object.assign(new Error('ENOSPC: no space left'), { code: 'ENOSPC' });
  const append: Disk['append'] = (fd, data) => {
    if (data.length > room) throw full();
    room -= data.length;
    systemDisk.append(fd, data);
  };
  const grow = () => {
    room = Number.POSITIVE_INFINITY;
  };
  return { disk: { ...systemDisk, append }, grow };
}

/** The shipper's own clock: it sleeps until the next second is made. */
function steppedClock(clock: Clock) {
  const sleeping: (() => void)[] = [];
  const sleep = () => new Promise<void>((resolve) => sleeping.push(resolve));
  const step = () => {
    for (const wake of sleeping.splice(0)) wake();
  };
  return { clock: { ...clock, sleep } satisfies Clock, step };
}

const draftAt = (ts: bigint, number: number): Draft => ({
  kind: 'file',
  ts: ts.toString(),
  source: 'seccomp',
  assurance: 'observed',
  pid: 4711,
  file_op: 'create',
  file_path: `/work/somewhere/in/a/tree/file-${number}`,
});

async function suffer(trouble: Trouble) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-trouble-'));
  const began = performance.now();
  const [log, clock, far] = [fakeLog(), fakeClock(), farEnd(trouble.far)];
  const small = smallDisk(trouble.diskBytes ?? Number.POSITIVE_INFINITY);
  const settings = { ...SPOOL_DEFAULTS, dir, bytesMax: trouble.spoolBytesMax };
  const spool = createSpool(IDENTITY, settings, { disk: small.disk, clock, log });
  const meter = fakeMeter();
  const session = openSession(
    { spool, clock, random: systemRandom, log, meter },
    { commandArgs: ['agent'], cwd: '/', settings: {} },
  );
  const stepped = steppedClock(clock);
  const shipper = createShipper({
    ...{ spool, transport: far.transport, log, meter },
    clock: stepped.clock,
  });
  shipper.start();
  let given = 0;
  const give = async (seconds: number) => {
    for (let second = 0; second < seconds; second++) {
      const batch = Array.from({ length: trouble.perSecond }, () =>
        draftAt(clock.wallNs(), given++),
      );
      await session.add(batch);
      clock.advance(1000);
      stepped.step();
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  await give(trouble.seconds);
  small.grow();
  far.openUp();
  // It comes to an end while the agent goes on.
  const ticking = setInterval(stepped.step, 1);
  await give(10);
  await session.close({ close_reason: 'exited', exit_code: 0 });
  const shipped = await shipper.drain(600_000);
  await shipper.stop();
  clearInterval(ticking);
  spool.close({ finished: true });
  fs.rmSync(dir, { recursive: true, force: true });

  const once = new Map(far.received.map((event) => [event.seq, event]));
  const events = [...once.values()].sort((a, b) => a.seq - b.seq);
  const files = events.filter((event) => event.kind === 'file').length;
  const lost = events.reduce(
    (sum, event) => sum + (event.kind === 'gap' ? (event.gap_count ?? Number.NaN) : 0),
    0,
  );
  const integrity = verifyChain(IDENTITY, events).verdict;
  const good =
    shipped &&
    given === files + lost &&
    events.every((event, index) => event.seq === index) &&
    integrity === 'intact' &&
    lost > 0 === trouble.loses;
  return {
    trouble: trouble.name,
    ...{ good, given, stored: files, declaredLost: lost, integrity, shipped },
    gaps: events.filter((event) => event.kind === 'gap').length,
    seconds: Math.round((performance.now() - began) / 100) / 10,
  };
}

/** Goes through all troubles; one line of JSON each. */
export async function troubles() {
  const bad: string[] = [];
  for (const trouble of TROUBLES) {
    const told = await suffer(trouble);
    process.stdout.write(`${JSON.stringify(told)}\n`);
    if (!told.good) bad.push(trouble.name);
  }
  return { good: bad.length === 0, bad, dir: '' };
}
