/** Each `.graphql` file beside it, asked of a seeded store; the answers are snapshots. */
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { insertAlert, insertDead, insertEvents, stampStream } from './seed.ts';
import { openTestStore, type Service, serve, type TestStore } from './service.ts';

const DIR = path.join(import.meta.dirname, 'cases');
const OLDER = '0193a5e0-0000-7000-8000-00000000000b';
const OLDER_STREAM = '0193a5e0-0000-7000-8000-0000000000b1';

let test: TestStore;
let service: Service;
beforeAll(async () => {
  test = await openTestStore();
  await insertEvents(test.store, stampStream());
  const older = stampStream({
    session: OLDER,
    stream: OLDER_STREAM,
    host: 'box-2',
    lost: [3],
    shiftMs: -60_000,
  });
  await insertEvents(test.store, older);
  await insertDead(test.store, { session: OLDER, stream: OLDER_STREAM, seq: 3 });
  await insertAlert(test.store);
  service = await serve(test.store);
});
afterAll(async () => {
  await service.app.close();
  await test.close();
});

/** Signatures and hashes differ in each run. */
const FLEETING = /"(?:chainHead|signature|publicKey)"/;

describe('cases', () => {
  const files = fs.readdirSync(DIR).filter((name) => name.endsWith('.graphql'));
  it.each(files)('%s', async (name) => {
    const answer = await service.ask(fs.readFileSync(path.join(DIR, name), 'utf8'));
    const text = `${JSON.stringify(answer, null, 2)}\n`;
    expect(answer.errors).toBeUndefined();
    expect(text).not.toMatch(FLEETING);
    await expect(text).toMatchFileSnapshot(path.join(DIR, name.replace('.graphql', '.json')));
    expect(service.log.lines).toEqual([]);
  });
});
