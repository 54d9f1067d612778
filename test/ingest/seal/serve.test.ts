import Fastify from 'fastify';
import { describe, expect, it } from 'vitest';
import { openKey } from '../../../ingest/seal/key.ts';
import { openLog } from '../../../ingest/seal/log.ts';
import { registerLog } from '../../../ingest/seal/serve.ts';
import { isLoopbackHost } from '../../../query/access/guard.ts';
import { memoryFiles } from './memory.ts';
import { KEY } from './rig.ts';

async function served() {
  const files = memoryFiles();
  const log = await openLog(files, KEY);
  const app = Fastify({ logger: false });
  registerLog(app, files, isLoopbackHost);
  const get = (url: string, host = 'localhost:4560') =>
    app.inject({ method: 'GET', url, headers: { host } });
  const grow = async (count: number) => {
    const entries = Array.from({ length: count }, (_, i) => Buffer.from(`entry ${i}`));
    await log.append(entries);
  };
  return { files, log, get, grow };
}

describe('the log over HTTP', () => {
  it('has the paths, types and caching of the specification', async () => {
    const { files, log, get, grow } = await served();
    expect((await get('/tlog/checkpoint')).statusCode).toBe(404);
    await grow(300);
    await log.publish([]);
    const head = await get('/tlog/checkpoint');
    expect(head.headers['content-type']).toBe('text/plain; charset=utf-8');
    expect(head.headers['cache-control']).toBe('no-store');
    expect(head.body).toBe(files.live.get('checkpoint')?.toString());
    for (const path of [
      'tile/0/000',
      'tile/0/001.p/44',
      'tile/1/000.p/1',
      'tile/entries/001.p/44',
    ]) {
      const answer = await get(`/tlog/${path}`);
      expect(answer.statusCode, path).toBe(200);
      expect(answer.headers['content-type']).toBe('application/octet-stream');
      expect(answer.headers['cache-control']).toContain('immutable');
      expect(answer.rawPayload.equals(files.live.get(path) as Buffer)).toBe(true);
    }
  });

  it('shows nothing beyond the published head, and no other file', async () => {
    const { files, log, get, grow } = await served();
    await grow(100);
    await log.publish([]);
    await grow(200);
    files.live.set('log.key', Buffer.from('secret'));
    for (const path of [
      ...['tile/0/000', 'tile/0/001.p/44', 'tile/1/000.p/1', 'tile/entries/000', 'tile/0/00'],
      ...['tile/../log.key', 'tile/%2e%2e/log.key', 'tile/..%2flog.key', 'log.key', 'committed'],
      ...[
        'tile/',
        'tile/0/000.p/0',
        'tile/0/000.p/100/',
        'tile/0/000.p/%31',
        'tile/entries/000.p/99',
      ],
    ])
      expect((await get(`/tlog/${path}`)).statusCode, path).not.toBe(200);
    expect((await get('/tlog/tile/0/000.p/100')).statusCode).toBe(404);
    await log.publish([]);
    expect((await get('/tlog/tile/0/000')).statusCode).toBe(200);
  });

  it('answers to its own name only', async () => {
    const { log, get } = await served();
    await log.publish([]);
    expect((await get('/tlog/checkpoint', 'evil.example')).statusCode).toBe(421);
    expect((await get('/tlog/checkpoint', '127.0.0.1')).statusCode).toBe(200);
  });
});

describe('a key', () => {
  const random = { bytes: (count: number) => Buffer.alloc(count, 5) };
  const options = { file: 'log.key', type: 1, name: undefined, nameOfNew: 'new/name' } as const;

  it('is made once, and keeps its name', async () => {
    const files = memoryFiles();
    const made = await openKey(files, random, options);
    expect(made.verifier.name).toBe('new/name');
    const other = { bytes: (count: number) => Buffer.alloc(count, 6) };
    expect((await openKey(files, other, { ...options, nameOfNew: 'x' })).text).toBe(made.text);
    const asked = await openKey(memoryFiles(), random, { ...options, name: 'asked/for' });
    expect(asked.verifier.name).toBe('asked/for');
  });

  it('is refused under another name, of another type, and when it is spoilt', async () => {
    const files = memoryFiles();
    await openKey(files, random, options);
    await expect(openKey(files, random, { ...options, name: 'x' })).rejects.toThrow('not x');
    await expect(openKey(files, random, { ...options, type: 4 })).rejects.toThrow('type 1');
    files.live.set('log.key', Buffer.from('PRIVATE+KEY+x'));
    await expect(openKey(files, random, options)).rejects.toThrow('log.key');
  });
});
