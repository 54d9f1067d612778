import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { lockDir } from '../../../deploy/process/lock.ts';

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-lock-'));
afterAll(() => fs.rmSync(root, { recursive: true, force: true }));

describe('lockDir', () => {
  it('holds a directory until it is let go', () => {
    const dir = path.join(root, 'a', 'b');
    const unlock = lockDir(dir);
    expect(() => lockDir(dir)).toThrow(`${dir} is in use by another process`);
    unlock();
    lockDir(dir)();
  });

  it('is let go by the kernel when its process is killed', async () => {
    const dir = path.join(root, 'killed');
    const file = path.resolve(import.meta.dirname, '../../../deploy/process/lock.ts');
    const code = `import { lockDir } from ${JSON.stringify(file)};
      lockDir(${JSON.stringify(dir)}); console.log('held'); setInterval(() => {}, 1000);`;
    const args = ['--conditions=telltale-source', '--import', 'tsx', '--input-type=module'];
    const child = spawn(process.execPath, [...args, '-e', code]);
    await new Promise((resolve) => child.stdout.once('data', resolve));
    expect(() => lockDir(dir)).toThrow('in use');
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
    lockDir(dir)();
  });
});
