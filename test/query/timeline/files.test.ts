import { describe, expect, it } from 'vitest';
import type { TelltaleEvent } from '#schemas';
import { analyse } from '../../../query/timeline/analyse.ts';
import { buildFiles } from '../../../query/timeline/files.ts';
import { callOf, createEvents, STREAM } from './events.ts';

const filesOf = (events: readonly TelltaleEvent[]) => buildFiles(analyse(events));

describe('file history', () => {
  const setup = () => {
    const e = createEvents();
    let ms = 0;
    const touch = (file_op: string, file_path: string, more: object = {}) =>
      e.see(++ms, { kind: 'file', pid: 5, file_op, file_path, ...more });
    const to = (file_op: string, file_path: string, file_target_path: string) =>
      touch(file_op, file_path, { file_target_path });
    return { e, touch, to };
  };
  const opsOf = (events: readonly TelltaleEvent[], path: string) =>
    filesOf(events)
      .at(path)
      .map((file) => file.versions.map(({ op, path: at }) => `${op} ${at}`));

  it('follows a file through its names', () => {
    const { touch, to } = setup();
    const events = [touch('create', '/w/a'), to('rename', '/w/a', '/w/b'), touch('write', '/w/b')];
    expect(opsOf(events, '/w/b')).toEqual([['create /w/a', 'rename /w/a', 'write /w/b']]);
    expect(filesOf(events).at('/w/a')[0]?.paths).toEqual(['/w/a', '/w/b']);
  });

  it('tells two files of one name apart, and what was replaced by a rename', () => {
    const { touch, to } = setup();
    const events = [
      touch('create', '/w/a'),
      touch('delete', '/w/a'),
      touch('create', '/w/a'),
      touch('create', '/w/b'),
      to('rename', '/w/b', '/w/a'),
    ];
    expect(opsOf(events, '/w/a')).toEqual([
      ['create /w/a', 'delete /w/a'],
      ['create /w/a', 'rename /w/a'],
      ['create /w/b', 'rename /w/b'],
    ]);
    expect(
      filesOf(events)
        .at('/w/a')
        .map(({ gone }) => gone),
    ).toEqual([true, true, false]);
  });

  it('moves all below a folder with it', () => {
    const { touch, to } = setup();
    const events = [
      touch('create', '/w/d/x/f'),
      to('rename', '/w/d', '/w/e'),
      touch('write', '/w/e/x/f'),
    ];
    expect(opsOf(events, '/w/e/x/f')).toEqual([['create /w/d/x/f', 'write /w/e/x/f']]);
    const still = events.slice(0, 2);
    expect(opsOf(still, '/w/e/x/f')).toEqual([['create /w/d/x/f']]);
  });

  it('knows a hard link as the same file, and a symbolic link as another way to one', () => {
    const { touch, to } = setup();
    const events = [
      touch('create', '/w/a'),
      to('link', '/w/a', '/w/b'),
      touch('delete', '/w/a'),
      touch('write', '/w/b'),
      touch('mkdir', '/w/real'),
      to('symlink', '/w/real', '/w/link'),
      touch('create', '/w/link/f'),
      touch('write', '/w/real/f'),
    ];
    expect(opsOf(events, '/w/b')).toEqual([
      ['create /w/a', 'link /w/a', 'delete /w/a', 'write /w/b'],
    ]);
    expect(opsOf(events, '/w/real/f')).toEqual([['create /w/link/f', 'write /w/real/f']]);
  });

  it('changes nothing by what failed, and tells the call and the hash where they are known', () => {
    const { e, touch, to } = setup();
    const events = [
      touch('create', '/w/a', { file_sha256: 'ab'.repeat(32), file_bytes: 7 }),
      { ...to('rename', '/w/a', '/w/b'), outcome: 'failure', error: 'EPERM' } as TelltaleEvent,
      touch('write', '/w/a', { tool_call_id: 'c', attribution: 'env_key' }),
      ...callOf(e, 'c', 0, 9, {}),
    ];
    const [file] = filesOf(events).at('/w/a');
    expect(file?.versions.map(({ changes }) => changes)).toEqual([true, false, true]);
    expect(file?.versions[0]).toMatchObject({ sha256: 'ab'.repeat(32), bytes: 7 });
    expect(file?.versions[2]?.attribution.toolCallId).toBe('c');
    expect(filesOf(events).at('/w/b')).toEqual([]);
  });

  it('shows what is only claimed as such', () => {
    const e = createEvents();
    const result = { outcome: 'success', changes: ['add x.txt', 'update y.txt'] };
    const events = [
      ...callOf(e, 'c', 0, 9, { cwd: '/w' }, result),
      e.see(5, {
        kind: 'file',
        pid: 5,
        file_op: 'write',
        file_path: '/w/y.txt',
        tool_call_id: 'c',
        attribution: 'native',
      }),
    ];
    events.push(e.make(10, 'hook', { kind: 'tool.result', tool_call_id: 'c', ...result }));
    // Two channels that tell of one call have not changed the file twice.
    expect(opsOf(events, '/w/x.txt')).toEqual([['claimed /w/x.txt']]);
    expect(opsOf(events, '/w/y.txt')).toEqual([['write /w/y.txt']]);
  });

  it('of hostile sessions costs no more than of others', () => {
    const e = createEvents(STREAM, false);
    const n = 8_000;
    const see = (ms: number, more: object) => e.see(ms, { kind: 'file', pid: 5, ...more });
    const events = Array.from({ length: n }, (_, i) => [
      see(i, { file_op: 'create', file_path: `/w/d/${i}` }),
      see(i, {
        file_op: 'rename',
        file_path: i % 2 ? '/w/e' : '/w/d',
        file_target_path: i % 2 ? '/w/d' : '/w/e',
      }),
      see(i, { file_op: 'symlink', file_path: `/l${i + 1}`, file_target_path: `/l${i}` }),
      see(i, { file_op: 'write', file_path: `/${'x/'.repeat(200)}${i}` }),
    ]).flat();
    const before = process.cpuUsage();
    expect(filesOf(events).list.length).toBeGreaterThan(n);
    const { user, system } = process.cpuUsage(before);
    expect((user + system) / 1e6).toBeLessThan(5);
  });
});
