/** This machine: Node, kernel, sensor, embedded engine, spool. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Draft } from '#schemas';
import { systemDisk } from '../../collector/disk.ts';
import { createFeed } from '../../collector/feeds/feed.ts';
import { createLadder } from '../../collector/sensors/ladder.ts';
import { abandonedStreams } from '../../collector/spool.ts';
import type { FeedOption } from '../feed.ts';
import { createClock, systemRandom } from '../process/clock.ts';
import { nativeHelper } from '../settings.ts';
import { openStore } from '../stores/open.ts';
import { type Check, check, type Look, silent, warn, within } from './check.ts';

const NODE_MAJOR_MIN = 20;
const NODE_MINOR_MIN = 19;
const SENSOR_MS_MAX = 20_000;
/** A feed comes late: it is waited for twice, for its first line and for the probe. */
const FEED_MS_MAX = 45_000;

function nodeVersion(): string {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major < NODE_MAJOR_MIN || (major === NODE_MAJOR_MIN && minor < NODE_MINOR_MIN))
    throw new Error(`${process.version} is too old: ${NODE_MAJOR_MIN}.${NODE_MINOR_MIN} is needed`);
  return process.version;
}

/**
 * Runs `true` under the real sensor, or under a feed of the host's: its self-check says what it
 * covers. Where a feed shows nothing, the rung that a recording would fall back to is looked at.
 */
async function sensor(feed?: FeedOption): Promise<Look> {
  const seen: Draft[] = [];
  const ports = { log: silent, clock: createClock() };
  const joined = { ...ports, random: systemRandom, joinKeys: [] };
  const ladder = createLadder({
    ...ports,
    native: nativeHelper(),
    ...(feed === undefined ? {} : { feed: createFeed({ ...joined, ...feed }) }),
  });
  const command = { argv: ['true'], env: { PATH: process.env.PATH ?? '' }, cwd: os.tmpdir() };
  const work = async () => {
    const running = await ladder.run(command, async (drafts) => {
      seen.push(...drafts);
    });
    await running.exited;
    await running.stop();
  };
  await within(
    work(),
    feed === undefined ? SENSOR_MS_MAX : FEED_MS_MAX,
    'the sensor gave no answer',
  );
  const sensors = seen.filter((draft) => draft.kind === 'sensor');
  const state = sensors.at(-1);
  const refused = sensors
    .slice(0, -1)
    .map((draft) => `; rung ${draft.sensor_rung} refused: ${draft.reason}`);
  const runs = seen.filter((draft) => draft.kind === 'exec' && draft.outcome !== 'failure').length;
  if (state === undefined) throw new Error('it told no coverage');
  const words = `coverage ${state.coverage}${state.reason === undefined ? '' : `: ${state.reason}`}${refused.join('')}`;
  if (
    state.coverage !== 'complete' ||
    (feed !== undefined && state.sensor_name !== feed.format.source)
  )
    return warn(
      words,
      'sessions recorded here say so in their assurance; collector/sensors/README.md has what each rung needs',
    );
  if (runs === 0) throw new Error(`${words}, and yet the run of "true" was not seen`);
  return `rung ${state.sensor_rung ?? '?'} (${state.attrs?.supervisor ?? state.sensor_name}), ${words}`;
}

async function embedded(): Promise<string> {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-doctor-'));
  try {
    const store = await openStore(`chdb:${dir}`, { log: silent });
    await store.ping().finally(() => store.close());
    return 'opens and answers';
  } finally {
    fs.rmSync(dir, { recursive: true, force: true });
  }
}

function spool(dir: string): Look {
  fs.mkdirSync(dir, { recursive: true, mode: 0o700 });
  const probe = fs.mkdtempSync(path.join(dir, '.doctor-'));
  fs.rmdirSync(probe);
  const waiting = abandonedStreams(dir, systemDisk).length;
  if (waiting === 0) return `${dir} is writable; nothing waits`;
  const words = `${waiting} ${waiting === 1 ? 'stream waits' : 'streams wait'}`;
  return warn(`${dir} is writable; ${words}`, '"telltale collect" ships what waits');
}

/** All that can be looked at without a service. */
export async function lookAtMachine(spoolDir: string, feed?: FeedOption): Promise<Check[]> {
  return [
    await check('node', nodeVersion, 'install Node 20.19 or newer'),
    await check('kernel', () => `${os.type()} ${os.release()} ${os.arch()}`, ''),
    await check(
      'sensor',
      () => sensor(feed),
      'collector/sensors/README.md has what each rung needs, collector/feeds/README.md each feed',
    ),
    await check('spool', () => spool(spoolDir), 'make the folder writable, or give TELLTALE_SPOOL'),
    await check('embedded store', embedded, 'give a server with --store, or install chdb'),
  ];
}
