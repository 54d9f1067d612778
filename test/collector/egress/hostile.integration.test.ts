/** What the proxy makes of hostile request lines, and of its own end. */
import http from 'node:http';
import net from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { targetOf } from '../../../collector/egress/target.ts';
import { egressSite, raw } from './site.ts';

type Site = Awaited<ReturnType<typeof egressSite>>;

const HOSTS = [
  ...[
    'good.test@evil.test',
    'good.test:80@evil.test',
    'evil.test\\@good.test',
    'good.test%00.evil',
  ],
  ...['%67ood.test', 'good.test/../x', 'good.test#evil', 'good.test?x', 'gооd.test', 'GOOD.TEST'],
  ...[
    '[::1',
    '[::1]]',
    '[::ffff:169.254.169.254]',
    '[fe80::1%25lo]',
    '0x7f.1',
    '2130706433',
    '0177.1',
  ],
  ...[
    '127.1',
    '[64:ff9b::7f00:1]',
    'localhost',
    'a..b',
    '.',
    '-',
    '*',
    'x'.repeat(300),
    'good.test.',
  ],
  ...[
    'xn--zzzz',
    'evil。test',
    '１２７.０.０.１',
    '',
    ' ',
    '\t',
    'good.test\u0000',
    'a\u007fb',
    '\u202egood',
  ],
];
const host = fc.oneof(fc.constantFrom(...HOSTS), fc.domain(), fc.ipV4(), fc.ipV6(), fc.string());
const port = fc.oneof(
  fc.constantFrom('443', '0', '65536', '-1', '4 43', '1e3', ''),
  fc.nat(70_000),
);

describe('targets', () => {
  it('have one reading, and it is the one that the library connects to', () => {
    fc.assert(
      fc.property(fc.boolean(), host, port, fc.string(), (connect, name, at, rest) => {
        const url = connect ? `${name}:${at}` : `http://${name}:${at}/${rest}`;
        const target = targetOf({ method: connect ? 'CONNECT' : 'GET', url });
        if (typeof target === 'string') return;
        expect(target.host).toMatch(/^[a-z0-9._:-]{1,253}$/);
        expect(target.port).toBeGreaterThan(0);
        expect(target.port).toBeLessThan(65_536);
        const read = new URL(connect ? `connect://${url}` : url);
        expect([read.username, read.password]).toEqual(['', '']);
        const library = decodeURIComponent(read.hostname).replace(/^\[|\]$/g, '');
        const same = targetOf({
          method: 'CONNECT',
          url: `${net.isIPv6(library) ? `[${library}]` : library}:1`,
        });
        expect(same).toMatchObject({ host: target.host });
      }),
      { numRuns: 2000 },
    );
  });
});

describe('a proxy under fire', () => {
  let site: Site;
  beforeAll(async () => {
    site = await egressSite({ allow: ['good.test'] });
  });
  afterAll(() => site.egress.stop());

  it('answers every request line with a refusal, and tells each once', async () => {
    const lines = [
      ...HOSTS.map((name) => `CONNECT ${name}:443 HTTP/1.1`),
      ...HOSTS.map((name) => `GET http://${name}/ HTTP/1.1`),
      ...['GET / HTTP/1.1', 'GET https://good.test/ HTTP/1.1', 'GET ftp://good.test/ HTTP/1.1'],
      ...[
        'CONNECT good.test HTTP/1.1',
        'OPTIONS * HTTP/1.1',
        '\u0016\u0003\u0001',
        'SSH-2.0-x',
        '\0\0\0\0',
      ],
      ...['GET http:good.test HTTP/1.1', 'GET //good.test/ HTTP/1.1', 'PRI * HTTP/2.0', 'G E T x'],
      `GET http://good.test/${'x'.repeat(70_000)} HTTP/1.1`,
    ];
    for (const line of lines) {
      const before = site.decisions().length;
      const answer = await raw(
        site.port,
        Buffer.from(`${line}\r\nHost: good.test\r\n\r\n`, 'utf8'),
      );
      // good.test has no address here: 502 is the answer of what is allowed.
      expect([JSON.stringify(line), answer.slice(0, 13)]).toEqual([
        JSON.stringify(line),
        expect.stringMatching(/^HTTP\/1\.1 (400|403|502)/),
      ]);
      await expect
        .poll(() => [line, site.decisions().length - before], { interval: 2 })
        .toEqual([line, 1]);
      const decision = site.decisions().at(-1);
      if (decision?.decision === 'allow') expect(decision.net_host).toBe('good.test');
      // No byte of a request can end a header of the answer.
      const [head = ''] = answer.split('\r\n\r\n');
      for (const header of head.split('\r\n').slice(1)) expect(header).toMatch(/^[a-z-]+: [ -~]*$/);
    }
  });

  it('goes on after clients that leave in the middle', async () => {
    await Promise.all(
      [...Array(20).keys()].map(async (i) => {
        const socket = net.connect(site.port, '127.0.0.1').on('error', () => {});
        await new Promise((resolve) => socket.once('connect', resolve));
        socket.write('CONNECT good.test:443 HTTP/1.1\r\nHost: a\r\n\r\n'.slice(0, i * 3));
        socket.destroy();
      }),
    );
    const answer = await raw(site.port, 'CONNECT evil.test:443 HTTP/1.1\r\nHost: x\r\n\r\n');
    expect(answer).toMatch(/^HTTP\/1\.1 403/);
  });

  it('credentials for a proxy neither matter nor are told', async () => {
    const before = site.told.length;
    const header = 'Proxy-Authorization: Bearer hunter2secret';
    await raw(site.port, `GET http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\n${header}\r\n\r\n`);
    await expect.poll(() => site.told.length).toBe(before + 1);
    expect(JSON.stringify(site.told)).not.toContain('hunter2secret');
  });
});

describe('a lost listener', () => {
  it('is a gap, and is opened again on the same port', async () => {
    const listeners: net.Server[] = [];
    const listen = http.Server.prototype.listen;
    // The only way to the proxy's listener from outside: what a bug of a library would close.
    http.Server.prototype.listen = function (this: net.Server, ...args: unknown[]) {
      listeners.push(this);
      return (listen as (...all: unknown[]) => net.Server).apply(this, args);
    } as typeof listen;
    const site = await egressSite({ allow: ['good.test'] });
    listeners[0]?.close();
    await expect.poll(() => site.sensors().length).toBe(2);
    http.Server.prototype.listen = listen;
    expect(site.gaps()).toMatchObject([{ gap_reason: 'channel_lost', sensor_name: 'egress' }]);
    const answer = await raw(site.port, 'CONNECT evil.test:443 HTTP/1.1\r\nHost: x\r\n\r\n');
    expect(answer).toMatch(/^HTTP\/1\.1 403/);
    await site.egress.stop();
    expect(site.gaps()).toHaveLength(1);
  });
});
