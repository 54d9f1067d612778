/**
 * gVisor's trace points. The bytes were made once by protobufjs out of gVisor's own .proto files, all
 * with one context: time 1795418039.000000123, process 42 of 7, container `cid`, directory /work.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import koffi from 'koffi';
import { afterAll, describe, expect, it } from 'vitest';
import type { FeedFact } from '../../../collector/feeds/facts.ts';
import { GVISOR } from '../../../collector/feeds/gvisor.ts';
import { createIntake } from '../../../collector/feeds/intake.ts';
import { createScope } from '../../../collector/feeds/scope.ts';
import { openSource } from '../../../collector/feeds/source.ts';
import { fitDraft } from '../../../collector/fit.ts';
import { createClock } from '../../../deploy/process/clock.ts';

const CONTEXT =
  '0a2c08fbccb1af9ae6a6f518102b1880b8c6d296e6a6f518202a32036369' +
  '643a0042052f776f726b4a0273685007';
const POINTS = {
  start: [1, '120363696422027368'],
  clone: [2, '18322032'],
  thread: [2, '1833202a'],
  exec: [
    3,
    [
      '12072f62696e2f73681a0273681a022d631a036120622219434f4445585f544f4f4c5f43414c',
      '4c5f49443d63616c6c5f312209504154483d2f62696e42200101010101010101010101010101',
      '010101010101010101010101010101010101900105',
    ].join(''),
  ],
  exit3: [4, '108006'],
  killed: [4, '1009'],
  create: [7, '12020803188102209cffffffffffffffff013205612e74787438c10140a403'],
  write: [7, '1202100d188102209cffffffffffffffff01320b2f6574632f7061737377643802'],
  creat: [7, '1200185532042e2e2f62'],
  read: [7, '1202080318810232092f6c69622f782e736f38808020'],
  entering: [7, '18810232022f613801'],
  connect4: [10, '12021073182a20033210020001bb010203040000000000000000'],
  connect6: [10, '1202106f182a2003321c0a0000500000000020010db800000000000000000000000100000000'],
  unix: [10, '1200182a2003321301002f72756e2f646f636b65722e736f636b00'],
  bind: [24, '1200183120033210020001bb010203040000000000000000'],
  listen: [37, '12001832200330053a10020001bb0102030400000000000000004002'],
  chroot: [21, '1202100118a10122022f78'],
  ptrace: [38, '1200186520102809'],
} as const;
type Name = keyof typeof POINTS;
/** An end that has a process, and neither time nor container. */
const UNTIMED = Buffer.from('0a02202a', 'hex');

const bytesOf = (name: Name) => Buffer.from(CONTEXT + POINTS[name][1], 'hex');
const read = (name: Name): FeedFact | undefined =>
  GVISOR.read({ number: POINTS[name][0], payload: bytesOf(name) });

describe('gVisor’s points', () => {
  it.each([
    [
      'exec',
      {
        ...{ kind: 'exec', exe: '/bin/sh', argv: ['sh', '-c', 'a b'], cwd: '/work' },
        join_keys: { CODEX_TOOL_CALL_ID: 'call_1', PATH: '/bin' },
      },
    ],
    ['exit3', { kind: 'exit', exit_code: 3 }],
    ['killed', { kind: 'exit', exit_signal: 'SIGKILL' }],
    ['create', { kind: 'file', file_op: 'create', file_path: '/work/a.txt' }],
    [
      'write',
      {
        ...{ kind: 'file', file_op: 'write', file_path: '/etc/passwd' },
        attrs: { result: 'EACCES', 'container.id': 'cid' },
      },
    ],
    ['creat', { kind: 'file', file_op: 'write', file_path: '/b' }],
    ['connect4', { kind: 'net', net_op: 'connect', net_ip: '1.2.3.4', net_port: 443 }],
    [
      'connect6',
      {
        ...{ kind: 'net', net_op: 'connect', net_ip: '2001:db8::1', net_port: 80 },
        ...{ outcome: 'failure', error: 'ECONNREFUSED' },
      },
    ],
    ['unix', { kind: 'net', net_transport: 'unix', net_path: '/run/docker.sock' }],
    ['bind', { kind: 'net', net_op: 'bind', net_port: 443, outcome: 'success' }],
    ['listen', { kind: 'net', net_op: 'listen', net_port: 443 }],
    ['chroot', { kind: 'syscall', syscall: 'chroot', attrs: { result: 'EPERM' } }],
    ['ptrace', { kind: 'syscall', syscall: 'ptrace', attrs: { result: 'SUCCESS' } }],
  ] as const)('%s', (name, fields) => {
    const fact = read(name);
    expect(fact).toMatchObject({ what: 'event', pid: 42, ppid: 7, fields });
    expect(fact).toMatchObject({
      fields: { ts: '1795418039000000123', attrs: { 'container.id': 'cid' } },
    });
  });

  it('tells a process that is born, and neither threads nor reads nor what only begins', () => {
    expect(read('clone')).toEqual({ what: 'born', pid: 50, ppid: 42 });
    for (const name of ['thread', 'read', 'entering', 'start'] as const)
      expect(read(name), name).toEqual({ what: 'nothing' });
    expect(GVISOR.read({ number: 9999, payload: Buffer.alloc(3) })).toEqual({ what: 'nothing' });
  });

  it('does not understand a point without a time, and says so', () => {
    expect(GVISOR.read({ number: 4, payload: UNTIMED })).toBeUndefined();
  });

  it('make no message an event that can’t be carried, nor break anything but themselves', () => {
    const scope = createScope({ source: 'gvisor', mark: 'sh', joinKeys: [] });
    const names = fc.constantFrom(...(Object.keys(POINTS) as Name[]));
    fc.assert(
      fc.property(
        names,
        fc.nat(),
        fc.integer({ min: 0, max: 255 }),
        fc.nat(),
        (name, at, to, cut) => {
          const payload = bytesOf(name);
          payload[at % payload.length] = to;
          const number = POINTS[name][0];
          const hurt = payload.subarray(0, cut % 3 === 0 ? cut % payload.length : payload.length);
          let fact: FeedFact | undefined;
          try {
            fact = GVISOR.read({ number, payload: hurt });
          } catch {
            return;
          }
          for (const draft of fact === undefined ? [] : scope.take(fact)) fitDraft(draft);
        },
      ),
    );
  });

  it('are all asked for by the session of ours', () => {
    const file = path.resolve(import.meta.dirname, '../../../collector/feeds/gvisor_session.json');
    const { points } = JSON.parse(fs.readFileSync(file, 'utf8')).trace_session;
    const asked = points.map(({ name }: { name: string }) => name.split('/').slice(0, 2).join('/'));
    const called = ['open', 'connect', 'bind', 'listen', 'chroot', 'ptrace'];
    expect(asked).toEqual(
      expect.arrayContaining([
        ...['sentry/clone', 'sentry/execve', 'sentry/exit_notify_parent'],
        ...called.map((name) => `syscall/${name}`),
      ]),
    );
    for (const { context_fields: fields } of points)
      expect(fields).toEqual(expect.arrayContaining(['time', 'group_id']));
  });
});

function message(number: number, payload: Buffer, dropped = 0): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt16LE(header.length, 0);
  header.writeUInt16LE(number, 2);
  header.writeUInt32LE(dropped, 4);
  return Buffer.concat([header, payload]);
}

/** A sandbox's end of the sink: a socket of whole messages, which Node itself has not. */
function sandbox(file: string) {
  const libc = koffi.load(null);
  const call = (definition: string) => libc.func(definition) as (...args: unknown[]) => number;
  const socket = call('int socket(int d, int t, int p)');
  const connect = call('int connect(int fd, void *a, uint n)');
  const send = call('long send(int fd, void *b, ulong n, int f)');
  const recv = call('long recv(int fd, void *b, ulong n, int f)');
  const fd = socket(1, 5, 0);
  const address = Buffer.concat([Buffer.from([1, 0]), Buffer.from(`${file}\0`)]);
  expect(connect(fd, address, address.length)).toBe(0);
  const write = (bytes: Buffer) => expect(send(fd, bytes, bytes.length, 0)).toBe(bytes.length);
  return {
    greet: (version = 1) => write(Buffer.from([8, version])),
    raw: write,
    point(name: Name, dropped = 0) {
      write(message(POINTS[name][0], bytesOf(name), dropped));
    },
    answer() {
      const bytes = Buffer.alloc(64);
      const count = Number(recv(fd, bytes, bytes.length, 0x40));
      return count < 0 ? undefined : bytes.subarray(0, count);
    },
    close: () => fs.closeSync(fd),
  };
}

describe('gVisor’s sink', () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-gvisor-'));
  afterAll(() => fs.rmSync(dir, { recursive: true, force: true }));
  const clock = createClock();

  async function listening(name: string) {
    const file = path.join(dir, name);
    const drafts: object[] = [];
    const own = () => ({
      ts: '1795418039000000000',
      source: 'gvisor',
      assurance: 'observed' as const,
    });
    const intake = createIntake({
      format: GVISOR,
      own,
      sink: async (some) => void drafts.push(...some),
    });
    intake.follow(
      createScope({ source: 'gvisor', mark: 'a b', joinKeys: ['CODEX_TOOL_CALL_ID'] }),
      false,
    );
    const ended: string[] = [];
    const source = openSource({ from: 'gvisor', path: file }, clock, {
      lines: intake.lines,
      ended: (reason) => void ended.push(reason),
    });
    await source.start();
    return { file, drafts, intake, source, ended };
  }

  it('is greeted, read in order, told of drops, and its end is an end', async () => {
    const { file, drafts, intake, source, ended } = await listening('a.sock');
    expect(source.ready).toBe(false);
    const box = sandbox(file);
    box.greet();
    await expect.poll(() => source.ready, { interval: 5 }).toBe(true);
    expect(box.answer()).toEqual(Buffer.from([8, 1]));
    box.point('exec');
    box.point('create');
    box.raw(message(4, UNTIMED));
    box.raw(Buffer.from([1, 2, 3]));
    box.point('connect4', 5);
    box.point('exit3', 5);
    box.close();
    await expect.poll(() => ended, { interval: 5 }).toEqual(['the sandbox closed its connection']);
    expect(drafts).toMatchObject([
      {
        kind: 'exec',
        source: 'gvisor',
        assurance: 'observed',
        join_keys: { CODEX_TOOL_CALL_ID: 'call_1' },
      },
      { kind: 'file', file_path: '/work/a.txt' },
      { kind: 'gap', gap_reason: 'sensor_overrun', attrs: { host_events: '5' } },
      { kind: 'net', net_ip: '1.2.3.4' },
      { kind: 'exit', exit_code: 3 },
    ]);
    expect([intake.counts.unread, source.lost]).toEqual([1, 1]);
    await source.stop();
    expect(fs.existsSync(file)).toBe(false);
  });

  it('takes thousands of points that come at once, and leaves whoever does not greet', async () => {
    const { file, drafts, source } = await listening('b.sock');
    const stranger = sandbox(file);
    stranger.raw(Buffer.from('hello'));
    const box = sandbox(file);
    box.greet();
    await expect.poll(() => source.ready, { interval: 5 }).toBe(true);
    expect(stranger.answer()).toEqual(Buffer.alloc(0));
    box.point('exec');
    for (let round = 0; round < 20; round++) {
      for (let n = 0; n < 100; n++) box.point('create');
      await source.poll();
    }
    await source.stop();
    box.close();
    stranger.close();
    expect(drafts).toHaveLength(2001);
  });
});
