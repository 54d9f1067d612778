/**
 * A load generator, as a process of its own so that it can be killed: many sessions of one
 * collector at once, each through the real session, stamp, spool and shipper. Only the sensor is
 * missing: the drafts are made up here.
 *
 *     load.ts '{"to": "kafka://…", "dir": "…", "sessions": 8, "events": 10000, "perSecond": 1000}'
 *
 * Exits 0 when every session is closed and shipped.
 */
import fs from 'node:fs';
import path from 'node:path';
import type { Draft } from '#schemas';
import { systemDisk } from '../../collector/disk.ts';
import { openSession } from '../../collector/session.ts';
import { createShipper, openTransport, type Transport } from '../../collector/ship.ts';
import { createSpool, SPOOL_DEFAULTS } from '../../collector/spool.ts';
import { createClock, systemRandom } from '../../deploy/process/clock.ts';
import { uuidv7 } from '../../deploy/process/ids.ts';
import { serviceLog } from '../../deploy/process/log.ts';
import { createMeter } from '../../deploy/process/meter.ts';
import { carelessTransports } from './careless.ts';
import { witnessed } from './truth.ts';

export interface LoadOptions {
  readonly to: string;
  /** Gets `spool/` and `truth/`. */
  readonly dir: string;
  readonly sessions: number;
  /** Drafts over all sessions; the collector's own events come on top. */
  readonly events: number;
  /** Drafts a second over all sessions; 0: as fast as it goes. */
  readonly perSecond: number;
  /** Sends over several partitions at once, which loses what was acknowledged. */
  readonly careless?: boolean;
}

const TICK_MS = 20;
const DRAFTS_AT_ONCE_MAX = 500;
const DRAIN_MS = 600_000;

const clock = createClock();
const seen = { source: 'seccomp', assurance: 'observed' } as const;

/** What a build does, over and over: a process, its file, its connection, its end. */
function draftOf(n: number): Draft {
  const at = { ts: clock.wallNs().toString(), ...seen, pid: 1000 + (n >> 2) };
  switch (n & 3) {
    case 0: {
      const argv = ['cc', '-O2', '-Wall', '-c', `src/part${n % 97}.c`, '-o', `out/part${n}.o`];
      return { kind: 'exec', ...at, ppid: 999, exe: '/usr/bin/cc', argv, cwd: '/work/project' };
    }
    case 1:
      return { kind: 'file', ...at, file_op: 'create', file_path: `/work/project/out/part${n}.o` };
    case 2:
      return {
        kind: 'net',
        ...at,
        net_op: 'connect',
        net_transport: 'tcp',
        net_ip: `10.0.${n % 250}.7`,
        net_port: 443,
      };
    default:
      return { kind: 'exit', ...at, exit_code: n % 50 === 3 ? 1 : 0, duration_ns: 1_000_000 + n };
  }
}

function openOne(options: LoadOptions, transport: Transport) {
  const log = serviceLog('load', 'warn');
  const shared = { clock, log, meter: createMeter(), random: systemRandom };
  const identity = {
    tenant: 'default',
    session_id: uuidv7(),
    stream_id: uuidv7(),
    agent: 'load',
    host: 'sandbox',
    user: 'agent',
  };
  const real = createSpool(
    identity,
    { ...SPOOL_DEFAULTS, dir: path.join(options.dir, 'spool') },
    { disk: systemDisk, clock, log },
  );
  const spool = witnessed(real, path.join(options.dir, 'truth'));
  const session = openSession(
    { ...shared, spool },
    { commandArgs: ['load'], cwd: '/work/project', settings: {} },
  );
  const shipper = createShipper({ ...shared, spool, transport });
  shipper.start();
  const finish = async (): Promise<boolean> => {
    await session.close({ close_reason: 'exited', exit_code: 0 });
    const shipped = await shipper.drain(DRAIN_MS);
    await shipper.stop();
    spool.close({ finished: true });
    return shipped;
  };
  return { session, finish };
}

async function run(options: LoadOptions): Promise<boolean> {
  for (const name of ['spool', 'truth'])
    fs.mkdirSync(path.join(options.dir, name), { recursive: true });
  const log = serviceLog('load', 'warn');
  const careless = options.careless ? carelessTransports(options.to, log) : undefined;
  // One producer for each session in good use: that is what as many `telltale run` would have.
  const transports = Array.from(
    { length: options.sessions },
    () => careless?.transport() ?? openTransport(options.to, log),
  );
  const opened = transports.map((transport) => openOne(options, transport));
  const startedNs = clock.monotonicNs();
  for (let given = 0; given < options.events; ) {
    const elapsedMs = Number(clock.monotonicNs() - startedNs) / 1e6;
    const due =
      options.perSecond === 0
        ? DRAFTS_AT_ONCE_MAX * options.sessions
        : Math.floor((elapsedMs * options.perSecond) / 1000) - given;
    const share = Math.ceil(Math.min(due, options.events - given) / options.sessions);
    const count = Math.min(share, DRAFTS_AT_ONCE_MAX);
    if (count > 0) {
      const from = given;
      await Promise.all(
        opened.map(({ session }) =>
          session.add(Array.from({ length: count }, (_, i) => draftOf(from + i))),
        ),
      );
      given += count * options.sessions;
    }
    if (options.perSecond === 0) await new Promise((resolve) => setImmediate(resolve));
    else await clock.sleep(TICK_MS);
  }
  const shipped = await Promise.all(opened.map(({ finish }) => finish()));
  await Promise.all(transports.map((transport) => transport.close()));
  await careless?.close();
  return shipped.every(Boolean);
}

const options = JSON.parse(process.argv[2] ?? '{}') as LoadOptions;
process.exit((await run(options)) ? 0 : 1);
