import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { check, redacted, warn, withoutSecrets } from '../../../deploy/doctor/check.ts';
import {
  lookAtFiles,
  ROOM_FAIL_BYTES,
  ROOM_WARN_BYTES,
  roomOf,
} from '../../../deploy/doctor/files.ts';
import { judgeTopic, lookAtKafka, type TopicFacts } from '../../../deploy/doctor/kafka.ts';
import { lookAtStore, skewOf, versionOf } from '../../../deploy/doctor/store.ts';
import { migrate } from '../../../deploy/migrate.ts';
import { openStore } from '../../../deploy/stores/open.ts';
import { fakeLog } from '../../fakes/ports.ts';
import { type Bridge, startBridge } from '../stores/bridge.ts';

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-doctor-test-'));
let bridge: Bridge;
beforeAll(async () => {
  bridge = await startBridge(path.join(root, 'db'));
});
afterAll(async () => {
  await bridge.close();
  fs.rmSync(root, { recursive: true, force: true });
});

const levelOf = (look: unknown) =>
  typeof look === 'string' ? 'ok' : (look as { level: string }).level;
const levels = async (url: string) =>
  Object.fromEntries((await lookAtStore(url)).map(({ name, level }) => [name, level]));

describe('a store', () => {
  it('is looked at in each way, before and after it was migrated', async () => {
    const without = await lookAtStore(bridge.url);
    expect(without.find(({ name }) => name === 'schema')).toMatchObject({
      level: 'fail',
      next: expect.stringContaining('telltale migrate'),
    });
    const store = await openStore(bridge.url, { log: fakeLog() });
    await migrate(store, { log: fakeLog() });
    await store.close();
    expect(await levels(bridge.url)).toMatchObject({
      ...{ store: 'ok', 'store version': 'ok', schema: 'ok', clocks: 'ok' },
      'disk of the store': expect.stringMatching(/ok|warn/),
    });
  });

  it('that is away is one line, without its password', async () => {
    const [one, ...more] = await lookAtStore('http://kim:s3cr3t@127.0.0.1:1/');
    expect(more).toEqual([]);
    expect(one).toMatchObject({ name: 'store', level: 'fail' });
    expect(JSON.stringify(one)).not.toContain('s3cr3t');
  });

  it.each([
    ['26.7.2.1', 'ok'],
    ['26.2.1', 'ok'],
    ['26.1.9', 'fail'],
    ['25.12.1', 'fail'],
  ])('of version %s: %s', (text, level) => expect(levelOf(versionOf(text))).toBe(level));

  it.each([
    [0, 10, 'ok'],
    [-1_900, 0, 'ok'],
    [2_100, 0, 'warn'],
    // A slow answer says less of the clock.
    [2_100, 400, 'ok'],
    [-61_000, 0, 'fail'],
  ])('whose clock is %s ms off, asked for %s ms: %s', (ahead, asked, level) =>
    expect(levelOf(skewOf(ahead, asked))).toBe(level),
  );
});

describe('a topic', () => {
  const good: TopicFacts = {
    ...{ brokers: 3, partitions: 12, replicas: 3, behind: 0 },
    settings: { 'min.insync.replicas': '2', 'retention.ms': '604800000', 'retention.bytes': '-1' },
  };
  const judged = (change: Partial<TopicFacts>) =>
    Object.entries(judgeTopic({ ...good, ...change }))
      .filter(([, look]) => levelOf(look) !== 'ok')
      .map(([name]) => name);
  const set = (name: string, value: string) => ({ settings: { ...good.settings, [name]: value } });

  it('is judged by what would lose events', () => {
    expect(judged({})).toEqual([]);
    expect(judged(set('min.insync.replicas', '1'))).toEqual(['topic copies']);
    expect(judged(set('min.insync.replicas', '3'))).toEqual(['topic copies']);
    expect(judged({ behind: 1 })).toEqual(['topic copies']);
    expect(judged({ replicas: 1, brokers: 1 })).toEqual(['topic copies']);
    expect(judged(set('retention.ms', '3600000'))).toEqual(['topic retention']);
    expect(judged(set('retention.ms', '-1'))).toEqual([]);
    expect(judged(set('retention.bytes', '1000'))).toEqual(['topic retention']);
    expect(judged({ partitions: 1 })).toEqual(['topic partitions']);
  });

  it('of brokers that are away is one line that says what to do', async () => {
    const [one, ...more] = await lookAtKafka('127.0.0.1:1', {});
    expect(more).toEqual([]);
    expect(one).toMatchObject({ name: 'kafka', level: 'fail', next: expect.any(String) });
  }, 20_000);
});

describe('files', () => {
  it('that others can read are named, with what to do', async () => {
    const data = path.join(root, 'data');
    fs.mkdirSync(path.join(data, 'tlog'), { recursive: true });
    const key = path.join(data, 'tlog/log.key');
    fs.writeFileSync(key, 'x', { mode: 0o600 });
    const look = async () =>
      (await lookAtFiles(data, root)).find(({ name }) => name === 'key files');
    expect(await look()).toMatchObject({ level: 'ok' });
    fs.chmodSync(key, 0o640);
    expect(await look()).toMatchObject({ level: 'fail', next: expect.stringContaining('chmod') });
    expect((await look())?.text).toContain(key);
  });

  it('need room', () => {
    const of = (free: number) => levelOf(roomOf('x', free, 2 * ROOM_WARN_BYTES));
    expect([of(ROOM_WARN_BYTES), of(ROOM_WARN_BYTES - 1), of(ROOM_FAIL_BYTES - 1)]).toEqual([
      ...['ok', 'warn', 'fail'],
    ]);
  });
});

describe('a look', () => {
  it('that throws is a failure', async () => {
    const bad = () => {
      throw new Error('no');
    };
    expect(await check('x', bad, 'do')).toEqual({
      name: 'x',
      level: 'fail',
      text: 'no',
      next: 'do',
    });
    expect(await check('x', () => warn('a', 'b'), 'do')).toMatchObject({
      level: 'warn',
      next: 'b',
    });
  });

  it('tells addresses without their secrets', () => {
    const url = 'http://kim:p%40ss@h:1/?token=x';
    expect(withoutSecrets(url)).toBe('http://h:1/ (with credentials)');
    expect(redacted(`failed at ${url} with p@ss`, url)).toBe(
      'failed at http://h:1/ (with credentials) with ***',
    );
  });
});
