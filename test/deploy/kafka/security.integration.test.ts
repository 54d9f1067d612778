import fs from 'node:fs';
import net, { type AddressInfo } from 'node:net';
import path from 'node:path';
import tls from 'node:tls';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import type { KafkaSecurity } from '#schemas';
import { kafkaSecurity } from '../../../deploy/kafka/security.ts';
import { ensureTopics } from '../../../deploy/kafka/topics.ts';
import { hasOpenssl, makeCertificates, type Pair, textsOf } from '../../certificates.ts';
import { fakeLog } from '../../fakes/ports.ts';

const able = hasOpenssl();

describe.skipIf(!able)('settings of TLS and SASL', () => {
  const made = able ? makeCertificates() : (undefined as never);
  afterAll(() => made?.remove());
  const write = (name: string, text: string) => {
    fs.writeFileSync(path.join(made.dir, name), text);
    return path.join(made.dir, name);
  };
  const secret = able ? write('password', 'a secret\n') : '';
  const none: NodeJS.ProcessEnv = {};

  it('are plain text without an account when nothing is said', () => {
    expect(kafkaSecurity({}, none)).toEqual({});
    expect(kafkaSecurity({}, { KAFKA_TLS: 'false', KAFKA_CA_FILE: '' })).toEqual({});
    expect(kafkaSecurity({}, { KAFKA_TLS: 'true' })).toEqual({ ssl: true });
  });

  it('take flags before the environment, and secrets by file', () => {
    const env = {
      KAFKA_CA_FILE: made.otherCa,
      KAFKA_SASL_USERNAME: 'other',
      KAFKA_SASL_PASSWORD_FILE: secret,
    };
    const flags = { 'kafka-ca': made.ca, 'kafka-user': 'me', 'kafka-mechanism': 'SCRAM-SHA-256' };
    expect(kafkaSecurity(flags, env)).toEqual({
      ssl: { ca: fs.readFileSync(made.ca, 'utf8') },
      sasl: { mechanism: 'scram-sha-256', username: 'me', password: 'a secret' },
    });
    expect(kafkaSecurity({}, env).sasl?.mechanism).toBe('scram-sha-512');
    const own = { 'kafka-cert': made.client.cert, 'kafka-key': made.client.key };
    expect(kafkaSecurity(own, none)).toEqual({ ssl: textsOf(made.client) });
  });

  it('that can’t work are refused by name', () => {
    const refused = (flags: object, env: NodeJS.ProcessEnv = none) => {
      try {
        return String(kafkaSecurity(flags, env));
      } catch (error) {
        return String(error);
      }
    };
    const user = { 'kafka-user': 'me', 'kafka-password-file': secret };
    const { client, server, expired, ca } = made;
    expect(refused({ 'kafka-ca': '/no/such' })).toMatch(
      /--kafka-ca \/no\/such: can't be read \(ENOENT/,
    );
    expect(refused({ 'kafka-ca': secret })).toMatch(/holds no certificate in PEM form/);
    expect(refused({ 'kafka-cert': client.cert })).toMatch(/--kafka-cert needs --kafka-key/);
    expect(refused({ 'kafka-key': client.key })).toMatch(/--kafka-key needs --kafka-cert/);
    expect(refused({ 'kafka-cert': client.cert, 'kafka-key': server.key })).toMatch(
      /is not the key/,
    );
    expect(refused({ 'kafka-cert': client.cert, 'kafka-key': ca })).toMatch(/no private key/);
    expect(refused({ 'kafka-cert': expired.cert, 'kafka-key': expired.key })).toMatch(
      /certificate expired on .*: renew it/,
    );
    expect(refused({ 'kafka-user': 'me' })).toMatch(
      /SASL needs --kafka-user .* --kafka-password-file/,
    );
    expect(refused({ ...user, 'kafka-mechanism': 'gssapi' })).toMatch(/give plain, scram-sha-256/);
    expect(refused({ ...user, 'kafka-mechanism': 'plain' })).toMatch(/clear text: add --kafka-ca/);
    expect(refused({ ...user, 'kafka-password-file': write('empty', '\n') })).toMatch(/is empty/);
    expect(refused({}, { KAFKA_TLS: 'yes' })).toMatch(/KAFKA_TLS=yes: give true or false/);
    expect(refused({ ...user, 'kafka-mechanism': 'plain' })).not.toMatch(/a secret/);
  });

  describe('a broker that is not who it should be', () => {
    const servers: net.Server[] = [];
    afterEach(() => {
      for (const server of servers.splice(0)) server.close();
    });
    async function told(server: net.Server, security: KafkaSecurity): Promise<string> {
      servers.push(server);
      server.on('connection', (socket: net.Socket) => socket.on('error', () => {}));
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      const broker = `127.0.0.1:${(server.address() as AddressInfo).port}`;
      return ensureTopics([broker], { partitions: 1 }, fakeLog(), security).then(String, String);
    }
    const shows = (pair: Pair, ca: string) =>
      told(tls.createServer(textsOf(pair)), { ssl: { ca: fs.readFileSync(ca, 'utf8') } });

    it('is refused at once, and what to do is said', async () => {
      expect(await shows(made.server, made.otherCa)).toMatch(/authority's with --kafka-ca FILE/);
      expect(await shows(made.expired, made.ca)).toMatch(/has expired: renew it on the server/);
      expect(await shows(made.otherName, made.ca)).toMatch(
        /is for another name: connect by a name/,
      );
      const echo = net.createServer((socket) => socket.end('HTTP/1.1 400 no\r\n\r\n'));
      const trust = { ssl: { ca: fs.readFileSync(made.ca, 'utf8') } };
      expect(await told(echo, trust)).toMatch(/does not speak TLS: give the port/);
    });
  });
});
