/** Real kernel: who is called, on which address, by which name. */
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { SYS } from '../../../collector/sensors/syscalls.ts';
import { withCalls } from './calls.ts';
import { here, RUNGS, scratchDir } from './recorder.ts';

const AF_INET = 2;
const AF_INET6 = 10;
const STREAM = 1;
const DATAGRAM = 2;
/** Helpers in the recorded script: addresses as structures, and a DNS question. */
const HELPERS = `
  const v4 = (ip, port) => { const b = Buffer.alloc(16); b.writeUInt16LE(2, 0); b.writeUInt16BE(port, 2); b.set(ip.split('.').map(Number), 4); return b; };
  const v6 = (bytes, port) => { const b = Buffer.alloc(28); b.writeUInt16LE(10, 0); b.writeUInt16BE(port, 2); b.set(bytes, 8); return b; };
  const question = (name) => Buffer.concat([Buffer.from([0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
    ...name.split('.').map((l) => Buffer.concat([Buffer.from([l.length]), Buffer.from(l)])), Buffer.from([0, 0, 1, 0, 1])]);
  const raw6 = koffi.load(null).func('syscall', 'long', ['long', ...Array(6).fill('intptr_t')]);
  const socket = (family, type) => call(41, family, type, 0);
  const connect = (fd, address) => call(${SYS.connect}, fd, pointer(address), address.length);
`;

describe.skipIf(!here).each(RUNGS)('network, %s', (_form, recordRun) => {
  const dir = here ? scratchDir() : '';
  afterAll(() => dir !== '' && fs.rmSync(dir, { recursive: true, force: true }));
  it('records connect and bind over tcp, udp, unix, IPv6', async () => {
    const body = `${HELPERS}
      connect(socket(${AF_INET}, ${STREAM} | 2048), v4('192.0.2.7', 443));
      const six = Buffer.alloc(16); six[0] = 0x20; six[1] = 1; six[2] = 0x0d; six[3] = 0xb8; six[15] = 5;
      connect(socket(${AF_INET6}, ${STREAM} | 2048), v6(six, 8443));
      const mapped = Buffer.alloc(16); mapped.set([0xff, 0xff, 10, 1, 2, 3], 10);
      connect(socket(${AF_INET6}, ${DATAGRAM}), v6(mapped, 123));
      const b = v4('127.0.0.1', 0);
      call(${SYS.bind}, socket(${AF_INET}, ${DATAGRAM}), pointer(b), b.length);
      const unix = (p) => Buffer.concat([Buffer.from([1, 0]), Buffer.from(p)]);
      const u = unix('here.sock\\0');
      call(${SYS.bind}, socket(1, ${STREAM}), pointer(u), u.length);
      connect(socket(1, ${STREAM}), unix('here.sock\\0'));
      connect(socket(1, ${STREAM}), unix('\\0telltale-test'));
      connect(socket(16, 3), Buffer.from([16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
      const datagram = socket(${AF_INET}, ${DATAGRAM});
      for (let i = 0; i < 3; i++) {
        const a = v4('127.0.0.1', 9), data = Buffer.from('x'.repeat(i + 1));
        raw6(${SYS.sendto}, datagram, pointer(data), data.length, 0, pointer(a), a.length);
      }`;
    const got = await recordRun(withCalls(body), { cwd: dir });
    expect(got.exit.code).toBe(0);
    const seen = got.of('net').map((e) => ({
      op: e.net_op,
      over: e.net_transport,
      to: e.net_path ?? `${e.net_ip} ${e.net_port}`,
      via: e.attrs?.via,
    }));
    const via = undefined;
    expect(seen).toEqual([
      { op: 'connect', over: 'tcp', to: '192.0.2.7 443', via },
      { op: 'connect', over: 'tcp', to: '2001:db8::5 8443', via },
      { op: 'connect', over: 'udp', to: '10.1.2.3 123', via },
      { op: 'bind', over: 'udp', to: '127.0.0.1 0', via },
      { op: 'bind', over: 'unix', to: path.join(dir, 'here.sock'), via },
      { op: 'connect', over: 'unix', to: path.join(dir, 'here.sock'), via },
      { op: 'connect', over: 'unix', to: '@telltale-test', via },
      { op: 'connect', over: 'udp', to: '127.0.0.1 9', via: 'send' },
    ]);
  });

  it('reads names out of DNS questions, and ties one to the connection that follows', async () => {
    const body = `${HELPERS}
      const dns = v4('127.0.0.1', 53);
      const q1 = question('API.Example.com');
      raw6(${SYS.sendto}, socket(${AF_INET}, ${DATAGRAM}), pointer(q1), q1.length, 0, pointer(dns), dns.length);
      connect(socket(${AF_INET}, ${STREAM} | 2048), v4('192.0.2.8', 443));
      // glibc connects the socket and sends two questions at once by sendmmsg(2).
      const fd = socket(${AF_INET}, ${DATAGRAM});
      connect(fd, dns);
      const q2 = question('files.example.org');
      const headers = Buffer.alloc(128);
      for (const at of [0, 64]) {
        const iov = Buffer.alloc(16);
        iov.writeBigUInt64LE(BigInt(pointer(q2)), 0);
        iov.writeBigUInt64LE(BigInt(q2.length), 8);
        headers.writeBigUInt64LE(BigInt(pointer(iov)), at + 16);
        headers.writeBigUInt64LE(1n, at + 24);
      }
      call(${SYS.sendmmsg}, fd, pointer(headers), 2, 0);
      connect(socket(${AF_INET}, ${STREAM} | 2048), v4('192.0.2.9', 443));`;
    const got = await recordRun(withCalls(body), { cwd: dir });
    expect(got.exit.code).toBe(0);
    const net = got.of('net');
    const dns = net.filter((e) => e.net_op === 'dns');
    expect(dns.map((e) => e.net_host)).toEqual([
      'api.example.com',
      'files.example.org',
      'files.example.org',
    ]);
    expect(dns[0]).toMatchObject({ net_transport: 'udp', net_ip: '127.0.0.1', net_port: 53 });
    expect(net.find((e) => e.net_ip === '192.0.2.8')).toMatchObject({
      net_host: 'api.example.com',
      attrs: { net_host_from: 'recent_dns_question' },
    });
    // Two names were asked for: which of them 192.0.2.9 is, nobody saw.
    expect(net.find((e) => e.net_ip === '192.0.2.9')).not.toHaveProperty('net_host');
  });
});
