/**
 * The cookbook is the test: each question in `query/COOKBOOK.md` is asked as it stands there of the
 * made-up incident, and the document must hold the very answer. `vitest -u` writes new answers into
 * it; read them before they are committed.
 */
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { INCIDENT, insertIncident } from './cookbook/incident.ts';
import { openTestStore, type Service, serve, type TestStore } from './service.ts';

const FILE = path.resolve(import.meta.dirname, '../../query/COOKBOOK.md');
const QUESTIONS_MIN = 20;
/** A question as it is asked, and its answer: fenced blocks that follow one another. */
const BLOCK = /```(graphql|http)\n([\s\S]*?)```\n\n```(json|text)\n([\s\S]*?)```/g;
const HEAD = { host: 'localhost', 'content-type': 'application/json' };

let test: TestStore;
let service: Service;
beforeAll(async () => {
  test = await openTestStore();
  await insertIncident(test.store);
  service = await serve(test.store);
});
afterAll(async () => {
  await service.app.close();
  await test.close();
});

async function answerTo(language: string, question: string): Promise<string> {
  if (language === 'http') {
    const [, url = ''] = /^GET (\S+)$/m.exec(question) ?? [];
    const answer = await service.app.inject({ method: 'GET', url, headers: HEAD });
    expect(answer.statusCode, url).toBe(200);
    return answer.payload;
  }
  const answer = await service.ask(question);
  expect(answer.errors, question).toBeUndefined();
  return `${JSON.stringify(answer.data, null, 1)}\n`;
}

/** What is empty in an answer says nothing: a question that finds nothing is a bad example. */
const isEmpty = (value: unknown): boolean =>
  typeof value === 'object' && value !== null
    ? Object.values(value).every(isEmpty)
    : value === null || value === '';

describe('the cookbook', () => {
  const text = fs.readFileSync(FILE, 'utf8');

  it('has the answers that the service gives', async () => {
    let out = text;
    for (const [whole, language = '', question = '', kind = '', before = ''] of text.matchAll(
      BLOCK,
    )) {
      const answer = await answerTo(language, question);
      if (language === 'graphql') expect(isEmpty(JSON.parse(answer)), question).toBe(false);
      out = out.replace(whole, () =>
        whole.replace(`${kind}\n${before}`, () => `${kind}\n${answer}`),
      );
    }
    expect(service.log.lines).toEqual([]);
    await expect(out).toMatchFileSnapshot(FILE);
  });

  it('has at least twenty questions, each asked, all of the one incident', () => {
    const parts = text.split(/^## \d+\. /m).slice(1);
    expect(parts.length).toBeGreaterThanOrEqual(QUESTIONS_MIN);
    for (const part of parts) expect([...part.matchAll(BLOCK)].length, part).toBeGreaterThan(0);
    const fences = text.match(/^```\w+$/gm)?.length;
    expect(fences).toBe(2 * [...text.matchAll(BLOCK)].length);
    expect(text).toContain(INCIDENT);
  });
});
