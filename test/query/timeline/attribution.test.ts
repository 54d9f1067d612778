import { describe, expect, it } from 'vitest';
import { eventId, type TelltaleEvent } from '#schemas';
import { analyse } from '../../../query/timeline/analyse.ts';
import { callOf, createEvents } from './events.ts';

/** Call and method of an event, as the whole session tells. */
function tied(events: readonly TelltaleEvent[], event: TelltaleEvent | undefined) {
  if (event === undefined) throw new Error('no event');
  const found = analyse(events).attribution.get(eventId(event));
  return found && [found.toolCallId, found.method, found.recorded];
}

describe('attribution', () => {
  it('never overwrites what was recorded, though command and path say otherwise', () => {
    const e = createEvents();
    const exec = e.run(20, 2, 1, ['sh', '-c', 'make'], {
      tool_call_id: 'b',
      attribution: 'env_key',
      attribution_confidence_pct: 90,
    });
    const events = [
      ...callOf(e, 'a', 10, 90, { command: 'make', arguments: '{"path":"/w/x"}' }),
      ...callOf(e, 'b', 10, 90, { command: 'other' }),
      exec,
    ];
    expect(tied(events, exec)).toEqual(['b', 'env_key', true]);
  });

  it('takes ancestry before command, and gives children the call of their parent', () => {
    const e = createEvents();
    const root = e.run(20, 2, 1, ['sh', '-c', 'make'], {
      tool_call_id: 'b',
      attribution: 'env_key',
    });
    const child = e.run(30, 3, 2, ['make', 'all']);
    const written = e.see(35, { kind: 'file', pid: 3, file_op: 'create', file_path: '/w/out' });
    const events = [
      ...callOf(e, 'a', 10, 90, { command: 'make all' }),
      ...callOf(e, 'b', 10, 90, {}),
      root,
      child,
      written,
    ];
    expect(tied(events, child)).toEqual(['b', 'ancestry', false]);
    expect(tied(events, written)).toEqual(['b', 'ancestry', false]);
  });

  it('finds a root by its command, then what is below it by ancestry', () => {
    const e = createEvents();
    const root = e.run(20, 2, 1, ['sh', '-c', 'make all']);
    const child = e.run(30, 3, 2, ['cc', 'x.c']);
    const events = [
      ...callOf(e, 'a', 10, 90, { command: 'make all' }),
      e.run(0, 1, 9, ['agent']),
      root,
      child,
    ];
    expect(tied(events, root)).toEqual(['a', 'command', false]);
    expect(tied(events, child)).toEqual(['a', 'ancestry', false]);
  });

  it('ties a file that the agent itself writes by its path, only while the call runs', () => {
    const e = createEvents();
    const file = (ms: number, file_path: string) =>
      e.see(ms, { kind: 'file', pid: 1, file_op: 'write', file_path });
    const [during, late, other] = [
      file(50, '/w/a.txt'),
      file(900, '/w/a.txt'),
      file(50, '/w/b.txt'),
    ];
    const events = [
      e.run(0, 1, 9, ['agent']),
      ...callOf(e, 'a', 10, 90, { arguments: '{"path":"a.txt"}', cwd: '/w' }),
      during,
      late,
      other,
    ];
    expect(tied(events, during)).toEqual(['a', 'path', false]);
    expect(tied(events, late)).toEqual([undefined, 'unattributed', false]);
    expect(tied(events, other)).toEqual([undefined, 'unattributed', false]);
  });

  it('ties a helper program of the agent, and all below it, by a file that the call names', () => {
    const e = createEvents();
    const touch = (ms: number, pid: number, file_op: 'mkdir' | 'create', file_path: string) =>
      e.see(ms, { kind: 'file', pid, file_op, file_path });
    const [scratch, folder, other] = [
      touch(22, 2, 'create', '/tmp/lock'),
      touch(24, 3, 'mkdir', '/w/notes'),
      touch(42, 4, 'create', '/tmp/else'),
    ];
    const child = e.run(23, 3, 2, ['sandbox', 'fs-helper']);
    const events = [
      e.run(0, 1, 9, ['agent']),
      ...callOf(e, 'a', 10, 90, { arguments: '{"path":"/w/notes/a.txt"}', cwd: '/w' }),
      e.run(20, 2, 1, ['sandbox']),
      scratch,
      child,
      folder,
      e.run(40, 4, 1, ['updater']),
      other,
    ];
    expect(tied(events, scratch)).toEqual(['a', 'ancestry', false]);
    expect(tied(events, child)).toEqual(['a', 'ancestry', false]);
    expect(tied(events, folder)).toEqual(['a', 'ancestry', false]);
    expect(tied(events, other)).toEqual([undefined, 'unattributed', false]);
  });

  it('ties a connection of the agent itself by the host, or the address and port, in its call', () => {
    const e = createEvents();
    const connect = (more: object) =>
      e.see(50, { kind: 'net', pid: 1, net_op: 'connect', ...more });
    const [named, told, other] = [
      connect({ net_host: 'Build.example', net_ip: '10.0.0.7', net_port: 80 }),
      connect({ net_ip: '127.0.0.1', net_port: 8081 }),
      connect({ net_ip: '127.0.0.1', net_port: 8082 }),
    ];
    const call = { arguments: '{"urls":["http://build.example/","http://127.0.0.1:8081/x"]}' };
    const events = [...callOf(e, 'a', 10, 90, call), named, told, other];
    expect(events.slice(2).map((event) => tied(events, event)?.[0])).toEqual(['a', 'a', undefined]);
  });

  it('gives parallel calls with one command a root each', () => {
    const e = createEvents();
    const roots = [
      e.run(20, 2, 1, ['sh', '-c', 'sleep 1']),
      e.run(21, 3, 1, ['sh', '-c', 'sleep 1']),
    ];
    const events = [
      ...callOf(e, 'a', 10, 90, { command: 'sleep 1' }),
      ...callOf(e, 'b', 11, 90, { command: 'sleep 1' }),
      ...roots,
    ];
    const ids = roots.map((root) => tied(events, root)?.[0]);
    expect(new Set(ids)).toEqual(new Set(['a', 'b']));
  });

  it('does not suspect a refused call while an allowed one asked for the same', () => {
    const e = createEvents();
    const root = e.run(30, 2, 1, ['sh', '-c', 'rm -rf x']);
    const events = [
      ...callOf(e, 'no', 10, 12, { command: 'rm -rf x' }, { outcome: 'denied' }),
      ...callOf(e, 'yes', 20, 60, { command: 'rm -rf x' }),
      root,
    ];
    expect(tied(events, root)?.[0]).toBe('yes');
  });

  it('follows a double fork whose middle process has ended', () => {
    const e = createEvents();
    const daemon = e.run(60, 4, 3, ['daemon']);
    const events = [
      ...callOf(e, 'a', 10, 90, { command: 'start' }),
      e.run(20, 2, 1, ['sh', '-c', 'start'], { tool_call_id: 'a', attribution: 'env_key' }),
      e.see(30, { kind: 'file', pid: 3, ppid: 2, file_op: 'create', file_path: '/w/pid' }),
      e.see(40, { kind: 'file', pid: 4, ppid: 3, file_op: 'create', file_path: '/w/log' }),
      e.end(50, 3, 0),
      e.run(55, 4, 1, ['daemon']),
      daemon,
    ];
    expect(tied(events, daemon)?.[0]).toBe('a');
    expect(tied(events, events[5 + 1])?.[0]).toBe('a');
  });

  describe('of the state of a written file', () => {
    const e = createEvents();
    const file = (ms: number, more: object) => e.see(ms, { kind: 'file', pid: 1, ...more });
    const write = file(20, { file_op: 'write', file_path: '/w/x' });
    const renamed = file(22, { file_op: 'rename', file_path: '/w/t', file_target_path: '/w/y' });
    const again = file(60, { file_op: 'write', file_path: '/w/x' });
    const state = (of: TelltaleEvent, file_path: string, opened = true) =>
      file(70, {
        file_op: 'write',
        file_path,
        attrs: { state: 'after', ...(opened ? { opened_ts: of.ts } : {}) },
      });
    const events = [
      ...callOf(e, 'a', 10, 30, { arguments: '{"path":"/w/x","also":"/w/y"}' }),
      ...callOf(e, 'b', 50, 90, { arguments: '{"path":"/w/x"}' }),
      write,
      renamed,
      again,
    ];

    it.each([
      ['of the write that it names, though another call is at work', state(write, '/w/x'), 'a'],
      ['of a rename, by its target', state(renamed, '/w/y'), 'a'],
      ['of the last write, in an older recording', state(write, '/w/x', false), 'b'],
      [
        'of nobody, where the write is not there',
        state(e.see(1, { kind: 'exit', pid: 9 }), '/w/z'),
        undefined,
      ],
    ])('is %s', (_, settled, call) => {
      expect(tied([...events, settled], settled)?.[0]).toBe(call);
    });

    it('keeps what was recorded with it', () => {
      const settled = { ...state(write, '/w/x'), tool_call_id: 'b', attribution: 'env_key' };
      expect(tied([...events, settled as TelltaleEvent], settled as TelltaleEvent)).toEqual([
        'b',
        'env_key',
        true,
      ]);
    });
  });
});

describe('processes', () => {
  it('tells two lifetimes of one pid apart', () => {
    const e = createEvents();
    const before = e.run(10, 7, 1, ['old']);
    const after = e.run(30, 7, 2, ['new']);
    const { processes } = analyse([before, e.end(20, 7, 1), after, e.end(40, 7, 0)]);
    expect(processes.list.map(({ images, exitCode }) => [images[0]?.argv[0], exitCode])).toEqual([
      ['old', 1],
      ['new', 0],
    ]);
    expect(processes.of(eventId(before))).not.toBe(processes.of(eventId(after)));
  });

  it('takes what is told shortly after the end of a process as that one’s, and later as another’s', () => {
    const e = createEvents();
    const write = (ms: number) =>
      e.see(ms, { kind: 'file', pid: 7, file_op: 'write', file_path: '/w/a' });
    const [soon, late] = [write(30), write(2_000)];
    const { processes } = analyse([e.run(10, 7, 1, ['sh']), e.end(20, 7, 0), soon, late]);
    expect(processes.of(eventId(soon))?.images).toHaveLength(1);
    expect(processes.of(eventId(late))?.images).toHaveLength(0);
  });

  it('tells pids of two streams apart', () => {
    const [a, b] = [createEvents(), createEvents('019abcde-0000-7000-8000-0000000000bb')];
    const { processes } = analyse([a.run(1, 7, 1, ['a']), b.run(2, 7, 1, ['b'])]);
    expect(processes.list).toHaveLength(2);
  });

  it('cuts a chain of parents that comes back to itself', () => {
    const e = createEvents();
    const { processes } = analyse([
      e.run(1, 5, 6, ['a']),
      e.run(2, 6, 5, ['b']),
      e.run(3, 8, 8, ['c']),
    ]);
    expect(processes.list.map(({ depth }) => depth).sort()).toEqual([0, 0, 1]);
  });

  it('keeps a failed exec apart from what ran', () => {
    const e = createEvents();
    const { processes } = analyse([
      e.run(1, 5, 1, ['nope'], { outcome: 'failure', error: 'ENOENT' }),
      e.run(2, 5, 1, ['ls']),
    ]);
    expect(processes.list[0]).toMatchObject({
      images: [{ argv: ['ls'] }],
      failed: [{ error: 'ENOENT' }],
    });
  });
});
