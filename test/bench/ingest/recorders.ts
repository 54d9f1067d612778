/**
 * A load generator for latency, as a process of its own: many sessions of one collector, each
 * through the real session, stamp, spool and shipper. An event's `ts` is when its draft was made.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { systemDisk } from '../../../collector/disk.ts';
import { openSession } from '../../../collector/session.ts';
import { createShipper, openTransport } from '../../../collector/ship.ts';
import { createSpool, SPOOL_DEFAULTS } from '../../../collector/spool.ts';
import { createClock, systemRandom } from '../../../deploy/process/clock.ts';
import { uuidv7 } from '../../../deploy/process/ids.ts';
import { serviceLog } from '../../../deploy/process/log.ts';
import { createMeter } from '../../../deploy/process/meter.ts';
import { dice, madeDrafts } from '../workload.ts';

export interface RecordersOptions {
  readonly brokers: readonly string[];
  readonly sessions: number;
  readonly perSecond: number;
  readonly seconds: number;
}

const options = JSON.parse(process.argv[2] ?? '{}') as RecordersOptions;
const TICK_MS = 20;
const DRAIN_MS = 60_000;
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-bench-spool-'));
const [log, meter, clock] = [serviceLog('recorders', 'warn'), createMeter(), createClock()];
const transport = openTransport(`kafka://${options.brokers.join(',')}`, log);

function recorderOf(n: number) {
  const identity = {
    tenant: `tenant-${n % 4}`,
    session_id: uuidv7(),
    stream_id: uuidv7(),
    agent: 'codex',
    host: `worker-${n % 16}`,
    user: 'agent',
  };
  const spool = createSpool(identity, { ...SPOOL_DEFAULTS, dir }, { disk: systemDisk, clock, log });
  const ports = { spool, clock, log, meter, random: systemRandom };
  const opened = { commandArgs: ['codex', 'exec'], cwd: '/srv', settings: {} };
  const session = openSession(ports, opened);
  const shipper = createShipper({ spool, transport, log, meter, clock });
  shipper.start();
  const drafts = madeDrafts(dice(n), () => clock.wallNs().toString());
  return { session, shipper, spool, next: () => drafts.next().value };
}

await transport.connect();
process.send?.({ ready: true });
const recorders = Array.from({ length: options.sessions }, (_, n) => recorderOf(n));
const began = performance.now();
let made = 0;
while (performance.now() - began < options.seconds * 1000) {
  const due = Math.floor(((performance.now() - began) / 1000) * options.perSecond);
  for (; made < due; made++) {
    const { session, next } = recorders[made % recorders.length] as (typeof recorders)[number];
    await session.add([next()]);
  }
  await clock.sleep(TICK_MS);
}
let sent = 0;
for (const { session, shipper, spool } of recorders) {
  await session.close({ close_reason: 'exited', exit_code: 0 });
  if (!(await shipper.drain(DRAIN_MS))) throw new Error('not all was shipped');
  await shipper.stop();
  spool.close({ finished: true });
  sent += session.eventCount;
}
process.send?.({ sent });
await transport.close();
fs.rmSync(dir, { recursive: true, force: true });
process.exit(0);
