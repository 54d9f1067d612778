/**
 * The services as real processes, with TLS and an account at each connection: an event goes through
 * from Kafka to GraphQL, and no secret stands in anything that they print, whatever goes wrong.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import https from 'node:https';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { frame, SASL_MECHANISMS } from '#schemas';
import { kafkaTransport } from '../../collector/ship.ts';
import { kafkaSecurity } from '../../deploy/kafka/security.ts';
import { ensureTopics } from '../../deploy/kafka/topics.ts';
import { hasOpenssl, makeCertificates, textsOf } from '../certificates.ts';
import { fakeLog } from '../fakes/ports.ts';
import { newStream } from '../ingest/engine.ts';
import { brokersOf, requireKafkaCluster } from '../kafka/broker.ts';
import { type Bridge, startBridge } from './stores/bridge.ts';

/** Each is told to a service in the way that a user tells it, and must be printed by none. */
const CANARIES = {
  sasl: `sasl-${randomUUID()}`,
  store: `store+/=${randomUUID()}`,
  webhook: `whsec_${Buffer.from(randomUUID()).toString('base64')}`,
  bearer: `tt_${randomUUID()}`,
  wrong: `wrong-${randomUUID()}`,
};
const made = hasOpenssl() ? makeCertificates() : undefined;
const kafka =
  made === undefined
    ? { skip: 'there is no openssl' }
    : await requireKafkaCluster(1, {
        ...textsOf(made.server),
        users: [{ name: 'telltale', password: CANARIES.sasl }],
      });
const ROOT = path.resolve(import.meta.dirname, '../..');
const SOURCE = ['--conditions=telltale-source', '--import', 'tsx'];

describe.skipIf('skip' in kafka)('services behind TLS and accounts', () => {
  const certificates = made as NonNullable<typeof made>;
  const brokers = brokersOf(kafka);
  let bridge: Bridge;
  let printed = '';
  const children: ChildProcess[] = [];
  const file = (name: string, text: string) => {
    fs.writeFileSync(path.join(certificates.dir, name), text);
    return path.join(certificates.dir, name);
  };
  const secrets = () => ({
    sasl: file('sasl', `${CANARIES.sasl}\n`),
    store: file('store', CANARIES.store),
    wrong: file('wrong', CANARIES.wrong),
  });
  const environment = (): NodeJS.ProcessEnv => ({
    PATH: process.env.PATH,
    HOME: certificates.dir,
    TELLTALE_LOG: 'debug',
    TELLTALE_STORE: bridge.url.replace('://', '://telltale@'),
    TELLTALE_STORE_PASSWORD_FILE: secrets().store,
    TELLTALE_STORE_CA_FILE: certificates.ca,
    TELLTALE_WEBHOOK_SECRET_FILE: file('webhook', CANARIES.webhook),
    TELLTALE_TOKEN: CANARIES.bearer,
    KAFKA_BROKERS: brokers.join(','),
    KAFKA_CA_FILE: certificates.ca,
    KAFKA_SASL_USERNAME: 'telltale',
    KAFKA_SASL_PASSWORD_FILE: secrets().sasl,
  });

  /** Starts `telltale ARGS`; all that it prints is kept. `said` resolves when it printed `sign`. */
  function start(args: readonly string[], more: NodeJS.ProcessEnv = {}) {
    const child = spawn(process.execPath, [...SOURCE, 'deploy/cli.ts', ...args], {
      cwd: ROOT,
      env: { ...environment(), ...more },
    });
    children.push(child);
    let own = '';
    const hear = (chunk: Buffer) => {
      own += chunk;
      printed += chunk;
    };
    child.stdout.on('data', hear);
    child.stderr.on('data', hear);
    const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
    async function said(sign: RegExp): Promise<string> {
      for (let waited = 0; !sign.test(own); waited += 50) {
        if (child.exitCode !== null || waited > 40_000) throw new Error(`no ${sign} in:\n${own}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      return own;
    }
    const text = async () => {
      await ended;
      return own;
    };
    return { child, ended, said, text };
  }

  function ask(
    port: number,
    token: string,
    query: string,
  ): Promise<{ status: number; body: string }> {
    return new Promise((resolve, reject) => {
      const request = https.request({
        ...{ host: '127.0.0.1', port, path: '/graphql', method: 'POST' },
        ca: fs.readFileSync(certificates.ca),
        headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
      });
      request.on('error', reject).on('response', (response) => {
        let body = '';
        response.on('data', (chunk) => {
          body += chunk;
        });
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
      });
      request.end(JSON.stringify({ query }));
    });
  }

  beforeAll(async () => {
    const tls = textsOf(certificates.server);
    const dir = path.join(certificates.dir, 'db');
    bridge = await startBridge(dir, { tls, password: CANARIES.store });
  });
  afterAll(async () => {
    for (const child of children) child.kill('SIGKILL');
    await bridge?.close();
    if (!('skip' in kafka)) await kafka.close();
    made?.remove();
  });

  it('let each mechanism in, and say why a wrong password is not', async () => {
    const flags = { 'kafka-user': 'telltale', 'kafka-ca': certificates.ca };
    for (const mechanism of SASL_MECHANISMS) {
      const own = { ...flags, 'kafka-mechanism': mechanism };
      const security = kafkaSecurity({ ...own, 'kafka-password-file': secrets().sasl }, {});
      const { partitions } = await ensureTopics(brokers, { partitions: 2 }, fakeLog(), security);
      expect(partitions).toBe(2);
      const wrong = kafkaSecurity({ ...own, 'kafka-password-file': secrets().wrong }, {});
      const refused = ensureTopics(brokers, { partitions: 2 }, fakeLog(), wrong);
      await expect(refused).rejects.toThrow(/refuses the account: check --kafka-user/);
    }
  });

  it('carry an event from the broker to an answer', async () => {
    expect(await start(['migrate', '--partitions', '2']).ended).toBe(0);
    const ingest = start([
      'ingest',
      '--no-rules',
      '--no-baseline',
      '--webhook',
      'https://[::1]:1/',
    ]);
    const served = ['--tls-cert', certificates.server.cert, '--tls-key', certificates.server.key];
    const query = start(['query', '--port', '0', ...served]);
    const security = kafkaSecurity({}, environment());
    const transport = kafkaTransport(brokers, fakeLog(), undefined, security);
    await transport.connect();
    const stream = newStream();
    const bytes = frame(stream.events(0, 9));
    await transport.send(stream.session_id, bytes, new AbortController().signal);
    await transport.close();
    await ingest.said(/"ingest\.batch"/);
    const at = await query.said(/token: \S+/);
    const port = Number(/https:\/\/127\.0\.0\.1:(\d+)\//.exec(at)?.[1]);
    const token = /token: (\S+)/.exec(at)?.[1] ?? '';
    const answer = await ask(port, token, `{ session(id: "${stream.session_id}") { id } }`);
    expect(answer).toMatchObject({ status: 200 });
    expect(answer.body).toContain(stream.session_id);
    expect((await ask(port, CANARIES.bearer, '{ __typename }')).status).toBe(401);
    for (const one of [ingest, query]) one.child.kill('SIGTERM');
    expect([await ingest.ended, await query.ended]).toEqual([0, 0]);
  });

  it('say what to do where an account or an authority is wrong', async () => {
    const wrongBroker = start(['migrate'], { KAFKA_SASL_PASSWORD_FILE: secrets().wrong });
    const wrongStore = start(['migrate'], { TELLTALE_STORE_PASSWORD_FILE: secrets().wrong });
    const stranger = start(['migrate'], { TELLTALE_STORE_CA_FILE: certificates.otherCa });
    expect(await wrongBroker.text()).toMatch(/refuses the account: check --kafka-user/);
    expect(await wrongStore.text()).toMatch(/Authentication failed.* Check TELLTALE_STORE and /);
    expect(await stranger.text()).toMatch(/give the authority's with TELLTALE_STORE_CA_FILE/);
  });

  it('print none of the secrets, in no form', () => {
    expect(printed).toContain('"ingest.batch"');
    for (const [name, secret] of Object.entries(CANARIES))
      for (const form of [
        secret,
        encodeURIComponent(secret),
        Buffer.from(secret).toString('base64'),
      ])
        expect(printed.includes(form), `${name}: ${form}`).toBe(false);
  });
});
