/** Frames in, events out, without a kernel: what is folded, tied, dated and declared missing. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Draft } from '#schemas';
import { createInterpreter, createTimes, exitOf } from '../../../collector/sensors/interpret.ts';
import { PROBE, probeFaults } from '../../../collector/sensors/probe.ts';
import { createRecording } from '../../../collector/sensors/recording.ts';
import {
  createFrameWriter,
  FILE_OPS,
  FLAG_UNREADABLE,
  FRAME,
  type Frame,
  type Hello,
  NET_OPS,
  NO_NUMBER,
} from '../../../collector/sensors/wire.ts';
import { fakeLog } from '../../fakes/ports.ts';
import { ofKind, proveEvents } from './recorder.ts';

const HELLO: Hello = {
  pid: 10,
  monotonicNs: '5000000000',
  wallNs: '1764000000999999999',
  exitState: true,
  noNewPrivs: false,
};
const KEY = 'CALL';
const EMPTY_FRAME_BYTES = 36;
const list = (...words: string[]) => Buffer.from(words.map((word) => `${word}\0`).join(''));

type Given = Partial<Omit<Frame, 'parts'>> & { parts?: readonly (string | Buffer)[] };

function frame(type: number, pid: number, given: Given = {}): Frame {
  const parts = (given.parts ?? []).map((part) => Buffer.from(part as string));
  return { type, pid, flags: 0, number: 0, sec: 6, nsec: 0, a: 0, b: 0, ...given, parts };
}
const born = (pid: number, ppid: number, keys?: Buffer) =>
  frame(FRAME.process, pid, { a: ppid, parts: keys === undefined ? [] : [keys] });
const tries = (pid: number, path: string, argv: Buffer, continues = 0) =>
  frame(FRAME.execTry, pid, { b: continues, parts: ['', path, argv] });
const done = (
  pid: number,
  exe: string,
  argv: Buffer,
  keys = list(),
  type: number = FRAME.execDone,
) => frame(type, pid, { parts: [exe, '/w', argv, keys] });
const exits = (pid: number, status: number) => frame(FRAME.exit, pid, { a: status });
const file = (pid: number, path: string, op: (typeof FILE_OPS)[number] = 'write') =>
  frame(FRAME.file, pid, { a: FILE_OPS.indexOf(op), b: NO_NUMBER, parts: ['/w', path] });

function interpret(frames: readonly Frame[], ownPaths: readonly string[] = []): Draft[] {
  const interpreter = createInterpreter(HELLO, { joinKeys: [KEY], toolCallKey: KEY, ownPaths });
  const drafts = frames.flatMap((one) => interpreter.push(one));
  proveEvents(drafts);
  return drafts;
}

describe('exec', () => {
  it('is one event for a search, dated at its last try', () => {
    const drafts = interpret([
      born(11, 10),
      tries(11, '/a/ls', list('ls', '-l')),
      { ...tries(11, '/b/ls', list('ls', '-l'), 1), nsec: 5 },
      { ...done(11, '/usr/bin/ls', list('ls', '-l')), nsec: 900 },
    ]);
    expect(drafts).toMatchObject([
      { kind: 'exec', exe: '/usr/bin/ls', argv: ['ls', '-l'], cwd: '/w', outcome: 'success' },
    ]);
    expect(drafts[0]).toMatchObject({ ts: '1764000002000000004', ppid: 10, assurance: 'verified' });
  });

  it('failed where the program that goes on is another one, with the reason', () => {
    const settle = done(11, '/bin/sh', list('sh'), list(), FRAME.execSettle);
    const drafts = interpret([
      born(11, 10),
      tries(11, '/b/nosuch', list('nosuch')),
      { ...settle, a: 2 },
      file(11, 'f'),
    ]);
    expect(drafts).toMatchObject([
      { kind: 'exec', exe: '/b/nosuch', outcome: 'failure', error: 'ENOENT' },
      { kind: 'file', file_path: '/w/f' },
    ]);
  });

  it('happened where the arguments are those of the try, or of its script', () => {
    const settle = (...argv: string[]) => done(11, '/x/static', list(...argv), list(), 6);
    const one = (...frames: Frame[]) => interpret([born(11, 10), ...frames])[0];
    const wanted = { outcome: 'success', assurance: 'observed' };
    expect(one(tries(11, '/x/static', list('s', '1')), settle('s', '1'))).toMatchObject(wanted);
    const script = tries(11, '/x/run.sh', list('run.sh', '1', '2'));
    expect(one(script, settle('/x/static', '-e', '/x/run.sh', '1', '2'))).toMatchObject(wanted);
    expect(one(script, settle('/x/static', '-e', '/x/other', '1', '2'))).toMatchObject({
      outcome: 'failure',
    });
    expect(one(script, settle('/x/static', '/x/run.sh', '1'))).toMatchObject({
      outcome: 'failure',
    });
  });

  it('is unknown where the process is gone, unless nothing was there to run', () => {
    const gone = (errno: number) =>
      interpret([
        born(11, 10),
        tries(11, '/x', list('x')),
        frame(FRAME.execLost, 11, { a: errno }),
        exits(11, 9),
      ]);
    expect(gone(0)).toMatchObject([
      { kind: 'exec', outcome: 'unknown' },
      { kind: 'exit', exit_signal: 'SIGKILL' },
    ]);
    expect(gone(13)[0]).toMatchObject({ outcome: 'failure', error: 'EACCES' });
    expect(gone(4242)[0]).toMatchObject({ error: 'errno 4242' });
  });
});

describe('exit', () => {
  it('reads wait statuses', () => {
    expect(exitOf(0x0300)).toEqual({ code: 3, signal: null });
    expect(exitOf(15)).toEqual({ code: null, signal: 'SIGTERM' });
    expect(exitOf(0x8b)).toEqual({ code: null, signal: 'SIGSEGV' });
    expect(exitOf(50)).toEqual({ code: null, signal: 'SIG50' });
    expect(exitOf(NO_NUMBER)).toEqual({ code: null, signal: null });
  });

  it('falls back on what the process asked for, and says that it is less sure', () => {
    const asked = frame(FRAME.exiting, 11, { a: 7 });
    const [exit] = interpret([born(11, 10), asked, exits(11, NO_NUMBER)]);
    expect(exit).toMatchObject({ kind: 'exit', exit_code: 7, assurance: 'observed' });
    const [killed] = interpret([born(11, 10), asked, exits(11, 9)]);
    expect(killed).toMatchObject({ exit_signal: 'SIGKILL', assurance: 'verified' });
    expect(killed).not.toHaveProperty('exit_code');
  });
});

describe('attribution', () => {
  it('holds for life, for orphans by their environment, and ends with the process id', () => {
    const drafts = interpret([
      born(11, 10),
      tries(11, '/t', list('t')),
      done(11, '/t', list('t'), list(`${KEY}=a`)),
      born(12, 11),
      file(12, 'below'),
      exits(11, 0),
      file(12, 'after'),
      born(13, 1, list(`${KEY}=b`)),
      file(13, 'orphan'),
      exits(13, 0),
      born(13, 10),
      file(13, 'reused'),
    ]);
    const calls = ofKind(drafts, 'file').map((e) => [e.tool_call_id, e.attribution]);
    expect(calls).toEqual([
      ['a', 'ancestry'],
      ['a', 'ancestry'],
      ['b', 'env_key'],
      [undefined, undefined],
    ]);
  });

  it('takes hostile keys as text: the first of a name counts, __proto__ is a name', () => {
    const keys = list(`${KEY}=one`, `${KEY}=two`, '__proto__=x', 'no-equals', '=');
    const [exec] = interpret([
      born(11, 10),
      tries(11, '/t', list('t')),
      done(11, '/t', list('t'), keys),
    ]);
    expect(exec).toMatchObject({ tool_call_id: 'one', join_keys: { [KEY]: 'one' } });
  });

  it('marks programs of the collector by exact path, not by likeness', () => {
    const run = (exe: string, ...argv: string[]) =>
      interpret(
        [born(11, 10), tries(11, exe, list(...argv)), done(11, exe, list(...argv)), file(11, 'f')],
        ['/own'],
      ).map((draft) => ('attrs' in draft ? draft.attrs?.own : undefined));
    expect(run('/own/hook', 'hook')).toEqual(['path', 'path']);
    expect(run('/usr/bin/node', 'node', '/own/hook.js')).toEqual(['path', 'path']);
    expect(run('/ownership', 'x')).toEqual([undefined, undefined]);
    expect(run('/bin/sh', 'sh', '-c', '/own/x')).toEqual([undefined, undefined]);
  });
});

describe('times', () => {
  it('adds the offset exactly, for any readings', () => {
    const ns = fc.bigInt({ min: 0n, max: 10n ** 16n });
    fc.assert(
      fc.property(
        ns,
        ns,
        fc.bigInt({ min: 10n ** 18n, max: 2n * 10n ** 18n }),
        (start, at, wall) => {
          const timeOf = createTimes({ monotonicNs: String(start), wallNs: String(wall) });
          const got = timeOf(Number(at / 10n ** 9n), Number(at % 10n ** 9n));
          expect(BigInt(got)).toBe(wall - start + at);
        },
      ),
    );
  });
});

describe('any frames', () => {
  it('make valid events, whatever the tracee put in', () => {
    const part = fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes));
    const any = fc.record({
      type: fc.constantFrom(...Object.values(FRAME).filter((type) => type !== FRAME.hello)),
      pid: fc.integer({ min: 0, max: 5 }),
      flags: fc.constantFrom(0, 0, FLAG_UNREADABLE, 2),
      number: fc.constant(0),
      sec: fc.integer({ min: 0, max: 2 ** 31 }),
      nsec: fc.integer({ min: 0, max: 999_999_999 }),
      a: fc.oneof(fc.integer({ min: 0, max: 12 }), fc.integer({ min: 0, max: 0xffffffff })),
      b: fc.constantFrom(0, 1, 6, 17, 0o4755, NO_NUMBER),
      parts: fc.array(part, { maxLength: 4 }),
    });
    fc.assert(
      fc.property(fc.array(any, { maxLength: 20 }), (frames) => {
        interpret(frames);
      }),
    );
  });
});

describe('the self-check', () => {
  const probe: Frame[] = [
    born(11, 10),
    file(10, PROBE.file),
    frame(FRAME.net, 10, { a: NET_OPS.indexOf('connect'), b: 17, parts: [PROBE.address, '', ''] }),
    tries(11, '/bin/true', list('/bin/true', PROBE.argument)),
    done(11, '/bin/true', list('/bin/true', PROBE.argument)),
    exits(11, 0),
  ];

  it('is satisfied by its own probe, and names each part that is missing', () => {
    expect(probeFaults(interpret(probe))).toEqual([]);
    const without = (type: number) =>
      probeFaults(interpret(probe.filter((one) => one.type !== type)));
    expect(without(FRAME.file)).toEqual(['the probe’s write was not seen with its path']);
    expect(without(FRAME.net)).toEqual(['the probe’s connect was not seen with its address']);
    expect(without(FRAME.exit)).toEqual(['the probe’s exit code was not seen']);
    expect(without(FRAME.execTry)).toEqual(['the probe’s exec was not seen']);
    expect(probeFaults([])).toHaveLength(3);
  });

  it('makes coverage partial, in the log and in the stream', async () => {
    const { drafts, log, recording, put, flush } = start();
    put(FRAME.go, 10);
    await flush();
    expect(drafts).toMatchObject([{ kind: 'sensor', coverage: 'partial' }]);
    expect(log.lines).toMatchObject([{ level: 'warn', event: 'sensor_partial' }]);
    expect(recording.ended()).toBe(false);
  });

  it('and holes between frames are told as gaps', async () => {
    const { drafts, log, put, flush } = start();
    put(FRAME.go, 10);
    await flush();
    for (let i = 2; i <= 5; i++) put(FRAME.end, 0);
    await flush(3);
    expect(ofKind(drafts, 'gap')).toMatchObject([
      { gap_reason: 'sensor_lost', reason: 'frames 2 to 4 of the supervisor are missing' },
    ]);
    expect(log.lines.at(-1)).toMatchObject({ level: 'error', event: 'sensor_frames_missing' });
  });
});

/** A recording that has said hello. */
function start() {
  const drafts: Draft[] = [];
  const log = fakeLog();
  let bytes = Buffer.alloc(0);
  const writer = createFrameWriter((some) => {
    bytes = Buffer.concat([bytes, some]);
  });
  const on = { running: () => {}, mainExit: () => {} };
  const recording = createRecording({ log }, async (some) => void drafts.push(...some), on);
  writer.put(FRAME.hello, 0, 0, 0, 0, [Buffer.from(JSON.stringify(HELLO))]);
  return {
    drafts,
    log,
    recording,
    put: (type: number, pid: number) => writer.put(type, pid, 0, 0, 0, []),
    /** Hands over what was put, but for the first `lost` frames, which have no parts. */
    async flush(lost = 0) {
      writer.flush();
      const some = bytes.subarray(lost * EMPTY_FRAME_BYTES);
      bytes = Buffer.alloc(0);
      await recording.take(some);
    },
  };
}
