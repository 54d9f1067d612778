/** Each format, read back by a reader that is not ours, is the timeline. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Session } from 'chdb';
import { parse as parseCsv } from 'csv-parse/sync';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ALL_FIELDS, canonical, type Draft, REGISTRY, type TelltaleEvent } from '#schemas';
import { csvHeader, csvLine, textCell } from '../../../query/export/csv.ts';
import { ocsfOf } from '../../../query/export/ocsf.ts';
import { timeText } from '../../../query/render.ts';
import { byTime, flat } from '../../../query/timeline/view.ts';
import { viewer } from '../access.ts';
import { insertEvents, SESSION, stampStream, storyDrafts } from '../seed.ts';
import { openTestStore, type Service, serve, type TestStore } from '../service.ts';
import { ocsfFaults } from './ocsf-facts.ts';

const HOSTILE = [
  '=1+1',
  '+1',
  '-1',
  '@x',
  '\t=1',
  '\r=1',
  '\n=1',
  "'=1",
  '＝1',
  'a"b,c\r\nd',
  '🦊 é',
];

/** Every sample of every kind that a collector can write, and texts that spreadsheets would run. */
function allDrafts(): Draft[] {
  let ms = 0;
  const own = (role: string) => role === 'protocol';
  const samples = [...REGISTRY.values()]
    .filter(({ role, kind }) => !own(role) || kind === 'sensor' || kind === 'gap')
    .flatMap(({ kind, samples: list }) => list.map((sample) => ({ kind, ...sample })));
  const hostile = HOSTILE.map((text) => ({
    kind: 'prompt',
    prompt: text,
    turn_id: text,
    attrs: { [text]: text },
  }));
  return [...samples, ...hostile].map((event) => ({
    ts: String(1_764_000_000_000_000_000n + BigInt(++ms) * 1_000_003n),
    source: 'otlp',
    assurance: 'reported',
    ...event,
  })) as unknown as Draft[];
}

let test: TestStore;
let service: Service;
let dir: string;
let events: TelltaleEvent[];
beforeAll(async () => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-formats-'));
  test = await openTestStore();
  const stamped = stampStream({ drafts: [...storyDrafts(), ...allDrafts()] });
  await insertEvents(test.store, stamped);
  // What the service itself records is hidden from an export of what was recorded.
  events = stamped.map(({ event }) => event).sort(byTime);
  service = await serve(test.store);
});
afterAll(async () => {
  await service.app.close();
  await test.close();
  fs.rmSync(dir, { recursive: true, force: true });
});

const get = (query: string, from = service, id = SESSION) =>
  from.app.inject({ url: `/v1/sessions/${id}/events?${query}`, headers: { host: 'localhost' } });

async function body(query: string): Promise<Buffer> {
  const answer = await get(query);
  expect(answer.statusCode, answer.body.slice(0, 200)).toBe(200);
  return answer.rawPayload;
}

const lines = (bytes: Buffer) => bytes.toString().split('\n').slice(0, -1);

describe('NDJSON', () => {
  it('is the canonical form of each event in the order of the timeline', async () => {
    const got = lines(await body('format=ndjson'));
    expect(got).toEqual(events.map(canonical));
  });

  it('can be narrowed as a timeline can, and have its content withheld', async () => {
    const some = lines(await body('format=ndjson&kinds=exec,exit&assurances=observed'));
    const observed = ({ kind, assurance }: TelltaleEvent) =>
      (kind === 'exec' || kind === 'exit') && assurance === 'observed';
    expect(some).toEqual(events.filter(observed).map(canonical));
    const bare = lines(await body('format=ndjson&content=none&kinds=prompt'));
    expect(bare.length).toBeGreaterThan(HOSTILE.length);
    const whole = events.filter(({ kind }) => kind === 'prompt');
    for (const [i, line] of bare.entries()) {
      const event = JSON.parse(line);
      expect(event.prompt).toBeUndefined();
      if ('prompt' in (whole[i] as object)) expect(event.erased.prompt).toMatch(/^[0-9a-f]{64}$/);
    }
  });
});

describe('CSV', () => {
  const unquoted = (text: string) => (text.startsWith("'") ? text.slice(1) : text);

  it('is read back by another reader as the same events', async () => {
    const text = (await body('format=csv')).toString();
    const rows = parseCsv(text, { columns: true, record_delimiter: '\r\n' }) as Record<
      string,
      string
    >[];
    const back = rows.map((row) =>
      Object.fromEntries(
        Object.entries(row).flatMap(([name, cell]) => {
          const { shape } = ALL_FIELDS[name] as { shape: string };
          if (cell === '') return [];
          if (shape === 'time') return [[name, cell]];
          if (shape === 'uint' || shape === 'int') return [[name, Number(cell)]];
          if (shape === 'flag') return [[name, cell === 'true']];
          const plain = unquoted(cell);
          return [[name, shape === 'list' || shape === 'map' ? JSON.parse(plain) : plain]];
        }),
      ),
    );
    const times = ({ ts, observed_ts, ...rest }: TelltaleEvent) => ({
      ...rest,
      ts: timeText(ts),
      observed_ts: timeText(observed_ts),
    });
    expect(back).toEqual(events.map((event) => times(event)));
  });

  it('has no cell that a spreadsheet runs, whatever a field holds', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom(...HOSTILE))),
        (list) => {
          const texts = list.map((text) => text.toWellFormed());
          const line = `${texts.map(textCell).join(',')}\r\n`;
          const [cells = []] = parseCsv(line, { record_delimiter: '\r\n' }) as string[][];
          if (texts.length === 0 || (texts.length === 1 && texts[0] === '')) return;
          for (const cell of cells) expect(cell).not.toMatch(/^[=+\-@\t\r\n＝＋－＠]/);
          expect(cells.map(unquoted)).toEqual(texts);
        },
      ),
      { numRuns: 300 },
    );
    const two = parseCsv(csvHeader() + csvLine(flat(events[0] as never)), {
      record_delimiter: '\r\n',
    }) as string[][];
    expect(two.map((row) => row.length)).toEqual([
      Object.keys(ALL_FIELDS).length,
      Object.keys(ALL_FIELDS).length,
    ]);
  });
});

describe('Parquet', () => {
  it('is read by ClickHouse as the same events, with lists, maps and nanoseconds', async () => {
    const file = path.join(dir, 'events.parquet');
    fs.writeFileSync(file, await body('format=parquet'));
    const session = new Session(test.dir);
    const columns = Object.entries(ALL_FIELDS).map(([name, { shape }]) =>
      shape === 'time'
        ? `toString(toUnixTimestamp64Nano(assumeNotNull(${name}))) AS ${name}_ns`
        : name,
    );
    const result = await session.queryAsync(
      `SELECT ${columns.join(', ')} FROM file('${file}', Parquet) SETTINGS output_format_json_quote_64bit_integers = 0`,
      { format: 'JSONEachRow' },
    );
    session.close();
    const back = lines(Buffer.from(`${result.text().trimEnd()}\n`)).map((line) => {
      const row = Object.entries(JSON.parse(line) as Record<string, unknown>);
      const held = row.filter(
        ([, value]) =>
          value !== null && JSON.stringify(value) !== '[]' && JSON.stringify(value) !== '{}',
      );
      return Object.fromEntries(held.map(([name, value]) => [name.replace(/_ns$/, ''), value]));
    });
    const stamps = (event: Record<string, unknown>) => {
      const { duration_ns, duration, ...rest } = event;
      return { ...rest, duration: duration_ns ?? duration };
    };
    expect(back.map(stamps)).toEqual(events.map((event) => stamps({ ...event })));
  });
});

describe('OCSF', () => {
  it('is as the published schema has it, for every kind, and loses nothing', async () => {
    const got = lines(await body('format=ocsf')).map((line) => JSON.parse(line));
    expect(got.map(({ metadata }) => metadata.uid)).toEqual(
      events.map((event) => `${event.stream_id}-${event.seq}`),
    );
    for (const event of got)
      expect({ code: event.metadata.event_code, faults: ocsfFaults(event) }).toEqual({
        code: event.metadata.event_code,
        faults: [],
      });
    const classes = new Map(got.map((event) => [event.metadata.event_code, event.class_uid]));
    expect(Object.fromEntries([...classes].sort())).toMatchSnapshot();
  });

  it('maps every sample of every kind, also those that only the service writes', () => {
    for (const { kind, samples } of REGISTRY.values())
      for (const sample of samples) {
        const event = { ...events[0], kind, ...sample } as TelltaleEvent;
        const mapped = ocsfOf(flat(event));
        expect(ocsfFaults(mapped), `${kind} ${JSON.stringify(mapped)}`).toEqual([]);
        // Each value of the event stands somewhere in it.
        const text = JSON.stringify(mapped);
        for (const value of Object.values(sample))
          if (typeof value === 'string')
            expect(text, kind).toContain(JSON.stringify(value).slice(1, -1));
      }
  });

  it('has a checker that finds faults', () => {
    const good = ocsfOf(flat(events.find(({ kind }) => kind === 'exec') as never));
    expect(ocsfFaults(good)).toEqual([]);
    for (const bad of [
      { ...good, activity_id: 77 },
      { ...good, class_uid: 12 },
      { ...good, process: {} },
      { ...good, process: undefined },
      { ...good, made_up: 1 },
      { ...good, time: 'now' },
      { ...good, severity_id: 42 },
    ])
      expect(ocsfFaults(bad)).not.toEqual([]);
  });
});

describe('the route', () => {
  it('says what is wrong, and who may not', async () => {
    for (const query of [
      '',
      'format=xml',
      'format=csv&format=csv',
      'format=csv&pid=x',
      'format=csv&who=1',
    ])
      expect((await get(query)).statusCode, query).toBe(400);
    for (const query of ['content=some', 'from=x', 'kinds=nope', 'verdicts=maybe', 'processOf=x'])
      expect((await get(`format=csv&${query}`)).statusCode, query).toBe(400);
    expect(
      (await get('format=csv', service, '0193a5e0-0000-7000-8000-00000000dead')).statusCode,
    ).toBe(404);
    const reader = await serve(test.store, viewer('acme', ['viewer']));
    expect((await get('format=csv', reader)).statusCode).toBe(403);
    await reader.app.close();
    const blind = await serve(test.store, viewer('acme', ['investigator'], []));
    const text = (await get('format=ndjson&kinds=prompt', blind)).body;
    expect(text).not.toContain('make a file');
    expect(text.split('\n').length).toBeGreaterThan(5);
    await blind.app.close();
  });

  it('gives each tenant its own', async () => {
    const other = await serve(test.store, 'globex');
    expect((await get('format=ndjson', other)).statusCode).toBe(404);
    await other.app.close();
  });
});
