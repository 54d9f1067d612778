import dgram from 'node:dgram';
import { Resolver } from 'node:dns/promises';
import fs from 'node:fs';
import net, { type AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { decode, encode, type Packet } from 'dns-packet';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Draft } from '#schemas';
import { egressSite, runIn } from './site.ts';

const ZONE: Readonly<Record<string, readonly string[]>> = {
  'a.good.test': ['198.51.99.1'],
  'b.good.test': ['198.51.99.1', '198.51.99.2'],
  'rebound.good.test': ['169.254.169.254'],
  'mixed.good.test': ['198.51.99.3', '10.0.0.1'],
};

/** A name server with a zone of addresses, over UDP and TCP on one port. */
async function nameServer() {
  const asked: string[] = [];
  const answer = (message: Buffer): Buffer | undefined => {
    const query = decode(message);
    const [question] = query.questions ?? [];
    const name = question?.name ?? '';
    asked.push(name);
    if (name === 'silent.good.test') return undefined;
    const known = ZONE[name];
    const answers = (question?.type === 'A' ? (known ?? []) : []).map((data) => ({
      ...{ type: 'A' as const, name, ttl: 60, data },
    }));
    const flags = 0x0180 | (known === undefined ? 3 : 0);
    return encode({
      type: 'response',
      id: query.id ?? 0,
      flags,
      questions: query.questions,
      answers,
    } as Packet);
  };
  const udp = dgram.createSocket('udp4');
  udp.on('message', (message, { port, address }) => {
    const reply = answer(message);
    if (reply !== undefined) udp.send(reply, port, address);
  });
  await new Promise<void>((resolve) => udp.bind(0, '127.0.0.1', resolve));
  const { port } = udp.address();
  const tcp = net.createServer((socket) =>
    socket.on('data', (bytes) => {
      const reply = answer(bytes.subarray(2)) as Buffer;
      socket.write(Buffer.concat([Buffer.from([reply.length >> 8, reply.length & 0xff]), reply]));
    }),
  );
  await new Promise<void>((resolve) => tcp.listen(port, '127.0.0.1', resolve));
  return {
    asked,
    port,
    close() {
      udp.close();
      tcp.close();
    },
  };
}

const freePort = async () => {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
};

describe('the stub resolver', () => {
  let upstream: Awaited<ReturnType<typeof nameServer>>;
  let site: Awaited<ReturnType<typeof egressSite>>;
  let port = 0;
  const client = new Resolver({ timeout: 1000, tries: 1 });
  beforeAll(async () => {
    upstream = await nameServer();
    port = await freePort();
    site = await egressSite({ allow: ['*.good.test:443'] }, {}, {}, undefined, {
      listen: { ip: '127.0.0.1', port },
      upstream: [{ ip: '127.0.0.1', port: upstream.port }],
    });
    client.setServers([`127.0.0.1:${port}`]);
  });
  afterAll(async () => {
    await site.egress.stop();
    upstream.close();
  });
  const last = () => site.passed().at(-1);

  it('answers what is allowed, and tells the question with its answers', async () => {
    expect(await client.resolve4('A.Good.Test')).toEqual(['198.51.99.1']);
    expect(last()).toMatchObject({
      net_op: 'dns',
      net_host: 'a.good.test',
      outcome: 'success',
      attrs: { 'dns.question.type': 'A', 'dns.answers': '198.51.99.1' },
    });
  });
  it('refuses a denied name without asking anybody', async () => {
    const before = upstream.asked.length;
    await expect(client.resolve4('c2VjcmV0.evil.test')).rejects.toMatchObject({
      code: 'ENOTFOUND',
    });
    expect(upstream.asked.length).toBe(before);
    expect(last()).toMatchObject({ net_host: 'c2vjcmv0.evil.test', outcome: 'denied' });
    expect(site.decisions().at(-1)).toMatchObject({
      ...{ decision: 'deny', rule: 'default', net_host: 'c2vjcmv0.evil.test' },
    });
  });
  it.each(['rebound.good.test', 'mixed.good.test'])(
    'hands out no denied address: %s',
    async (name) => {
      await expect(client.resolve4(name)).rejects.toMatchObject({ code: 'ENOTFOUND' });
      expect(site.decisions().at(-1)).toMatchObject({ rule: 'special-purpose', net_host: name });
    },
  );
  it('hands on that a name is not there', async () => {
    await expect(client.resolve4('none.good.test')).rejects.toMatchObject({ code: 'ENOTFOUND' });
    expect(last()).toMatchObject({ outcome: 'failure', error: 'NXDOMAIN' });
  });
  it('says why to a client that speaks EDNS, over TCP as well', async () => {
    const query = encode({
      type: 'query',
      id: 7,
      flags: 0x0100,
      questions: [{ type: 'A', name: 'evil.test' }],
      additionals: [{ type: 'OPT', name: '.', udpPayloadSize: 1232, flags: 0, options: [] }],
    } as unknown as Packet);
    const socket = net.connect(port, '127.0.0.1');
    socket.write(Buffer.concat([Buffer.from([0, query.length]), query]));
    const reply = await new Promise<Buffer>((resolve) => socket.once('data', resolve));
    socket.destroy();
    const { additionals, id, rcode } = decode(reply.subarray(2)) as ReturnType<typeof decode> & {
      rcode: string;
    };
    expect({ id, rcode }).toEqual({ id: 7, rcode: 'NXDOMAIN' });
    expect(additionals).toMatchObject([
      { type: 'OPT', options: [{ code: 15, data: Buffer.from([0, 15]) }] },
    ]);
  });
  it('lives on after junk', async () => {
    const socket = dgram.createSocket('udp4');
    const send = (bytes: Uint8Array) =>
      new Promise((resolve) => socket.send(bytes, port, '127.0.0.1', resolve));
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 80 }), async (bytes) => {
        await send(bytes);
        const header = [0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        await send(Uint8Array.from([...header, ...bytes]));
      }),
    );
    socket.close();
    expect(await client.resolve4('a.good.test')).toEqual(['198.51.99.1']);
  });
  it('gives a connect that the sensor saw its name, where only one led there', () => {
    const connect = (net_ip: string): Draft => ({
      ...{ kind: 'net', ts: '1764000000000000000', source: 'seccomp', assurance: 'observed' },
      ...{ net_op: 'connect', net_transport: 'tcp', net_ip, net_port: 443, pid: 77 },
    });
    const [one] = site.egress.observe([connect('198.51.99.1')]);
    expect(one).toMatchObject({
      net_host: 'a.good.test',
      attrs: { net_host_from: 'egress_resolver' },
    });
    expect(site.decisions().at(-1)).toMatchObject({
      ...{ decision: 'allow', net_host: 'a.good.test', pid: 77 },
      attrs: { bypass: 'direct', enforced: 'no' },
    });
  });
  it('a second name for an address takes the first one’s certainty', async () => {
    await client.resolve4('b.good.test');
    const [one] = site.egress.observe([
      {
        ...{ kind: 'net', ts: '1764000000000000000', source: 'seccomp', assurance: 'observed' },
        ...{
          net_op: 'connect',
          net_transport: 'tcp',
          net_ip: '198.51.99.1',
          net_port: 443,
          pid: 78,
        },
      },
    ]);
    expect(one).not.toHaveProperty('net_host');
  });
});

const root = process.getuid?.() === 0;
if (!root) console.warn('SKIPPED: port 53 and a resolv.conf of one’s own need root');
describe.skipIf(!root)('the C library asks it', () => {
  it('through a resolv.conf of its own, and the question has its process', async () => {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-resolver-'));
    const upstream = await nameServer();
    const listen = { ip: '127.0.0.77', port: 53 };
    const servers = [{ ip: '127.0.0.1', port: upstream.port }];
    const resolver = { listen, upstream: servers };
    const site = await egressSite({ allow: ['*.good.test'] }, {}, {}, undefined, resolver);
    const file = path.join(dir, 'resolv.conf');
    fs.writeFileSync(file, `nameserver ${listen.ip}\noptions timeout:1 attempts:1\n`);
    const script =
      'mount --bind "$0" /etc/resolv.conf; getent ahostsv4 a.good.test; getent hosts evil.test; true';
    const env = { PATH: process.env.PATH ?? '' };
    const { stdout } = await runIn(env, 'unshare', ['--mount', 'sh', '-c', script, file]);
    await site.egress.stop();
    upstream.close();
    fs.rmSync(dir, { recursive: true });
    expect(stdout).toContain('198.51.99.1');
    const [asked] = site.passed();
    expect(asked).toMatchObject({ net_host: 'a.good.test', attrs: { peer: 'socket' } });
    expect(asked?.pid).toBeGreaterThan(0);
    expect(site.decisions()[0]).toMatchObject({ decision: 'deny', net_host: 'evil.test' });
  });
});
