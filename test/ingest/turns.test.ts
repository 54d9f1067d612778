import { describe, expect, it } from 'vitest';
import { createTurns } from '../../ingest/turns.ts';

const settled = () => new Promise((resolve) => setImmediate(resolve));

/** Batches by name; each is written until `end` or `fail` is called. */
function bench() {
  const turns = createTurns();
  const told: string[] = [];
  const open = new Map<string, { end(): void; fail(error: Error): void }>();
  const take = (name: string, ...streams: string[]) =>
    turns.take(
      new Set(streams),
      async () => {
        told.push(`ready ${name}`);
        return name;
      },
      (ready) => {
        told.push(`write ${ready}`);
        return new Promise<string>((end, fail) => open.set(name, { end: () => end(name), fail }));
      },
    );
  return { take, told, open };
}

describe('turns', () => {
  it('makes one batch ready and hands it over while another is written, and no more', async () => {
    const { take, told, open } = bench();
    const all = [take('a', '1'), take('b', '2'), take('c', '3')];
    await settled();
    expect(told).toEqual(['ready a', 'write a', 'ready b', 'write b']);
    open.get('b')?.end();
    await settled();
    expect(told.slice(4)).toEqual(['ready c', 'write c']);
    open.get('a')?.end();
    open.get('c')?.end();
    expect(await Promise.all(all)).toEqual(['a', 'b', 'c']);
  });

  it('does not look at a stream while another batch has it, and keeps the order behind that', async () => {
    const { take, told, open } = bench();
    const [first] = [take('a', '1', '2'), take('b', '2'), take('c', '3')];
    await settled();
    expect(told).toEqual(['ready a', 'write a']);
    open.get('a')?.end();
    expect(await first).toBe('a');
    await settled();
    expect(told.slice(2)).toEqual(['ready b', 'write b', 'ready c', 'write c']);
  });

  it('goes on behind a batch that fails', async () => {
    const { take, told, open } = bench();
    const [failing, next] = [take('a', '1'), take('b', '1')];
    await settled();
    open.get('a')?.fail(new Error('gone'));
    await expect(failing).rejects.toThrow('gone');
    await settled();
    open.get('b')?.end();
    expect(await next).toBe('b');
    expect(told).toEqual(['ready a', 'write a', 'ready b', 'write b']);
  });

  it('goes on behind a batch that can’t be made ready', async () => {
    const turns = createTurns();
    const failing = turns.take(
      new Set(['1']),
      () => Promise.reject(new Error('away')),
      async () => 'never',
    );
    const next = turns.take(
      new Set(['1']),
      async () => 1,
      async (one) => one + 1,
    );
    await expect(failing).rejects.toThrow('away');
    expect(await next).toBe(2);
  });
});
