import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { decodeProtobuf, encodeProtobuf } from '../../../collector/agents/otlp/protobuf.ts';
import { createReceiver } from '../../../collector/agents/otlp/receiver.ts';
import { type Parsed, parseRequest } from '../../../collector/agents/otlp/shape.ts';
import { fakeLog } from '../../fakes/ports.ts';

const TRACE = 'f58c0ee0b844d2ecfda89315b4086bc9';
const SPAN = '26235f7756b86f99';
const attribute = (key: string, value: object) => ({ key, value });

/** One log record in OTLP/JSON, with what senders make of it. */
const logsOf = (attributes: readonly object[], more: object = {}) => ({
  resourceLogs: [
    {
      resource: { attributes: [attribute('service.name', { stringValue: 'codex_exec' })] },
      scopeLogs: [
        {
          scope: { name: 'codex_otel.log_only' },
          logRecords: [
            {
              timeUnixNano: '0',
              observedTimeUnixNano: '1795418022354231152',
              traceId: TRACE,
              spanId: SPAN,
              body: null,
              attributes,
              ...more,
            },
          ],
        },
      ],
    },
  ],
});

describe('the neutral shape', () => {
  it('reads times, ids and values as senders give them', () => {
    const { logs } = parseRequest(
      'logs',
      logsOf([
        attribute('int.text', { intValue: '7' }),
        attribute('int.number', { intValue: 7 }),
        attribute('int.large', { intValue: '9223372036854775807' }),
        attribute('empty', {}),
        attribute('thread.id', { intValue: '4' }),
        attribute('thread.id', { stringValue: 'conversation' }),
        attribute('list', { arrayValue: { values: [{ boolValue: true }, {}] } }),
        attribute('valueOf', { stringValue: 'no prototype' }),
      ]),
    );
    expect(logs).toHaveLength(1);
    expect(logs[0]).toMatchObject({
      observedNs: '1795418022354231152',
      traceId: TRACE,
      body: null,
    });
    expect(logs[0]).not.toHaveProperty('timeNs');
    expect({ ...logs[0]?.attributes }).toEqual({
      'int.text': 7,
      'int.number': 7,
      'int.large': '9223372036854775807',
      empty: null,
      'thread.id': 'conversation',
      list: [true, null],
      valueOf: 'no prototype',
    });
  });

  it('gives the same for protobuf as for JSON', () => {
    const request = logsOf([
      attribute('a', { stringValue: 'Ω' }),
      attribute('n', { intValue: '-5' }),
      attribute('d', { doubleValue: 0.5 }),
      attribute('m', { kvlistValue: { values: [attribute('k', { boolValue: false })] } }),
    ]);
    const binary = structuredClone(request);
    Object.assign(binary.resourceLogs[0]?.scopeLogs[0]?.logRecords[0] ?? {}, {
      traceId: Buffer.from(TRACE, 'hex'),
      spanId: Buffer.from(SPAN, 'hex'),
    });
    const bytes = encodeProtobuf('logs', binary);
    const parsed = parseRequest('logs', decodeProtobuf('logs', bytes));
    expect(parsed).toEqual(parseRequest('logs', request));
    expect(parsed.logs[0]?.observedNs).toBe('1795418022354231152');
  });

  it('counts what is no record, and goes on', () => {
    const request = { resourceSpans: [7, { scopeSpans: [{ spans: [null, { name: 'x' }] }] }] };
    expect(parseRequest('traces', request)).toMatchObject({
      malformed: 2,
      spans: [{ name: 'x', statusCode: 0 }],
    });
  });

  it('survives values nested without end', () => {
    let value: object = { stringValue: 'deep' };
    for (let i = 0; i < 2000; i++) value = { arrayValue: { values: [value] } };
    const { logs } = parseRequest('logs', logsOf([attribute('deep', value)]));
    expect(JSON.stringify(logs[0]?.attributes.deep)).toContain('nested too deep');
  });
});

describe('the receiver', () => {
  const taken: Parsed[] = [];
  const hooks: unknown[] = [];
  const refused: number[] = [];
  const log = fakeLog();
  const limits = { bodyBytesMax: 8 * 1024 * 1024, requestMsMax: 5000 };
  const receiver = createReceiver(
    {
      otlp: async (_signal, parsed) => void taken.push(parsed),
      hook: async (_name, payload) => void hooks.push(payload),
      refused: (status) => void refused.push(status),
    },
    log,
    limits,
  );
  beforeAll(() => receiver.start());
  afterAll(() => receiver.stop());
  beforeEach(() => {
    for (const list of [taken, hooks, refused]) list.length = 0;
  });

  const post = (path: string, body: string | Uint8Array, headers: Record<string, string> = {}) =>
    fetch(`${receiver.url}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: typeof body === 'string' ? body : new Uint8Array(body),
    });

  it('takes JSON, gzip and protobuf', async () => {
    const request = logsOf([attribute('event.name', { stringValue: 'x' })]);
    const json = JSON.stringify(request);
    const answers = [
      await post('/v1/logs', json),
      await post('/v1/logs', gzipSync(json), { 'content-encoding': 'gzip' }),
      await post('/v1/logs', encodeProtobuf('logs', logsOf([])), {
        'content-type': 'application/x-protobuf',
      }),
    ];
    expect(answers.map((answer) => answer.status)).toEqual([200, 200, 200]);
    expect(await answers[0]?.text()).toBe('{}');
    expect(taken.map((parsed) => parsed.logs.length)).toEqual([1, 1, 1]);
  });

  it('passes an attribute of 5 MB', async () => {
    const large = 'x'.repeat(5_000_000);
    const request = logsOf([attribute('output', { stringValue: large })]);
    expect((await post('/v1/logs', JSON.stringify(request))).status).toBe(200);
    expect(taken[0]?.logs[0]?.attributes.output).toBe(large);
  });

  it.each([
    [
      'a wrong content type',
      '/v1/logs',
      '{}',
      { 'content-type': 'text/plain' },
      415,
      /content-type/,
    ],
    ['a wrong encoding', '/v1/logs', '{}', { 'content-encoding': 'br' }, 415, /content-encoding/],
    ['broken JSON', '/v1/logs', '{"resourceLogs":', {}, 400, /not JSON/],
    ['a list', '/v1/logs', '[]', {}, 400, /not an OTLP logs request/],
    ['broken gzip', '/v1/logs', 'x', { 'content-encoding': 'gzip' }, 400, /not gzip/],
    [
      'broken protobuf',
      '/v1/logs',
      '\u0001\u0002',
      { 'content-type': 'application/x-protobuf' },
      400,
      /not an OTLP/,
    ],
    ['an unknown signal', '/v1/profiles', '{}', {}, 404, /nothing here/],
    ['a hook that is no JSON', '/hook/Stop', 'x', {}, 400, /not JSON/],
  ] as const)('refuses %s with a clear text', async (_what, path, body, headers, status, text) => {
    const answer = await post(path, body, headers);
    expect(answer.status).toBe(status);
    expect(await answer.text()).toMatch(text);
    expect(refused).toEqual([status]);
    expect(taken).toEqual([]);
  });

  it('refuses what is too large, also when it only unpacks to that', async () => {
    const large = Buffer.alloc(limits.bodyBytesMax + 1, 0x20);
    const bomb = await post('/v1/logs', gzipSync(large), { 'content-encoding': 'gzip' });
    expect(bomb.status).toBe(413);
    expect(await bomb.text()).toMatch(/larger than/);
  });

  it('is not there without the token', async () => {
    const { origin } = new URL(receiver.url);
    for (const path of ['/v1/logs', '/x/v1/logs', `/${'0'.repeat(48)}/v1/logs`]) {
      const answer = await fetch(origin + path, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: '{}',
      });
      expect(answer.status).toBe(404);
    }
    expect(taken).toEqual([]);
  });

  it('takes hook payloads', async () => {
    expect((await post('/hook/PreToolUse', '{"tool_use_id":"a"}')).status).toBe(200);
    expect(hooks).toEqual([{ tool_use_id: 'a' }]);
  });
});
