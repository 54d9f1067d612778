import fs from 'node:fs';
import http from 'node:http';
import net, { type AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Store } from '#schemas';
import { HTTP_DEFAULTS, openHttp } from '../../../deploy/stores/http.ts';
import { openStore } from '../../../deploy/stores/open.ts';
import { fakeLog } from '../../fakes/ports.ts';
import { type Bridge, startBridge } from './bridge.ts';
import { describeStore, faultOf, LIMITS, sql } from './contract.ts';

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-http-'));
let bridge: Bridge;
let store: Store;
beforeAll(async () => {
  bridge = await startBridge(dir);
  store = await openStore(bridge.url, { log: fakeLog() });
});
afterAll(async () => {
  await store.close();
  await bridge.close();
  fs.rmSync(dir, { recursive: true, force: true });
});

describeStore('http', () => store);

describe('http: a server that misbehaves', () => {
  const ends: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const end of ends.splice(0)) await end();
  });
  const quick = { ...HTTP_DEFAULTS, graceMs: 100 };
  const row = { table: 't', lines: Buffer.from('{"n":1}\n'), rows: 1, dedupToken: 'a' };

  async function against(server: net.Server): Promise<Store> {
    const sockets = new Set<net.Socket>();
    server.on('connection', (socket: net.Socket) => sockets.add(socket.on('error', () => {})));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const away = openHttp(new URL(`http://127.0.0.1:${port}/`), quick);
    ends.push(async () => {
      await away.close();
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    });
    return away;
  }
  const answering = (answer: (out: http.ServerResponse) => void) =>
    against(
      http.createServer((request, out) => {
        request.resume().on('end', () => answer(out));
      }),
    );
  const read = async (from: Store, seen: unknown[] = []) => {
    for await (const rows of from.stream(sql('SELECT 1'), LIMITS)) seen.push(...rows);
    return seen;
  };

  it('that is not there is unreachable, for everything', async () => {
    const away = openHttp(new URL('http://127.0.0.1:1/'));
    const works = [
      away.query(sql('SELECT 1'), LIMITS),
      read(away),
      away.insert({ ...row, timeMs: 1000 }),
      away.command('SELECT 1'),
      away.ping(),
    ];
    const faults = await Promise.all(works.map(faultOf));
    expect(faults.map(({ code }) => code)).toEqual(works.map(() => 'unreachable'));
    await away.close();
    expect((await faultOf(away.ping())).code).toBe('closed');
  });

  it('that never answers: an insert is unknown, a query busy, both in time', async () => {
    const silent = await against(net.createServer());
    const began = Date.now();
    const insert = faultOf(silent.insert({ ...row, timeMs: 200 }));
    const query = faultOf(silent.query(sql('SELECT 1'), { ...LIMITS, timeMs: 200 }));
    expect((await insert).code).toBe('unknown');
    expect((await query).code).toBe('busy');
    expect(Date.now() - began).toBeLessThan(2_000);
  });

  it('whose answer stalls after its head: the same', async () => {
    const stalls = await answering((out) => out.writeHead(200).write('{"n":1}\n'));
    const began = Date.now();
    const insert = faultOf(stalls.insert({ ...row, timeMs: 200 }));
    const query = faultOf(stalls.query(sql('SELECT 1'), { ...LIMITS, timeMs: 200 }));
    expect((await insert).code).toBe('unknown');
    expect((await query).code).toBe('busy');
    expect(Date.now() - began).toBeLessThan(2_000);
  });

  it('that resets the connection in an insert: unknown', async () => {
    const server = net.createServer((socket) => {
      socket.once('data', () => socket.resetAndDestroy());
    });
    const resets = await against(server);
    expect((await faultOf(resets.insert({ ...row, timeMs: 1000 }))).code).toBe('unknown');
  });

  it('that fails after 200: an error with its number, never a short result', async () => {
    const message = 'Code: 241. DB::Exception: no memory. (MEMORY_LIMIT_EXCEEDED) (version 26.7)\n';
    const tail = `\r\n__exception__\r\ntag\r\n${message}${message.length} tag\r\n__exception__\r\n`;
    const fails = await answering((out) => {
      out.writeHead(200, { 'X-ClickHouse-Exception-Tag': 'tag' }).write('{"n":1}\n');
      setTimeout(() => out.end(tail), 20);
    });
    const fault = await faultOf(fails.query(sql('SELECT 1'), LIMITS));
    expect(fault).toMatchObject({ code: 'limit', engineCode: 241 });
    expect(await faultOf(read(fails))).toMatchObject({ code: 'limit', engineCode: 241 });
  });

  it('that breaks off, or writes an old server’s error between the rows: an error', async () => {
    for (const end of [
      (out: http.ServerResponse) => out.destroy(),
      (out: http.ServerResponse) => out.end('Code: 395. DB::Exception: no (X) (version 24.8)\n'),
    ]) {
      const breaks = await answering((out) => {
        out.writeHead(200).write('{"n":1}\n');
        setTimeout(() => end(out), 20);
      });
      expect((await faultOf(breaks.query(sql('SELECT 1'), LIMITS))).code).toBe('busy');
      expect((await faultOf(read(breaks))).code).toBe('busy');
    }
  });

  it('that is too busy or refuses: typed by the engine’s number', async () => {
    const say = (code: number, name: string) =>
      answering((out) => {
        out.writeHead(500, { 'X-ClickHouse-Exception-Code': String(code) });
        out.end(`Code: ${code}. DB::Exception: words. (${name}) (version 26.7)\n`);
      });
    const insert = async (on: Store) => (await faultOf(on.insert({ ...row, timeMs: 1000 }))).code;
    expect(await insert(await say(252, 'TOO_MANY_PARTS'))).toBe('busy');
    expect(await insert(await say(159, 'TIMEOUT_EXCEEDED'))).toBe('busy');
    expect(await insert(await say(60, 'UNKNOWN_TABLE'))).toBe('refused');
  });
});
