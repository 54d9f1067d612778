import Fastify, { type FastifyInstance } from 'fastify';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  EVENTS_TABLE,
  encode,
  frame,
  frameLines,
  type Store,
  StoreError,
  type TelltaleEvent,
} from '#schemas';
import { REQUESTS_MAX, registerFrames } from '../../ingest/http.ts';
import { createIngest } from '../../ingest/loop.ts';
import { fakeClock, fakeLog, fakeMeter } from '../fakes/ports.ts';
import { deadOf, eventsOf, newStream, seqsOf, useEngine } from './engine.ts';
import { faultyStore } from './faulty.ts';

const engine = useEngine();
const TYPE = 'application/x-telltale-frame';

function serve(store: Store, patienceMs?: number): FastifyInstance {
  const app = Fastify({ logger: false });
  const clock = fakeClock();
  const shared = { store, log: fakeLog(), meter: fakeMeter(), clock };
  const random = { bytes: (count: number) => new Uint8Array(count) };
  const ingest = createIngest({ ...shared, random });
  const patience = patienceMs === undefined ? {} : { patienceMs };
  registerFrames(app, { ...shared, ingest, ...patience });
  onTestFinished(() => app.close());
  return app;
}

const post = (app: FastifyInstance, body: Uint8Array, type = TYPE) =>
  app.inject({
    method: 'POST',
    url: '/v1/frames',
    headers: { 'content-type': type },
    payload: Buffer.from(body),
  });

describe('POST /v1/frames', () => {
  it('answers 200 after the write: the very events are in the table', async () => {
    const app = serve(engine.store);
    const stream = newStream();
    const events = stream.events(0, 99);
    const answer = await post(app, frame(events));
    expect(answer.statusCode).toBe(200);
    expect(answer.json()).toEqual({ stored: 100, duplicates: 0, parked: 0 });
    expect(await eventsOf(engine.store, stream.stream_id)).toEqual(events);
  });

  it('drops what it has already, also when the frame is cut in another place', async () => {
    const app = serve(engine.store);
    const stream = newStream();
    await post(app, frame(stream.events(0, 9)));
    expect((await post(app, frame(stream.events(0, 9)))).json().duplicates).toBe(10);
    const grown = await post(app, frame(stream.events(5, 14)));
    expect(grown.json()).toEqual({ stored: 5, duplicates: 5, parked: 0 });
    const restarted = serve(engine.store);
    expect((await post(restarted, frame(stream.events(0, 14)))).json().duplicates).toBe(15);
    expect(await seqsOf(engine.store, stream.stream_id)).toEqual(stream.events(0, 14).map(seqOf));
  });

  it('refuses another content type by name, and stores nothing', async () => {
    const app = serve(engine.store);
    const stream = newStream();
    for (const type of ['application/json', 'text/plain', 'application/octet-stream']) {
      const answer = await post(app, frame(stream.events(0, 0)), type);
      expect(answer.statusCode).toBe(415);
      expect(answer.json().error).toContain(TYPE);
    }
    expect(await seqsOf(engine.store, stream.stream_id)).toEqual([]);
  });
});

const seqOf = (event: TelltaleEvent) => event.seq;

describe('POST /v1/frames: bad input is parked, its neighbours are stored', () => {
  /** A frame whose line 1 is `bad`, between two good ones. */
  async function between(bad: Uint8Array) {
    const stream = newStream();
    const lines = [encode(stream.event(0)), bad, encode(stream.event(2))];
    const answer = await post(serve(engine.store), frameLines({ ...stream, first_seq: 0 }, lines));
    expect(answer.statusCode).toBe(200);
    expect(answer.json()).toEqual({ stored: 2, duplicates: 0, parked: 1 });
    expect(await seqsOf(engine.store, stream.stream_id)).toEqual([0, 2]);
    const [row] = await deadOf(engine.store, stream.session_id);
    expect(row).toMatchObject({ tenant: 'default', stream_id: stream.stream_id, seq: 1 });
    expect(Buffer.from(String(row?.bytes_base64), 'base64').equals(bad)).toBe(true);
    return row;
  }
  const line = (stream: ReturnType<typeof newStream>) => encode(stream.event(1)).toString();

  it.each([
    ['an unknown kind', (s: string) => s.replace('"file"', '"no.such"'), 'unknown_kind', 'kind'],
    [
      'an integer as a string',
      (s: string) => s.replace('"pid":42', '"pid":"42"'),
      'invalid',
      'pid',
    ],
    ['keys out of order', (s: string) => s.replace('{', '{"zzz":1,'), 'invalid', ''],
    [
      'a lone surrogate',
      (s: string) => s.replace('/work', '/\\ud800'),
      'not_well_formed',
      'file_path',
    ],
    ['no JSON at all', () => 'hello', 'not_json', ''],
    ['a blank too many', (s: string) => s.replace('{', '{ '), 'not_canonical', ''],
  ])('%s', async (_name, change, reason, field) => {
    const row = await between(Buffer.from(change(line(newStream()))));
    expect(row?.reason).toBe(reason);
    if (field !== '') expect(row?.field).toContain(field);
    expect(String(row?.detail)).not.toBe('');
  });

  it('bytes that are no UTF-8', async () => {
    const row = await between(Buffer.from([0x7b, 0xff, 0xfe, 0x7d]));
    expect(row?.reason).toBe('not_utf8');
  });

  it('a 5 MB attribute', async () => {
    const good = line(newStream());
    const row = await between(
      Buffer.from(good.replace('{', `{"attrs":{"big":"${'x'.repeat(5 * 1024 * 1024)}"},`)),
    );
    expect(row?.reason).toBe('invalid');
    expect(`${row?.field} ${row?.detail}`).toContain('attrs');
  });

  it('a frame cut off in the middle of a line', async () => {
    const stream = newStream();
    const whole = frame(stream.events(0, 2));
    const answer = await post(serve(engine.store), whole.subarray(0, whole.length - 40));
    expect(answer.statusCode).toBe(200);
    expect(await seqsOf(engine.store, stream.stream_id)).toEqual([0, 1]);
    const [row] = await deadOf(engine.store, stream.session_id);
    expect(row).toMatchObject({ reason: 'frame_truncated', seq: 2 });
  });

  it('a frame of another version, and bytes that are no frame, with empty ids', async () => {
    const app = serve(engine.store);
    const stream = newStream();
    const v9 = Buffer.from(
      frame(stream.events(0, 0)).toString().replace('"telltale":1', '"telltale":9'),
    );
    const junk = Buffer.from([0, 1, 2, 0xff, 0x0a, 0xd8, 0x00]);
    for (const body of [v9, junk, Buffer.from('{}\n')])
      expect((await post(app, body)).json()).toEqual({ stored: 0, duplicates: 0, parked: 1 });
    const rows = await deadOf(engine.store, '');
    expect(rows.map((row) => row.reason).sort()).toEqual([
      'frame_version',
      'not_a_frame',
      'not_a_frame',
    ]);
    expect(rows.some((row) => row.bytes_base64 === junk.toString('base64'))).toBe(true);
  });

  it('a header with hostile ids and numbers', async () => {
    const header = JSON.stringify({
      telltale: 1,
      tenant: "'; DROP TABLE x --",
      session_id: 'not-a-uuid-\ud800',
      stream_id: '',
      first_seq: Number.MAX_SAFE_INTEGER - 1,
      count: 1,
      bytes: 3,
    });
    const answer = await post(serve(engine.store), Buffer.from(`${header}\n{}\n`));
    expect(answer.json()).toEqual({ stored: 0, duplicates: 0, parked: 1 });
    const rows = await deadOf(engine.store, 'not-a-uuid-\ufffd');
    expect(rows).toMatchObject([{ tenant: "'; DROP TABLE x --", seq: null }]);
  });

  it('a clock that jumps back, and a session that never closes', async () => {
    const stream = newStream();
    const events = [
      stream.event(0),
      stream.event(1, { ts: '1000000000000000000' }),
      stream.event(2),
    ];
    await post(serve(engine.store), frame(events));
    expect(await eventsOf(engine.store, stream.stream_id)).toEqual(events);
  });
});

describe('POST /v1/frames: a store that is away', () => {
  const failing = (code: 'unreachable' | 'busy' | 'unknown', after: boolean): Store => ({
    ...engine.store,
    insert: async (insert) => {
      if (after) await engine.store.insert(insert);
      throw new StoreError({ code, message: 'on purpose' });
    },
  });

  it('gets 503 with Retry-After, never 200 and never 4xx', async () => {
    for (const code of ['unreachable', 'busy', 'unknown'] as const) {
      const answer = await post(serve(failing(code, false), 1), frame(newStream().events(0, 3)));
      expect(answer.statusCode).toBe(503);
      expect(answer.headers['retry-after']).toBe('1');
      expect(answer.json().error).toContain(code);
    }
  });

  it('an insert that was stored without an answer is not stored again', async () => {
    let lost = true;
    const store: Store = {
      ...engine.store,
      insert: (insert) =>
        lost ? failing('unknown', true).insert(insert) : engine.store.insert(insert),
    };
    const app = serve(store, 1);
    const stream = newStream();
    expect((await post(app, frame(stream.events(0, 3)))).statusCode).toBe(503);
    lost = false;
    // The sender has more by now, and so its frame is another one.
    expect((await post(app, frame(stream.events(0, 5)))).json().stored).toBe(2);
    expect(await seqsOf(engine.store, stream.stream_id)).toEqual([0, 1, 2, 3, 4, 5]);
  });

  it('settles an insert that is still under way before it takes the next frame', async () => {
    const store = faultyStore();
    const { insert } = store;
    let away = true;
    store.insert = async (one) => {
      if (!away || store.inserts.length === 0) return insert(one);
      throw new StoreError({ code: 'unreachable', message: 'on purpose' });
    };
    store.script = ['late'];
    const app = serve(store, 20);
    const stream = newStream();
    expect((await post(app, frame(stream.events(0, 3)))).statusCode).toBe(503);
    away = false;
    expect((await post(app, frame(stream.events(0, 5)))).json().stored).toBe(2);
    store.land();
    const seqs = store.rows(EVENTS_TABLE).map((row) => row.seq);
    expect(seqs).toEqual([0, 1, 2, 3, 4, 5]);
  });

  it('turns away more than it can hold, before reading them', async () => {
    let open = () => {};
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    const store: Store = {
      ...engine.store,
      insert: async (insert) => {
        await gate;
        return engine.store.insert(insert);
      },
    };
    const app = serve(store);
    const stream = newStream();
    const requests = Array.from({ length: REQUESTS_MAX + 3 }, (_, i) =>
      post(app, frame(stream.events(i, i))),
    );
    const early = await Promise.race(requests.map(async (one, i) => [i, (await one).statusCode]));
    expect(early?.[1]).toBe(503);
    open();
    const codes = (await Promise.all(requests)).map(({ statusCode }) => statusCode);
    expect(codes.filter((code) => code === 200)).toHaveLength(REQUESTS_MAX);
    expect(codes.filter((code) => code === 503)).toHaveLength(3);
  });
});
