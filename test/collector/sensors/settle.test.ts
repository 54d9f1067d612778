/** What is told of files after they were written, over real files and hand-made events. */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { Draft, DraftOf } from '#schemas';
import { createSettler, SETTLE_DEFAULTS } from '../../../collector/sensors/settle.ts';
import { fakeClock } from '../../fakes/ports.ts';

const dir = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-settle-')));
afterAll(() => fs.rmSync(dir, { recursive: true, force: true }));

const base = { source: 'seccomp', assurance: 'observed', pid: 7, ts: '1000' } as const;
const file = (
  file_op: DraftOf<'file'>['file_op'],
  name: string,
  more: Partial<DraftOf<'file'>> = {},
): Draft => ({
  ...base,
  kind: 'file',
  file_op,
  file_path: path.join(dir, name),
  ...more,
});
const exit = (pid = 7): Draft => ({ ...base, kind: 'exit', pid, exit_code: 0 });
const put = (name: string, text: string) => fs.writeFileSync(path.join(dir, name), text);
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');
const told = (drafts: readonly Draft[]) =>
  drafts.map((draft) => {
    const { file_path, file_bytes, file_sha256, assurance, attrs } = draft as DraftOf<'file'>;
    return { name: path.basename(file_path), file_bytes, file_sha256, assurance, attrs };
  });

describe('files that were written', () => {
  it('are told with size and hash when their writer ends, under their last name', () => {
    const settler = createSettler(fakeClock());
    put('final', 'content');
    const target = path.join(dir, 'final');
    expect(settler.take([file('create', 'temporary', { tool_call_id: 'c1' })])).toEqual([]);
    settler.take([file('rename', 'temporary', { file_target_path: target, tool_call_id: 'c1' })]);
    const after = settler.take([exit()]);
    expect(told(after)).toEqual([
      {
        name: 'final',
        file_bytes: 7,
        file_sha256: sha256('content'),
        assurance: 'verified',
        attrs: { state: 'after', opened_ts: '1000' },
      },
    ]);
    expect(after[0]).toMatchObject({ file_op: 'write', outcome: 'success', tool_call_id: 'c1' });
    expect(settler.take([exit()])).toEqual([]);
    expect(settler.rest()).toEqual([]);
  });

  it('are not told when they are gone, are no files, or were not changed', () => {
    const settler = createSettler(fakeClock());
    put('old', 'x');
    fs.symlinkSync('old', path.join(dir, 'link'));
    const future = String(BigInt(Date.now() + 60_000) * 1_000_000n);
    const drafts = ['gone', 'link', 'removed'].map((name) => file('create', name));
    put('removed', 'x');
    settler.take([...drafts, file('delete', 'removed'), file('write', 'old', { ts: future })]);
    expect(settler.take([exit()])).toEqual([]);
  });

  it('of a process that lives are told once they are quiet, and again if they change', () => {
    const clock = fakeClock();
    const settler = createSettler(clock);
    put('log', 'one');
    settler.take([file('write', 'log')]);
    expect(settler.quiet()).toEqual([]);
    clock.advance(SETTLE_DEFAULTS.quietMs + 1);
    expect(told(settler.quiet())).toMatchObject([{ file_bytes: 3 }]);
    expect(settler.quiet()).toEqual([]);
    put('log', 'longer');
    expect(told(settler.rest())).toMatchObject([{ file_bytes: 6, file_sha256: sha256('longer') }]);
  });

  it('are told without a hash when they are large, and not read behind another root', () => {
    const settler = createSettler(fakeClock(), { ...SETTLE_DEFAULTS, bytesMax: 4 });
    put('large', '12345');
    put('inner', 'x');
    settler.take([file('create', 'large')]);
    expect(told(settler.take([exit()]))).toMatchObject([
      { file_bytes: 5, file_sha256: undefined, attrs: { unhashed: 'size' } },
    ]);
    const chroot: Draft = { ...base, kind: 'syscall', syscall: 'chroot', pid: 8 };
    settler.take([
      chroot,
      file('create', 'inner', { pid: 8 }),
      file('create', 'inner', { pid: 9, ppid: 8 }),
    ]);
    expect(settler.take([exit(9), exit(8)])).toEqual([]);
  });

  it('are counted when reading them would take too much time', () => {
    const settler = createSettler(fakeClock(), { ...SETTLE_DEFAULTS, budgetPct: 0, burstMs: 0 });
    put('one', '1');
    settler.take([file('create', 'one')]);
    expect(settler.take([exit()])).toEqual([]);
    expect(settler.rest()).toMatchObject([
      {
        kind: 'sensor',
        sensor_name: 'file_state',
        reason: expect.stringMatching(/^1 written file/),
      },
    ]);
  });
});
