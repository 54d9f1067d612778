/** Real kernel: which rung a command runs under, and what is said of those that are refused. */
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { Draft, DraftOf } from '#schemas';
import { createLadder, type LadderDeps } from '../../../collector/sensors/ladder.ts';
import { fakeClock, fakeLog } from '../../fakes/ports.ts';
import { BASE_ENV, helper, here, proveEvents, recordRun, scratchDir } from './recorder.ts';

const dir = here ? scratchDir() : '';
afterAll(() => dir !== '' && fs.rmSync(dir, { recursive: true, force: true }));

async function climb(deps: Partial<LadderDeps>, argv = ['sh', '-c', 'exit 3']) {
  const drafts: Draft[] = [];
  const ladder = createLadder({ log: fakeLog(), clock: fakeClock(), ...deps });
  const running = await ladder.run({ argv, env: BASE_ENV, cwd: dir }, (some) => {
    drafts.push(...some);
  });
  const exit = await running.exited;
  await running.stop();
  proveEvents(drafts);
  const sensors = drafts.filter((draft) => draft.kind === 'sensor') as DraftOf<'sensor'>[];
  const rungs = sensors.map((event) => [event.sensor_rung, event.coverage]);
  return { drafts, exit, rungs, reasons: sensors.map((event) => event.reason) };
}

describe.skipIf(!here)('the ladder', () => {
  const native = helper === undefined ? {} : { native: { dir: path.dirname(helper) } };

  it('stops at its first rung where that works', async () => {
    const got = await climb(native);
    expect(got.exit).toEqual({ code: 3, signal: null });
    expect(got.rungs).toEqual([[1, 'complete']]);
  });

  it('takes the slower form where there is no compiler', async () => {
    const got = await climb({ native: { dir: path.join(dir, 'none'), compiler: 'no-such-cc' } });
    expect(got.exit).toEqual({ code: 3, signal: null });
    expect(got.rungs).toEqual([[1, 'complete']]);
  });

  it.skipIf(helper === undefined)('goes down where a listener is there, and says why', async () => {
    const file = new URL('../../../collector/sensors/ladder.ts', import.meta.url).pathname;
    const out = path.join(dir, 'nested');
    const body = `
      import fs from 'node:fs';
      import { createLadder } from ${JSON.stringify(file)};
      const log = { debug() {}, info() {}, warn() {}, error() {} };
      const clock = { wallNs: () => 1n, monotonicNs: () => 1n, every: () => () => {} };
      const drafts = [];
      const ladder = createLadder({ log, clock, native: { dir: ${JSON.stringify(path.dirname(helper ?? ''))} } });
      const command = { argv: ['sh', '-c', 'echo x > inner; exit 3'], env: { PATH: '/usr/bin:/bin' }, cwd: ${JSON.stringify(dir)} };
      const running = await ladder.run(command, (some) => { drafts.push(...some); });
      const exit = await running.exited;
      await running.stop();
      fs.writeFileSync(${JSON.stringify(out)}, JSON.stringify({ exit, drafts }));`;
    const root = path.resolve(import.meta.dirname, '../../..');
    const argv = ['--conditions=telltale-source', '--import', 'tsx', '--input-type=module'];
    const outer = await recordRun([process.execPath, ...argv, '-e', body], {
      cwd: root,
      helper: helper as string,
    });
    const got = JSON.parse(fs.readFileSync(out, 'utf8'));
    expect(got.exit).toEqual({ code: 3, signal: null });
    const sensors = got.drafts.filter((draft: Draft) => draft.kind === 'sensor');
    expect(sensors).toMatchObject([
      { sensor_rung: 1, coverage: 'none' },
      { sensor_rung: 2, coverage: 'partial' },
    ]);
    expect(sensors[0].reason).toMatch(/^listener_taken: /);
    // The outer listener outranks the tracer: it is told of programs and ends, and says that of the
    // rest it sees nothing.
    expect(sensors[1].reason).toMatch(/write was not seen/);
    expect(got.drafts.at(-1)).toMatchObject({ kind: 'exit', exit_code: 3 });
    const inner = (e: DraftOf<'file'>) => e.file_path.endsWith('/inner');
    expect(outer.of('file').filter(inner)).toHaveLength(1);
  });

  it('says plainly that nothing is seen on the last', async () => {
    const got = await climb({ rung: 'none' });
    expect(got.exit).toEqual({ code: 3, signal: null });
    expect(got.rungs).toEqual([[4, 'none']]);
    expect(got.reasons[0]).toMatch(/not seen/);
    await expect(climb({ rung: 'none' }, ['/no/such'])).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('fails where the one rung that is wanted can’t work', async () => {
    const wanted = climb({ rung: 'ptrace', native: { dir, compiler: 'no-such-cc' } });
    await expect(wanted).rejects.toThrow(/ptrace can't work here: needs the native supervisor/);
  });
});
