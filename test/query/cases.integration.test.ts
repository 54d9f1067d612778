/**
 * Each `.graphql` file beside it, asked of a seeded store. The answer is a snapshot, and so are the
 * statements that it came from, each with its values and the rows and bytes that the engine read for it.
 */
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createReadMeter, type Measured, recording } from './measured.ts';
import { insertAlert, insertDead, insertEvents, stampStream } from './seed.ts';
import { openTestStore, type Service, serve, type TestStore } from './service.ts';

const DIR = path.join(import.meta.dirname, 'cases');
const OLDER = '0193a5e0-0000-7000-8000-00000000000b';
const OLDER_STREAM = '0193a5e0-0000-7000-8000-0000000000b1';

let test: TestStore;
let service: Service;
let recorded: ReturnType<typeof recording>;
let meter: Awaited<ReturnType<typeof createReadMeter>>;
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
  meter = await createReadMeter(test.dir);
  recorded = recording(test.store);
  service = await serve(recorded.store);
});
afterAll(async () => {
  await service.app.close();
  meter.close();
  await test.close();
});

/** Signatures and hashes differ in each run. */
const FLEETING = /"(?:chainHead|signature|publicKey)"/;

/** Statements as text, in an order that does not hang on which of two at once was sent first. */
function sqlText(statements: readonly Measured[]): string {
  const value = (text: unknown) =>
    JSON.stringify(text, (_key, one) => (typeof one === 'bigint' ? String(one) : one));
  const texts = statements.map(({ text, params, rowsRead, bytesRead }) => {
    const values = Object.entries(params).map(([name, one]) => `--   ${name} = ${value(one)}\n`);
    return `-- reads ${rowsRead} rows, ${bytesRead} bytes\n${values.sort().join('')}${text};\n`;
  });
  return texts.sort().join('\n');
}

describe('cases', () => {
  const files = fs.readdirSync(DIR).filter((name) => name.endsWith('.graphql'));
  it.each(files)('%s', async (name) => {
    recorded.take();
    const answer = await service.ask(fs.readFileSync(path.join(DIR, name), 'utf8'));
    const text = `${JSON.stringify(answer, null, 2)}\n`;
    expect(answer.errors).toBeUndefined();
    expect(text).not.toMatch(FLEETING);
    await expect(text).toMatchFileSnapshot(path.join(DIR, name.replace('.graphql', '.json')));
    const statements: Measured[] = [];
    for (const sql of recorded.take()) statements.push(await meter.measure(sql));
    await expect(sqlText(statements)).toMatchFileSnapshot(
      path.join(DIR, name.replace('.graphql', '.sql')),
    );
    expect(service.log.lines).toEqual([]);
  });
});
