/** Names within TLS against the names that tunnels were asked for. */
import net from 'node:net';
import { Duplex } from 'node:stream';
import tls from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { egressSite, LOOPBACK } from './site.ts';

describe('the name within a tunnel', () => {
  let site: Awaited<ReturnType<typeof egressSite>>;
  let server: net.Server;
  let port = 0;
  let received = Buffer.alloc(0);
  beforeAll(async () => {
    server = net.createServer((socket) => {
      socket.on('error', () => {});
      socket.on('data', (bytes) => {
        received = Buffer.concat([received, bytes]);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    ({ port } = server.address() as net.AddressInfo);
    site = await egressSite(
      { allow: ['*.cdn.test', LOOPBACK], deny: ['evil.cdn.test'] },
      { 'good.cdn.test': ['127.0.0.1'] },
    );
  });
  afterAll(async () => {
    await site.egress.stop();
    server.close();
  });

  /** Opens a tunnel to `good.cdn.test`, and sends what `speak` writes into it. */
  async function through(speak: (socket: net.Socket) => void) {
    const before = [site.decisions().length, site.passed().length] as const;
    received = Buffer.alloc(0);
    const socket = net.connect(site.port, '127.0.0.1').on('error', () => {});
    socket.write(`CONNECT good.cdn.test:${port} HTTP/1.1\r\n\r\n`);
    await new Promise<void>((resolve) => socket.once('data', () => resolve()));
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    speak(socket);
    const seen = () => site.decisions().slice(before[0]);
    return { socket, closed, seen, passed: () => site.passed().slice(before[1]) };
  }
  const hello = (servername?: string) => (socket: net.Socket) =>
    void tls
      .connect({ socket, rejectUnauthorized: false, ...(servername && { servername }) })
      .on('error', () => {});
  const arrives = () => expect.poll(() => received.length, { interval: 5 }).toBeGreaterThan(100);

  it('that is the tunnel’s own is an attribute of it', async () => {
    const { socket, seen, passed } = await through(hello('Good.cdn.test'));
    await arrives();
    socket.destroy();
    await expect
      .poll(passed)
      .toMatchObject([{ outcome: 'success', attrs: { 'tls.server.name': 'good.cdn.test' } }]);
    expect(seen()).toHaveLength(1);
  });

  it('that is another is told, with what the policy says of it', async () => {
    const { socket, seen, passed } = await through(hello('other.test'));
    await expect.poll(() => seen().length).toBe(2);
    socket.destroy();
    await expect.poll(() => passed().length).toBe(1);
    expect(seen()[1]).toMatchObject({
      decision: 'deny',
      rule: 'default',
      net_host: 'other.test',
      net_port: port,
      reason: 'no rule allows it; TLS names it in a tunnel to good.cdn.test',
      attrs: {
        ...{ enforced: 'no', bypass: 'tls_server_name', 'tunnel.host': 'good.cdn.test' },
        connection: seen()[0]?.attrs?.connection,
      },
    });
  });

  it('that a rule denies closes the tunnel', async () => {
    const { closed, seen, passed } = await through(hello('evil.cdn.test'));
    await closed;
    await expect.poll(() => passed().length).toBe(1);
    expect(passed()[0]).toMatchObject({ attrs: { 'tls.server.name': 'evil.cdn.test' } });
    expect(seen()[1]).toMatchObject({
      ...{ decision: 'deny', rule: 'deny evil.cdn.test', net_host: 'evil.cdn.test' },
      attrs: { enforced: 'yes' },
    });
  });

  it.each([
    ['no TLS at all', 'GET / HTTP/1.1\r\n\r\n'.padEnd(200, 'x')],
    [
      'a greeting that lies about its length',
      Buffer.from(`1603010200${'01ffffff'}${'00'.repeat(600)}`, 'hex'),
    ],
    [
      'more than a greeting',
      Buffer.concat([Buffer.from('160301ffff', 'hex'), Buffer.alloc(60_000)]),
    ],
  ])('is not there in %s, which passes whole', async (_name, bytes) => {
    const { socket, seen, passed } = await through((one) => void one.write(bytes));
    await expect.poll(() => received.length, { interval: 5 }).toBe(bytes.length);
    expect(received.equals(Buffer.from(bytes))).toBe(true);
    socket.destroy();
    await expect.poll(() => passed().length).toBe(1);
    expect(passed()[0]?.attrs).not.toHaveProperty('tls.server.name');
    expect(seen()).toHaveLength(1);
  });

  it('passes unchanged in pieces, as the client wrote it', async () => {
    let sent = Buffer.alloc(0);
    const { socket, passed } = await through((one) => {
      const wire = new Duplex({
        read() {},
        write(bytes: Buffer, _encoding, done) {
          sent = Buffer.concat([sent, bytes]);
          for (const byte of bytes) one.write(Buffer.from([byte]));
          done();
        },
      });
      tls.connect({ socket: wire, servername: 'good.cdn.test' }).on('error', () => {});
    });
    await arrives();
    await expect.poll(() => received.length, { interval: 5 }).toBe(sent.length);
    expect(received.equals(sent)).toBe(true);
    socket.destroy();
    await expect.poll(passed).toMatchObject([{ attrs: { 'tls.server.name': 'good.cdn.test' } }]);
  });
});
