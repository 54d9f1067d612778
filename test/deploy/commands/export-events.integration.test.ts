/** `telltale export --format`: the server's answer as a file, whole or not at all. */
import fs from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { canonical } from '#schemas';
import { exportEvents } from '../../../deploy/commands/export-events.ts';
import { type Listening, listen } from '../../query/listening.ts';
import { insertEvents, SESSION, stampStream } from '../../query/seed.ts';
import { openTestStore, type TestStore } from '../../query/service.ts';

let test: TestStore;
let service: Listening;
let dir: string;
const events = stampStream();
beforeAll(async () => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-export-cli-'));
  test = await openTestStore();
  await insertEvents(test.store, events);
  service = await listen(test.store);
});
afterAll(async () => {
  await service.close();
  await test.close();
  fs.rmSync(dir, { recursive: true, force: true });
});

const options = (output: string, more: object = {}) => ({
  base: new URL(service.url),
  session: 'latest',
  format: 'ndjson',
  content: 'full' as const,
  output: path.join(dir, output),
  narrowing: {},
  ...more,
});

describe('export --format', () => {
  it('writes a file, narrowed as it is asked for', async () => {
    await exportEvents(options('all.ndjson'));
    const whole = fs.readFileSync(path.join(dir, 'all.ndjson'), 'utf8').trimEnd().split('\n');
    expect(whole).toEqual(events.map(({ event }) => canonical(event)));
    const narrowing = { kind: ['exec', 'exit'], pid: ['51'] };
    await exportEvents(options('some.csv', { format: 'csv', narrowing, session: SESSION }));
    const some = fs.readFileSync(path.join(dir, 'some.csv'), 'utf8').trimEnd().split('\r\n');
    expect(some).toHaveLength(3);
    expect(fs.statSync(path.join(dir, 'some.csv')).mode & 0o777).toBe(0o600);
  });

  it('says what is wrong', async () => {
    const bad = { narrowing: { kind: ['nope'] } };
    await expect(exportEvents(options('x', { format: 'xml' }))).rejects.toThrow('--format xml');
    await expect(exportEvents(options('x', bad))).rejects.toThrow('no such kind');
    await expect(exportEvents(options('x', { session: dir }))).rejects.toThrow('the server says');
    const gone = { base: new URL('http://127.0.0.1:9') };
    await expect(exportEvents(options('x', gone))).rejects.toThrow('no telltale answers');
    expect(fs.existsSync(path.join(dir, 'x'))).toBe(false);
  });

  it('keeps nothing of an answer that broke off', async () => {
    const server = http.createServer((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/x-ndjson' });
      response.write('{"half":');
      setTimeout(() => response.destroy(), 50);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const base = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    await expect(exportEvents(options('broken', { base }))).rejects.toThrow('broke off');
    expect(fs.readdirSync(dir).filter((name) => name.startsWith('broken'))).toEqual([]);
    server.close();
  });
});
