/** Real kernel: reads of secret files are told, with their reader where the kernel names it. */
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { secretPaths } from '../../../collector/sensors/secrets.ts';
import { helper, here, recordRun, scratchDir } from './recorder.ts';

const dir = here ? scratchDir() : '';
afterAll(() => dir !== '' && fs.rmSync(dir, { recursive: true, force: true }));

describe('the list', () => {
  it.skipIf(!here)(
    'holds what is there: of the home, of the project, and what was asked for',
    () => {
      const home = path.join(dir, 'home');
      fs.mkdirSync(path.join(home, '.ssh'), { recursive: true });
      for (const name of ['.env', '.env.local', '.env.example', '.envrc', 'more'])
        fs.writeFileSync(path.join(dir, name), '');
      const list = secretPaths(home, dir, ['more', 'missing']).filter((name) =>
        name.startsWith(dir),
      );
      expect(list.map((name) => path.relative(dir, name))).toEqual([
        'home/.ssh',
        '.env',
        '.env.local',
        'more',
      ]);
    },
  );
});

describe.skipIf(helper === undefined)('a read of a secret', () => {
  it('is told once for each process, and by whom', async () => {
    const keys = path.join(dir, 'keys');
    fs.mkdirSync(keys);
    fs.writeFileSync(path.join(keys, 'id_rsa'), 'k'.repeat(300_000));
    fs.writeFileSync(path.join(dir, 'token'), 't');
    fs.writeFileSync(path.join(dir, 'other'), 'o');
    const secrets = [keys, path.join(dir, 'token')];
    const script =
      'cat keys/id_rsa token other >/dev/null; cat < token >/dev/null; ls keys >/dev/null; sleep 0.1';
    // Ours are not the command's.
    const during = () => void fs.readFileSync(path.join(dir, 'token'));
    const got = await recordRun(['sh', '-c', script], {
      cwd: dir,
      helper: helper as string,
      secrets,
      during,
    });
    const reads = got.of('file').filter((event) => event.file_op === 'read');
    const how = got.of('sensor')[0]?.attrs?.secret_reads;
    expect(['fanotify', 'inotify']).toContain(how);
    expect(new Set(reads.map((event) => path.relative(dir, event.file_path)))).toEqual(
      new Set(['keys/id_rsa', 'token']),
    );
    if (how !== 'fanotify') return;
    const cats = got
      .of('exec')
      .filter((event) => event.argv?.[0] === 'cat')
      .map((event) => event.pid);
    expect(reads.map((event) => event.pid).sort()).toEqual([cats[0], cats[0], cats[1]].sort());
    for (const event of reads) expect(event.assurance).toBe('observed');
  });
});
