import net from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { echoServer, egressSite, LOOPBACK, raw, runIn } from './site.ts';

type Site = Awaited<ReturnType<typeof egressSite>>;

describe('what is let through', () => {
  let echo: Awaited<ReturnType<typeof echoServer>>;
  let site: Site;
  beforeAll(async () => {
    echo = await echoServer();
    site = await egressSite(
      { allow: ['*.good.test', LOOPBACK], deny: ['bad.good.test'] },
      { 'a.good.test': ['127.0.0.1'], 'rebound.good.test': ['169.254.169.254'] },
    );
  });
  afterAll(async () => {
    await site.egress.stop();
    await echo.close();
  });

  it('a plain request, with its bytes, its process and its end', async () => {
    const args = ['-sS', '--data', 'x'.repeat(1000), `http://a.good.test:${echo.port}/p?q=1`];
    const { stdout, code } = await runIn(site.env, 'curl', [...args, '-H', 'Host: evil.test']);
    expect(code).toBe(0);
    const { url, headers, bytes } = JSON.parse(stdout);
    expect({ url, bytes }).toEqual({ url: '/p?q=1', bytes: 1000 });
    // The name that was decided on is the name that the server is asked for.
    expect(headers.host).toBe(`a.good.test:${echo.port}`);
    expect(headers).not.toHaveProperty('proxy-connection');
    await expect.poll(() => site.passed().length).toBe(1);
    const [decision] = site.decisions();
    expect(decision).toMatchObject({
      decision: 'allow',
      policy: 'test',
      policy_version: 'ab'.repeat(32),
      rule: 'allow *.good.test',
      net_host: 'a.good.test',
      net_ip: '127.0.0.1',
      net_port: echo.port,
      http_method: 'POST',
      attrs: { peer: 'socket', enforced: 'yes' },
    });
    expect(decision?.pid).toBeGreaterThan(0);
    const [passed] = site.passed();
    expect(passed).toMatchObject({
      net_op: 'http',
      url: `http://a.good.test:${echo.port}/p?q=1`,
      outcome: 'success',
      pid: decision?.pid,
      attrs: { 'http.response.status_code': '200', connection: decision?.attrs?.connection },
    });
    expect(passed?.net_bytes_out).toBeGreaterThan(1000);
    expect(passed?.net_bytes_in).toBeGreaterThan(stdout.length);
    expect(passed?.duration_ns).toBeGreaterThan(0);
  });

  it('a tunnel, whose bytes are counted at its end', async () => {
    const args = ['-sS', '--proxytunnel', '--data', 'x'.repeat(5000)];
    const { stdout } = await runIn(site.env, 'curl', [...args, `http://a.good.test:${echo.port}/`]);
    expect(JSON.parse(stdout).bytes).toBe(5000);
    await expect.poll(() => site.passed().length).toBe(2);
    const passed = site.passed().at(-1);
    expect(passed).toMatchObject({ net_op: 'connect', http_method: 'CONNECT', outcome: 'success' });
    expect(passed?.net_bytes_out).toBeGreaterThan(5000);
    expect(passed?.net_bytes_in).toBeGreaterThan(stdout.length);
    expect(passed).not.toHaveProperty('url');
  });

  it.each([
    ['bad.good.test', 443, 'deny bad.good.test', 'denied'],
    ['other.test', 443, 'default', 'no rule allows it'],
    ['rebound.good.test', 80, 'special-purpose', 'leads to 169.254.169.254'],
    ['169.254.169.254', 80, 'special-purpose', 'link-local'],
    ['[::1]', 80, 'special-purpose', 'loopback'],
    ['[::ffff:169.254.169.254]', 80, 'special-purpose', 'link-local'],
  ])('nothing to %s: a 403 that names policy and rule', async (host, port, rule, reason) => {
    const before = site.decisions().length;
    for (const request of [
      `CONNECT ${host}:${port} HTTP/1.1\r\nHost: x\r\n\r\n`,
      `GET http://${host}:${port}/ HTTP/1.1\r\nHost: ${host}\r\n\r\n`,
    ]) {
      const answer = await raw(site.port, request);
      expect(answer).toMatch(/^HTTP\/1\.1 403 /);
      for (const part of ['"test"', 'abababababab', JSON.stringify(rule), reason])
        expect(answer).toContain(part);
      expect(answer).toContain('proxy-status: telltale; error=http_request_denied');
    }
    await expect.poll(() => site.decisions().length, { interval: 5 }).toBe(before + 2);
    for (const one of site.decisions().slice(-2))
      expect(one).toMatchObject({ decision: 'deny', rule, net_port: port });
  });

  it('a name that leads nowhere is a 502 and a failed connect', async () => {
    const answer = await raw(site.port, 'CONNECT none.good.test:443 HTTP/1.1\r\nHost: x\r\n\r\n');
    expect(answer).toMatch(/^HTTP\/1\.1 502 .*none\.good\.test.*ENOTFOUND/s);
    await expect.poll(() => site.passed().at(-1)?.error).toBe('ENOTFOUND');
  });

  it('a destination that refuses is a failure', async () => {
    await raw(site.port, 'CONNECT a.good.test:1 HTTP/1.1\r\nHost: x\r\n\r\n');
    await expect
      .poll(() => site.passed().at(-1))
      .toMatchObject({ net_port: 1, outcome: 'failure', net_bytes_in: 0 });
  });
});

describe('through another proxy', () => {
  it('all goes on to it, and no name is looked up here', async () => {
    const echo = await echoServer();
    const outer = await egressSite({ allow: ['*.test', LOOPBACK] }, { 'a.test': ['127.0.0.1'] });
    const site = await egressSite({ allow: ['*.test'] }, {}, {}, outer.url);
    const args = ['-sS', `http://a.test:${echo.port}/`];
    const plain = await runIn(site.env, 'curl', args);
    expect(JSON.parse(plain.stdout).url).toBe('/');
    const tunnel = await runIn(site.env, 'curl', ['--proxytunnel', ...args]);
    expect(JSON.parse(tunnel.stdout).url).toBe('/');
    const denied = await runIn(site.env, 'curl', ['-sS', 'https://b.other/']);
    expect(denied.stderr).toContain('403');
    const nowhere = await runIn(site.env, 'curl', ['-sS', 'https://b.test/']);
    expect(nowhere.code).not.toBe(0);
    await site.egress.stop();
    await outer.egress.stop();
    await echo.close();
    // Each connection is told when its client is known, so those of several come in any order.
    const inTime = <T extends { ts: string }>(drafts: readonly T[]) =>
      [...drafts].sort((a, b) => Number(BigInt(a.ts) - BigInt(b.ts)));
    expect(inTime(site.passed()).map(({ net_op, outcome }) => [net_op, outcome])).toEqual([
      ['http', 'success'],
      ['connect', 'success'],
      ['connect', 'failure'],
    ]);
    expect(inTime(site.decisions()).map(({ decision }) => decision)).toEqual([
      ...['allow', 'allow', 'deny', 'allow'],
    ]);
    expect(outer.decisions()).toHaveLength(3);
  });
});

describe('bounds', () => {
  it('a tunnel that does not come about is given up', async () => {
    const silent = net.createServer(() => {}).listen(0, '127.0.0.1');
    await new Promise((resolve) => silent.once('listening', resolve));
    const { port } = silent.address() as net.AddressInfo;
    const limits = { connectMsMax: 50 };
    const site = await egressSite({ allow: ['a.test'] }, {}, limits, `http://127.0.0.1:${port}`);
    await raw(site.port, 'CONNECT a.test:443 HTTP/1.1\r\n\r\n');
    await expect
      .poll(() => site.passed())
      .toMatchObject([{ outcome: 'failure', error: 'no connection within 0.05 s' }]);
    await site.egress.stop();
    silent.close();
  });

  it('an idle tunnel is closed', async () => {
    const site = await egressSite({ allow: [LOOPBACK] }, {}, { idleMsMax: 100 });
    const server = net.createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as net.AddressInfo;
    const client = net.connect(site.port, '127.0.0.1');
    client.write(`CONNECT 127.0.0.1:${port} HTTP/1.1\r\n\r\n`);
    client.resume();
    await new Promise((resolve) => client.once('close', resolve));
    await expect.poll(() => site.passed().length).toBe(1);
    await site.egress.stop();
    server.close();
  });

  it('one client too many is refused and told', async () => {
    const site = await egressSite({}, {}, { connectionsMax: 2 });
    const clients = [1, 2, 3].map(() => net.connect(site.port, '127.0.0.1').on('error', () => {}));
    await expect.poll(() => site.decisions().map(({ rule }) => rule)).toEqual(['connections-max']);
    for (const client of clients) client.destroy();
    await site.egress.stop();
  });

  it('what is open when the recording ends is told; stopping twice is harmless', async () => {
    const site = await egressSite({ allow: [LOOPBACK] });
    const server = net.createServer((socket) => socket.write('hello')).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as net.AddressInfo;
    const client = net.connect(site.port, '127.0.0.1').on('error', () => {});
    client.write(`CONNECT 127.0.0.1:${port} HTTP/1.1\r\n\r\n`);
    let text = '';
    client.on('data', (part) => {
      text += part;
    });
    await expect.poll(() => text).toContain('hello');
    await site.egress.stop();
    await site.egress.stop();
    server.close();
    expect(site.passed()).toMatchObject([{ net_bytes_in: 5, outcome: 'success' }]);
  });
});
