/**
 * Runs the property tests with other seeds, until one fails or all rounds are done:
 *
 *     npm run explore [-- --rounds N] [--seed FIRST] [test files …]
 *
 * A failure names the seed of its round; the fault is mended and the counterexample is kept as a
 * named example beside its property.
 */
import { spawnSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import fs from 'node:fs';
import { parseArgs } from 'node:util';

const SEED_MAX = 2 ** 31 - 1;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: 'string', default: '10' }, seed: { type: 'string' } },
});

/** The test files that hold a property. */
function propertyFiles(): readonly string[] {
  return fs
    .readdirSync('test', { recursive: true, encoding: 'utf8' })
    .map((name) => `test/${name}`)
    .filter((name) => name.endsWith('.test.ts'))
    .filter((name) => fs.readFileSync(name, 'utf8').includes("from 'fast-check'"));
}

const rounds = Number(values.rounds);
const first = values.seed === undefined ? randomInt(SEED_MAX) : Number(values.seed);
if (!Number.isSafeInteger(rounds) || rounds < 1 || !Number.isSafeInteger(first))
  throw new Error('--rounds and --seed are whole numbers, for example: --rounds 10 --seed 1');
const files = positionals.length > 0 ? positionals : propertyFiles();

for (let round = 0; round < rounds; round++) {
  const seed = String((first + round) % SEED_MAX);
  console.log(`round ${round + 1} of ${rounds}: seed ${seed}, ${files.length} files`);
  const { status, signal } = spawnSync(
    process.execPath,
    [
      'node_modules/vitest/vitest.mjs',
      'run',
      '--project',
      'unit',
      '--project',
      'integration',
      '--reporter=dot',
      ...files,
    ],
    { stdio: 'inherit', env: { ...process.env, TELLTALE_PROPERTY_SEED: seed } },
  );
  if (status !== 0) {
    console.error(
      `seed ${seed} found a fault; again: npm run explore -- --rounds 1 --seed ${seed}`,
    );
    process.exitCode = signal === 'SIGINT' ? 130 : 1;
    break;
  }
}
