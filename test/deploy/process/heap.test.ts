/** The young generation of a process that keeps it small, beside one that does not. */
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { expect, it } from 'vitest';

const HEAP = path.resolve(import.meta.dirname, '../../../deploy/process/heap.ts');
/** Keeps half of what it makes for a while, so that the young generation wants to grow. */
const WORK = `
  const kept = [];
  for (let i = 0; i < 2e6; i++) kept[i % 200000] = { i, text: String(i) };
  const spaces = (await import('node:v8')).getHeapSpaceStatistics();
  console.log(spaces.find((space) => space.space_name === 'new_space').space_size / 2 ** 20);`;

function youngMb(before: string): number {
  const source = `${before}\n${WORK}`;
  const flags = ['--import', import.meta.resolve('tsx'), '--input-type=module', '-e', source];
  return Number(execFileSync(process.execPath, flags, { encoding: 'utf8' }));
}

it('stays small where it is kept so, on this version of Node', () => {
  const grown = youngMb('');
  const kept = youngMb(
    `const { keepHeapYoung } = await import(${JSON.stringify(HEAP)}); keepHeapYoung();`,
  );
  expect(grown).toBeGreaterThanOrEqual(8);
  expect(kept).toBeLessThan(grown / 2);
});
