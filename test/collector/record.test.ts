import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { type TelltaleEvent, unframe } from '#schemas';
import { systemDisk } from '../../collector/disk.ts';
import { type Exit, record, type Sensor } from '../../collector/record.ts';
import { createShipper, type Transport } from '../../collector/ship.ts';
import { createSpool, SPOOL_DEFAULTS } from '../../collector/spool.ts';
import { createClock, systemRandom } from '../../deploy/process/clock.ts';
import { uuidv7 } from '../../deploy/process/ids.ts';
import { fakeLog, fakeMeter } from '../fakes/ports.ts';

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-record-'));
afterAll(() => fs.rmSync(dir, { recursive: true, force: true }));

const COMMAND = { argv: ['x'], env: {}, cwd: '/' };
const sensorOf = (exit: Exit): Sensor => ({
  run: async () => ({ exited: Promise.resolve(exit), signal: () => {}, stop: async () => {} }),
});

/** Records a command under a sensor that tells `exit`; the events as they were shipped. */
async function shippedOf(sensor: Sensor): Promise<readonly TelltaleEvent[]> {
  const events: TelltaleEvent[] = [];
  const transport: Transport = {
    name: 'here',
    connect: async () => {},
    close: async () => {},
    send: async (_session, frame) => void events.push(...unframe(frame).good.map((l) => l.event)),
  };
  const ports = { log: fakeLog(), meter: fakeMeter(), clock: createClock(), random: systemRandom };
  const ids = { tenant: 't', session_id: uuidv7(), stream_id: uuidv7() };
  const identity = { ...ids, agent: 'x', host: 'h', user: 'u' };
  const spool = createSpool(
    identity,
    { ...SPOOL_DEFAULTS, dir },
    { disk: systemDisk, clock: ports.clock, log: ports.log },
  );
  const shipper = createShipper({ ...ports, spool, transport });
  await record({ ...ports, spool, shipper, sensor, settings: {}, drainMsMax: 5_000 }, COMMAND);
  return events;
}

describe('what session.close says of the end', () => {
  it.each([
    [
      { code: 3, signal: null },
      { close_reason: 'exited', exit_code: 3 },
    ],
    [
      { code: null, signal: 'SIGKILL' },
      { close_reason: 'signalled', exit_signal: 'SIGKILL' },
    ],
    [
      { code: null, signal: null, error: 'lost' },
      { close_reason: 'failed', reason: 'lost' },
    ],
  ])('%j', async (exit, close) => {
    const last = (await shippedOf(sensorOf(exit))).at(-1);
    expect(last).toMatchObject({ kind: 'session.close', ...close });
    if (exit.code === null) expect(last).not.toHaveProperty('exit_code');
  });
});
