import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import Fastify from 'fastify';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { frameLines, type TelltaleEvent, unframe } from '#schemas';
import { systemDisk } from '../../collector/disk.ts';
import {
  createShipper,
  httpTransport,
  openTransport,
  SHIP_DEFAULTS,
  ShipError,
  type Transport,
} from '../../collector/ship.ts';
import { createSpool, SPOOL_DEFAULTS } from '../../collector/spool.ts';
import { createStamper } from '../../collector/stamp.ts';
import { fakeClock, fakeLog, fakeMeter, fakeRandom } from '../fakes/ports.ts';
import { fileDraft, identity } from './drafts.ts';

let dir: string;
beforeEach(() => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-ship-'));
});
afterEach(() => fs.rmSync(dir, { recursive: true, force: true }));

const never = new AbortController().signal;

/** A spool of `count` events. */
function spoolOf(count: number) {
  const log = fakeLog();
  const spool = createSpool(
    identity,
    { ...SPOOL_DEFAULTS, dir },
    { disk: systemDisk, clock: fakeClock(), log: log },
  );
  const stamper = createStamper(identity, fakeClock(), fakeRandom());
  for (let i = 0; i < count; i++) spool.append([stamper.stamp(fileDraft(`/work/f${i}`))]);
  onTestFinished(() => spool.close({ finished: true }));
  return { spool, log };
}

/** A real server on loopback; `answer` decides what each request gets. */
async function serve(answer: (frame: Buffer, call: number) => number | 'hang up') {
  const app = Fastify({ logger: false, forceCloseConnections: true });
  const got: { type: string | undefined; events: TelltaleEvent[] }[] = [];
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
  app.post('/v1/frames', async (request, reply) => {
    const body = request.body as Buffer;
    const events = unframe(body).good.map(({ event }) => event);
    got.push({ type: request.headers['content-type'], events });
    const code = answer(body, got.length);
    if (code === 'hang up') {
      reply.hijack();
      request.raw.socket.destroy();
      return;
    }
    return reply.code(code).send({ said: `answer ${code}` });
  });
  await app.listen({ host: '127.0.0.1', port: 0 });
  onTestFinished(() => app.close());
  const { port } = app.server.address() as { port: number };
  return { url: new URL(`http://127.0.0.1:${port}`), got };
}

describe('the HTTP transport', () => {
  const frame = frameLines({ ...identity, first_seq: 0 }, [Buffer.from('{}')]);

  it('resolves by 200 alone, and says what else was answered', async () => {
    const server = await serve((_frame, call) => [200, 503, 415, 500][call - 1] ?? 200);
    const transport = httpTransport(server.url);
    await transport.send(identity.session_id, frame, never);
    for (const code of [503, 415, 500])
      await expect(transport.send(identity.session_id, frame, never)).rejects.toThrow(
        new RegExp(`/v1/frames answered ${code}: .*answer ${code}`),
      );
    expect(server.got.map(({ type }) => type)).toEqual(
      Array(4).fill('application/x-telltale-frame'),
    );
  });

  it('names the address that does not answer', async () => {
    const transport = httpTransport(new URL('http://127.0.0.1:9'));
    const sent = transport.send(identity.session_id, frame, never);
    await expect(sent).rejects.toThrow(ShipError);
    await expect(sent).rejects.toThrow('http://127.0.0.1:9/v1/frames');
  });
});

describe('openTransport', () => {
  it('takes http, https and kafka, and refuses the rest with words that help', () => {
    const log = fakeLog();
    expect(openTransport('http://h:1', log).name).toBe('http://h:1/v1/frames');
    expect(openTransport('https://h', log).name).toBe('https://h/v1/frames');
    expect(openTransport('kafka://a:1,b:2', log).name).toBe('kafka://a:1,b:2');
    for (const to of ['', 'kafka://', 'ftp://h', 'h:1', 'nonsense'])
      expect(() => openTransport(to, log)).toThrow(/give http:\/\/HOST:PORT or kafka:/);
  });
});

describe('the shipper over real HTTP', () => {
  it('goes on after 503, 500 and cut connections, in order, and releases by 200 alone', async () => {
    const { spool, log } = spoolOf(200);
    const stored = new Map<number, TelltaleEvent>();
    const fates = [200, 503, 'hang up', 500, 200, 'hang up'] as const;
    const server = await serve((frame, call) => {
      const fate = fates[call % fates.length] as (typeof fates)[number];
      if (fate === 200) for (const { event } of unframe(frame).good) stored.set(event.seq, event);
      return fate;
    });
    const shipper = createShipper({
      spool,
      transport: httpTransport(server.url),
      log,
      meter: fakeMeter(),
      clock: fakeClock(),
      settings: { ...SHIP_DEFAULTS, frameBytes: 8_000 },
    });
    shipper.start();
    expect(await shipper.drain(1e9)).toBe(true);
    await shipper.stop();
    expect([...stored.keys()]).toEqual(Array.from({ length: 200 }, (_, i) => i));
    expect(log.lines.filter(({ level }) => level === 'error')).toEqual([]);
    const warned = log.lines.filter(({ event }) => event === 'ship.failed').length;
    const resumed = log.lines.filter(({ event }) => event === 'ship.resumed').length;
    expect(warned).toBeGreaterThan(0);
    expect(resumed).toBe(warned);
  });
});

describe('the shipper', () => {
  it('never releases more than was acknowledged, and has one frame in flight', async () => {
    const { spool, log } = spoolOf(50);
    let [flying, most] = [0, 0];
    const firsts: number[] = [];
    const transport: Transport = {
      name: 'fake',
      connect: async () => {},
      close: async () => {},
      send: async (_session, frame) => {
        most = Math.max(most, ++flying);
        const { header } = unframe(frame);
        const before = 50 - spool.pending;
        expect(header?.first_seq).toBe(before);
        firsts.push(before);
        await new Promise((resolve) => setImmediate(resolve));
        flying--;
        expect(spool.pending).toBe(50 - before);
        if (firsts.length % 2 === 0) throw new ShipError('no answer');
      },
    };
    const settings = { ...SHIP_DEFAULTS, frameBytes: 1_500 };
    const deps = { spool, transport, log, meter: fakeMeter(), clock: fakeClock(), settings };
    const shipper = createShipper(deps);
    shipper.start();
    expect(await shipper.drain(1e9)).toBe(true);
    await shipper.stop();
    expect(most).toBe(1);
    expect(firsts.length).toBeGreaterThan(10);
  });
});
