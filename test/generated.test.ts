/** What is generated is what the registry gives, and what was released is never taken back. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { formatJson, GENERATORS, ROOT, staleFiles, writeStale } from '../deploy/gen.ts';
import { currentLock, type Lock, lockBreaks, nextLock } from '../schemas/lock.ts';

const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-generated-'));
afterAll(() => fs.rmSync(scratch, { recursive: true, force: true }));

type Loose<T> = { -readonly [K in keyof T]: T[K] extends object ? Loose<T[K]> : T[K] };

/** A copy of today's lock with something about it changed. */
function altered(change: (lock: Loose<Lock>) => void): Lock {
  const copy = structuredClone(currentLock()) as Loose<Lock>;
  change(copy);
  return copy as Lock;
}

function fieldOf(lock: Loose<Lock>, name: string) {
  const field = lock.fields[name];
  if (field === undefined) throw new Error(`the lock has no field ${name}`);
  return field as Record<string, unknown>;
}

function kindOf(lock: Loose<Lock>, name: string) {
  const kind = lock.kinds[name];
  if (kind === undefined) throw new Error(`the lock has no kind ${name}`);
  return kind as unknown as { role: string; required: string[]; optional: string[] };
}

describe('generated files', () => {
  it.each(GENERATORS.map(({ path: name, text }) => [name, text] as const))(
    '%s is what the registry gives, byte for byte',
    async (name, text) => {
      expect(fs.readFileSync(path.join(ROOT, name), 'utf8')).toBe(await text());
    },
  );

  it('leaves no file behind in schemas/json whose kind is gone', () => {
    const made = GENERATORS.map((one) => one.path).filter((p) => p.startsWith('schemas/json/'));
    const there = fs.readdirSync(path.join(ROOT, 'schemas/json')).map((n) => `schemas/json/${n}`);
    expect(there.sort()).toEqual(made.sort());
  });

  it('finds a missing and a changed file stale, writes both, and then nothing', async () => {
    const generators = [
      { path: 'deep/missing.txt', text: () => 'a\n' },
      { path: 'changed.txt', text: async () => 'b\n' },
      { path: 'same.txt', text: () => 'c\n' },
    ];
    fs.writeFileSync(path.join(scratch, 'changed.txt'), 'b \n');
    fs.writeFileSync(path.join(scratch, 'same.txt'), 'c\n');
    const stale = ['deep/missing.txt', 'changed.txt'];
    expect((await staleFiles(generators, scratch)).map((file) => file.path)).toEqual(stale);
    expect(await writeStale(generators, scratch)).toEqual(stale);
    expect(await staleFiles(generators, scratch)).toEqual([]);
    expect(fs.readFileSync(path.join(scratch, 'deep/missing.txt'), 'utf8')).toBe('a\n');
  });

  it('formats JSON that reads back as the same', () => {
    const value = { a: [], b: [1, 'x'.repeat(99)], c: { d: null, e: 'ü"' }, f: {} };
    expect(JSON.parse(formatJson(value))).toEqual(value);
  });
});

describe('the lock on released shapes', () => {
  const now = currentLock();

  const removals: [string, (is: Loose<Lock>) => void, string[]][] = [
    ['a field removed everywhere', (is) => void delete is.fields.file_path, ['field file_path']],
    [
      'a field removed from one kind',
      (is) => {
        const kind = kindOf(is, 'exit');
        kind.optional = kind.optional.filter((name) => name !== 'exit_code');
        kind.required = kind.required.filter((name) => name !== 'exit_code');
      },
      ['kind exit', 'exit_code', 'removed'],
    ],
    ['a kind removed', (is) => void delete is.kinds.net, ['kind net was removed']],
    [
      'a field of another shape',
      (is) => {
        fieldOf(is, 'exit_code').shape = 'text';
      },
      ['field exit_code', 'shape', 'text'],
    ],
    [
      'a column of another type',
      (is) => {
        fieldOf(is, 'exit_code').column = 'String';
      },
      ['field exit_code', 'column', 'String'],
    ],
    [
      'a choice without one of its values',
      (is) => void (fieldOf(is, 'assurance').values as string[]).shift(),
      ['field assurance', 'lost the value', String(now.fields.assurance?.values?.[0])],
    ],
    [
      'a choice that became free words',
      (is) => void delete fieldOf(is, 'assurance').values,
      ['field assurance', 'closed list'],
    ],
    [
      'an optional field newly required',
      (is) => {
        const kind = kindOf(is, 'exit');
        const name = kind.optional.shift() as string;
        kind.required.push(name);
      },
      ['kind exit', String(now.kinds.exit?.optional[0]), 'newly required'],
    ],
    [
      'a new field that is required at once',
      (is) => {
        is.fields.brand_new = structuredClone(fieldOf(is, 'exit_code')) as never;
        kindOf(is, 'exit').required.push('brand_new');
      },
      ['kind exit', 'brand_new', 'newly required'],
    ],
    [
      'a required field that became optional',
      (is) => {
        const kind = kindOf(is, 'exit');
        kind.optional.push(kind.required.pop() as string);
      },
      ['kind exit', String(now.kinds.exit?.required.at(-1)), 'no longer required'],
    ],
    [
      'a role of another name',
      (is) => {
        kindOf(is, 'exit').role = 'other';
      },
      ['kind exit', 'role', 'other'],
    ],
    [
      'fewer bytes than before',
      (is) => {
        fieldOf(is, 'file_path').bytesMax = 1;
      },
      ['field file_path', 'now 1'],
    ],
    [
      'a narrower range',
      (is) => {
        fieldOf(is, 'exit_code').range = [0, 1];
      },
      ['field exit_code', 'now from 0 to 1'],
    ],
  ];

  it.each(removals)('refuses %s and names the place', (_what, change, named) => {
    const breaks = lockBreaks(now, altered(change));
    expect(breaks.length).toBeGreaterThan(0);
    for (const words of named) expect(breaks.join('\n')).toContain(words);
  });

  const additions: [string, (is: Loose<Lock>) => void][] = [
    ['nothing changed', () => {}],
    [
      'an optional field added',
      (is) => {
        is.fields.brand_new = structuredClone(fieldOf(is, 'exit_code')) as never;
        kindOf(is, 'exit').optional.push('brand_new');
      },
    ],
    [
      'a kind added',
      (is) => {
        is.kinds.brand_new = structuredClone(is.kinds.exit) as never;
      },
    ],
    [
      'a choice with one more value',
      (is) => void (fieldOf(is, 'assurance').values as string[]).push('brand_new'),
    ],
    [
      'more bytes than before',
      (is) => {
        fieldOf(is, 'file_path').bytesMax = 1e9;
      },
    ],
  ];

  it.each(additions)('lets pass: %s', (_what, change) => {
    expect(lockBreaks(now, altered(change))).toEqual([]);
  });

  it('gives the lock of today from none, and from the one on disk', () => {
    expect(nextLock(undefined)).toEqual(now);
    expect(nextLock(fs.readFileSync(path.join(ROOT, 'schemas/lock.json'), 'utf8'))).toEqual(now);
  });

  it('throws with every break at once when the registry takes something back', () => {
    const was = altered((lock) => {
      lock.fields.once_released = structuredClone(fieldOf(lock, 'exit_code')) as never;
      kindOf(lock, 'exit').optional.push('once_released');
      lock.kinds.once_a_kind = structuredClone(lock.kinds.net) as never;
    });
    const text = JSON.stringify(was);
    expect(() => nextLock(text)).toThrow(/field once_released was removed/);
    expect(() => nextLock(text)).toThrow(/kind exit: field once_released was removed/);
    expect(() => nextLock(text)).toThrow(/kind once_a_kind was removed/);
  });
});
