/** The endpoint over a seeded store of two tenants: who is answered, what, and what never is. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Session } from 'chdb';
import Fastify, { type FastifyInstance } from 'fastify';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { registerEndpoint } from '../../../../deploy/grafana/endpoint/serve.ts';
import { recognise, SHAPES, type Shape } from '../../../../deploy/grafana/endpoint/shapes.ts';
import { expand } from '../../../../deploy/grafana/macros.ts';
import { openHttp } from '../../../../deploy/stores/http.ts';
import { fakeClock, fakeLog, fakeMeter } from '../../../fakes/ports.ts';
import { accessOfMany, memoryJournal, viewer } from '../../../query/access.ts';
import {
  insertDead,
  insertEvents,
  OTHER_TENANT,
  SESSION,
  stampStream,
  TENANT,
} from '../../../query/seed.ts';
import { openTestStore, type TestStore } from '../../../query/service.ts';
import { faultOf, LIMITS, sql as text } from '../../stores/contract.ts';
import { fill, SEEDED, WRITTEN } from '../store.ts';

const THEIRS = ' mark-of-globex';
const journal = memoryJournal();
const VIEWERS = {
  ours: viewer(TENANT),
  theirs: viewer(OTHER_TENANT),
  bare: viewer(TENANT, ['viewer'], [], 'bo'),
  nobody: viewer(TENANT, [], [], 'no'),
};

let test: TestStore;
let engine: Session;
let app: FastifyInstance;
let url: string;
beforeAll(async () => {
  test = await openTestStore();
  await fill(test.store);
  engine = new Session(test.dir);
  const other = { tenant: OTHER_TENANT, mark: THEIRS, host: 'globex-box', agent: 'gemini' };
  await insertEvents(test.store, stampStream(other));
  await insertDead(test.store, { tenant: OTHER_TENANT, seq: 4, reason: 'conflict' });
  app = Fastify();
  const ports = { store: test.store, log: fakeLog(), meter: fakeMeter(), clock: fakeClock() };
  const accounts = accessOfMany(VIEWERS, TENANT, journal);
  await registerEndpoint(app, { ...ports, ...accounts, requestsPerMinute: 1_000_000 });
  url = await app.listen({ host: '127.0.0.1', port: 0 });
});
afterAll(async () => {
  await app.close();
  engine.close();
  await test.close();
});

const basic = (token: string) => `Basic ${Buffer.from(`grafana:${token}`).toString('base64')}`;

async function post(body: string, who = 'ours', format = 'JSONEachRow', headers = {}) {
  const query = `database=telltale&default_format=${format}&client_protocol_version=54460&max_execution_time=64`;
  const answer = await app.inject({
    method: 'POST',
    url: `/?${query}`,
    headers: { host: '127.0.0.1:8123', authorization: basic(who), ...headers },
    payload: body,
  });
  return { status: answer.statusCode, text: answer.body, bytes: answer.rawPayload };
}

const rangeOf = (sql: string) =>
  /\$__time\w+\((ingested_at|raised_at)\)/.test(sql) ? WRITTEN() : SEEDED;
const asked = ({ sql }: Shape) => expand(sql, rangeOf(sql), { session: SESSION });
/** Drop-downs that several dashboards have, once. */
const DISTINCT = [...new Map(SHAPES.map((shape) => [shape.sql, shape])).values()];
const all = DISTINCT.map((shape): [string, Shape] => [`${shape.dashboard} ${shape.of}`, shape]);
const lastDraft = () => journal.entries.at(-1)?.draft as { attrs: Record<string, string> } & object;

describe.each(all)('%s', (_, shape) => {
  it('is answered as the engine answers it, byte for byte in Native', async () => {
    const own = asked(shape);
    const answered = await post(own, 'ours', 'Native');
    expect([answered.status, answered.status === 200 ? '' : answered.text]).toEqual([200, '']);
    expect(answered.text).not.toMatch(/globex|gemini|conflict/);
    // Our own tenant’s rows, by the engine itself.
    const ours = own.replaceAll(
      /FROM (telltale\.\w+)/g,
      (_all, table) =>
        `FROM (SELECT *${table === 'telltale.events' ? ', argv_line' : ''} FROM ${table} WHERE tenant = '${TENANT}')`,
    );
    // Where it has a LowCardinality(String) we say String.
    const columns = Object.entries(shape.columns).map(([name, type]) =>
      type === 'String' ? `CAST(${name}, 'String') AS ${name}` : name,
    );
    const plain = `SELECT ${columns.join(', ')} FROM (${ours})`;
    const nativeOf = async (sql: string) =>
      Buffer.from((await engine.queryAsync(sql, { format: 'Native' })).bytes()).toString('hex');
    // With several threads it may give the same rows in several blocks, with one in another order.
    const expected = [await nativeOf(plain), await nativeOf(`${plain} SETTINGS max_threads = 1`)];
    // The engine writes nothing where there is no row; we say which columns there would be.
    if (expected[0] !== '') expect(expected).toContain(answered.bytes.toString('hex'));
    else expect(answered.bytes[1]).toBe(0);
  });

  it('shows nothing of another tenant', async () => {
    const theirs = await post(asked(shape), 'theirs', 'JSONCompact');
    expect(theirs.status).toBe(200);
    expect(theirs.text).not.toMatch(/acme|box-[12]|"codex"|A made-up rule/);
  });
});

describe('tenancy', () => {
  it('is the token’s, whatever tenant is picked', async () => {
    const shape = SHAPES.find(({ of }) => of === 'panel Events') as Shape;
    const picked = (tenant: string) => ({
      tenant: Buffer.from(tenant).toString('hex').toUpperCase(),
    });
    const count = async (who: string, tenant: string) =>
      Number(JSON.parse((await post(expand(shape.sql, SEEDED, picked(tenant)), who)).text).value);
    expect(await count('ours', TENANT)).toBeGreaterThan(0);
    expect(await count('theirs', OTHER_TENANT)).toBeGreaterThan(0);
    expect(await count('ours', OTHER_TENANT)).toBe(0);
    expect(await count('theirs', TENANT)).toBe(0);
  });

  it('and content stays withheld from who may not see it', async () => {
    const shape = SHAPES.find(({ of }) => of === 'panel What happened') as Shape;
    const [full, bare] = [await post(asked(shape)), await post(asked(shape), 'bare')];
    expect([full.status, bare.status]).toEqual([200, 200]);
    expect(full.text).toContain('rm -rf /');
    expect(bare.text.split('\n').length).toBe(full.text.split('\n').length);
    expect(bare.text).not.toMatch(/rm -rf|echo hi/);
  });
});

describe('who asks', () => {
  const shape = SHAPES[0] as Shape;

  it('needs a token and a role', async () => {
    const refused = [
      await post(asked(shape), 'wrong'),
      await post(asked(shape), 'ours', 'Native', { authorization: 'Bearer ours' }),
      await post(asked(shape), 'ours', 'Native', { authorization: '' }),
      await post('SELECT 1', 'wrong'),
    ];
    expect(refused.map(({ status }) => status)).toEqual([401, 401, 401, 401]);
    expect(refused[0]?.text).toMatch(/^Code: 516\. DB::Exception: .+ \(AUTHENTICATION_FAILED\)\n$/);
    expect((await post(asked(shape), 'nobody')).status).toBe(403);
  });

  it('must name this machine', async () => {
    const away = await post(asked(shape), 'ours', 'Native', { host: 'rebound.example' });
    expect([away.status, away.text]).toEqual([421, expect.stringContaining('ACCESS_DENIED')]);
  });

  it('is journaled, with the user that Grafana claims and what was looked at', async () => {
    await post(asked(shape), 'ours', 'Native', { 'x-grafana-user': 'lea' });
    expect(lastDraft()).toMatchObject({
      actor: 'kim',
      operation: 'grafana query',
      outcome: 'success',
      attrs: { grafana_user: 'lea', grafana_dashboard: 'telltale-fleet', rows: '1' },
    });
    const agent =
      'grafana/13.1.0 clickhouse-go/2.47.0 (grafana_user:max; lv:go/1.26; os:linux) grafana-clickhouse';
    const session = SHAPES.find(({ of }) => of === 'panel What happened') as Shape;
    await post(asked(session), 'ours', 'Native', { 'user-agent': agent });
    expect(lastDraft().attrs).toMatchObject({ grafana_user: 'max', sessions: SESSION });
    await post('SELECT secret FROM telltale.events', 'ours', 'Native', { 'user-agent': agent });
    expect(lastDraft()).toMatchObject({ outcome: 'denied', attrs: { grafana_user: 'max' } });
    expect(JSON.stringify(lastDraft())).not.toContain('secret');
  });

  it('gets nothing when it can’t be written down', async () => {
    journal.broken = true;
    const answer = await post(asked(shape));
    journal.broken = false;
    expect([answer.status, answer.text]).toEqual([503, expect.stringMatching(/^Code: 243\. DB::/)]);
  });
});

describe('what is refused', () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-endpoint-'));
  afterAll(() => fs.rmSync(dir, { recursive: true, force: true }));
  const good = () => asked(SHAPES[0] as Shape);
  const secret = path.join(dir, 'secret');
  const out = path.join(dir, 'out');
  const STATEMENTS: Readonly<Record<string, () => string>> = {
    'reads a file': () => `SELECT * FROM file('${secret}', 'LineAsString')`,
    'reads a file as a scalar': () => `SELECT file('${secret}')`,
    'writes a file': () => `${good()} INTO OUTFILE '${out}'`,
    'writes a file by a table function': () =>
      `INSERT INTO FUNCTION file('${out}', 'LineAsString') SELECT 'x'`,
    'inserts from a file': () =>
      `INSERT INTO telltale.events FROM INFILE '${secret}' FORMAT JSONEachRow`,
    'calls out by url': () => `SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')`,
    'calls out by s3': () => `SELECT * FROM s3('http://127.0.0.1:1/b/k', 'LineAsString')`,
    'calls out by remote': () => `SELECT * FROM remote('127.0.0.1:1', system.one)`,
    'calls out by postgresql': () => `SELECT * FROM postgresql('127.0.0.1:1', 'd', 't', 'u', 'p')`,
    executes: () => `SELECT * FROM executable('id', 'TSV', 'x String')`,
    'sets a setting': () => 'SET readonly = 0',
    'sets a setting in a clause': () => `${good()} SETTINGS readonly = 0`,
    'comes in twos': () => `${good()}; DROP TABLE telltale.events`,
    'comes in twos behind EXPLAIN': () => `EXPLAIN AST SELECT 1; DROP TABLE telltale.events`,
    'is a union': () => `${good()} UNION ALL SELECT count() FROM telltale.events`,
    drops: () => 'DROP TABLE telltale.events',
    truncates: () => 'TRUNCATE TABLE telltale.events',
    inserts: () => "INSERT INTO telltale.events (tenant) VALUES ('x')",
    alters: () => 'ALTER TABLE telltale.events DELETE WHERE 1',
    kills: () => 'KILL QUERY WHERE 1',
    'reads system tables': () => 'SELECT * FROM system.tables',
    'reads another table': () => 'SELECT * FROM telltale.erasures',
    'reads all rows of a table': () => 'SELECT * FROM telltale.events',
    shows: () => 'SHOW TABLES',
    describes: () => 'DESCRIBE TABLE telltale.events',
    'is a handshake and more': () => `SELECT displayName(), version(), revision(), timezone(), 1`,
    'is a comment and one of ours': () => `/* */ ${good()}`,
    'is one of ours and a comment': () => `${good()} -- `,
    'is empty': () => '',
    'is not closed': () => `${good()}'`,
    'is very long': () => `${good()}${' '.repeat(1024 * 1024)}x`,
  };

  it.each(Object.entries(STATEMENTS))('what %s', async (_, statement) => {
    fs.writeFileSync(secret, 'TOP-SECRET\n');
    for (const format of ['Native', 'JSON']) {
      const answer = await post(statement(), 'ours', format);
      expect(answer.status).toBe(403);
      expect(answer.text).toMatch(/^Code: 497\. DB::Exception: only the statements of the dash/);
    }
    expect(fs.existsSync(out)).toBe(false);
    expect((await post(good())).status).toBe(200);
  });

  it('is what has a hostile value in a place of its own, in each variable of each statement', async () => {
    const HOSTILE = [
      "x') OR 1=1 -- ",
      "x\\') OR 1=1 -- ",
      'x\\',
      "'",
      '\\',
      "' UNION ALL SELECT file('/etc/hostname') --",
      "'; DROP TABLE telltale.events; --",
      'a b',
      '\0',
      'é',
      '{a}',
      '%2',
    ];
    const ASKED_EACH = 20;
    let tried = 0;
    for (const { sql } of SHAPES)
      for (const name of ['tenant', 'agent', 'host', 'session'])
        for (const value of sql.includes(`\${${name}:`) ? HOSTILE : []) {
          // As a front end would send it that does not encode.
          const raw = sql.replaceAll(`\${${name}:percentencode}`, () => value);
          const payload = expand(raw, SEEDED);
          expect(recognise(payload)).toBeUndefined();
          if (tried % ASKED_EACH === 0) expect((await post(payload)).status).toBe(403);
          tried++;
        }
    expect(tried).toBeGreaterThan(1000);
  });

  it('is every other route, method and format', async () => {
    const call = async (method: 'GET' | 'PUT' | 'POST', at: string) =>
      (
        await app.inject({
          method,
          url: at,
          headers: { host: 'localhost', authorization: basic('ours') },
        })
      ).statusCode;
    expect(await call('GET', '/?query=SELECT%201')).toBe(200);
    expect(await call('GET', '/?query=SELECT%202')).toBe(403);
    expect(await call('GET', '/play')).toBe(404);
    expect(await call('PUT', '/')).toBe(404);
    expect(await call('POST', '/graphql')).toBe(404);
    for (const format of ['CSV', 'Values', '__proto__', 'constructor'])
      expect((await post(good(), 'ours', format)).status).toBe(400);
  });

  it('is a statement beyond its bytes', async () => {
    const answer = await post('x'.repeat(3 * 1024 * 1024));
    expect([answer.status, answer.text]).toEqual([413, expect.stringMatching(/^Code: \d+\. DB::/)]);
  });
});

describe('the product’s own HTTP adapter', () => {
  it('reads our statements from it, and is refused all others as a server would refuse', async () => {
    const store = openHttp(new URL(url.replace('//', '//grafana:ours@')));
    try {
      await store.ping();
      for (const title of ['Sessions', 'What happened', 'Tokens by model']) {
        const shape = SHAPES.find(({ of }) => of === `panel ${title}`) as Shape;
        const rows = await store.query(text(asked(shape)), LIMITS);
        const streamed = [];
        for await (const some of store.stream(text(asked(shape)), LIMITS)) streamed.push(...some);
        const direct = (await post(asked(shape))).text.split('\n').filter((line) => line !== '');
        expect(rows.length).toBeGreaterThan(0);
        expect(rows).toEqual(direct.map((line) => JSON.parse(line)));
        expect(streamed).toEqual(rows);
      }
      const fault = await faultOf(store.query(text('SELECT * FROM telltale.events'), LIMITS));
      expect(fault).toMatchObject({ code: 'refused', engineCode: 497 });
      expect((await faultOf(store.command('DROP TABLE telltale.events'))).engineCode).toBe(497);
    } finally {
      await store.close();
    }
  });
});
