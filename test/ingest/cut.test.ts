import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  createTailWatch,
  cutBatches,
  cutFrom,
  type Message,
  offsetAfter,
} from '../../ingest/cut.ts';

const limits = { windowMs: 100, bytesMax: 1000, messagesMax: 7 };

/** A partition's log: offsets may have holes. */
const log = fc
  .array(
    fc.record({
      step: fc.integer({ min: 1, max: 3 }),
      size: fc.nat(1200),
    }),
    { maxLength: 60 },
  )
  .map((entries) => {
    let offset = 10;
    return entries.map(({ step, size }): Message => {
      offset += step;
      return { offset: String(offset), value: Buffer.alloc(size) };
    });
  });

const names = (batches: readonly (readonly Message[])[]) =>
  batches.map((batch) => `${batch[0]?.offset}-${batch.at(-1)?.offset}`);

describe('cutBatches', () => {
  it('loses nothing, keeps the order and stays within its limits', () => {
    fc.assert(
      fc.property(log, (messages) => {
        const { closed, tail } = cutBatches(messages, limits);
        expect([...closed.flat(), ...tail]).toEqual(messages);
        for (const batch of [...closed, ...(tail.length > 0 ? [tail] : [])]) {
          const bytes = batch.reduce((sum, one) => sum + (one.value?.length ?? 0), 0);
          expect(batch.length).toBeGreaterThan(0);
          expect(batch.length).toBeLessThanOrEqual(limits.messagesMax);
          if (batch.length > 1) expect(bytes).toBeLessThanOrEqual(limits.bytesMax);
        }
      }),
    );
  });

  it('is a function of the log: any fetch sizes and any restarts at a commit cut the same', () => {
    fc.assert(
      fc.property(
        log,
        fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 60, maxLength: 60 }),
        (messages, sizes) => {
          const whole = names(cutBatches(messages, limits).closed);
          const found: string[] = [];
          // Each fetch starts at the committed offset and brings any number of messages.
          let [at, end] = [0, 0];
          for (const size of sizes) {
            end = Math.min(messages.length, Math.max(end, at) + size);
            const { closed } = cutBatches(messages.slice(at, end), limits);
            found.push(...names(closed));
            at += closed.flat().length;
          }
          expect(found).toEqual(whole.slice(0, found.length));
          if (end === messages.length) expect(found).toEqual(whole);
        },
      ),
    );
  });

  it('never changes a closed batch when more comes', () => {
    fc.assert(
      fc.property(log, log, (first, more) => {
        const before = names(cutBatches(first, limits).closed);
        const after = names(cutBatches([...first, ...more], limits).closed);
        expect(after.slice(0, before.length)).toEqual(before);
      }),
    );
  });
});

describe('cutFrom', () => {
  it('ends the first batch where it was said to end, and cuts the rest as ever', () => {
    fc.assert(
      fc.property(log, fc.nat(60), (messages, at) => {
        const begun = messages.slice(0, at);
        const end = begun.length === 0 ? undefined : offsetAfter(begun);
        const { closed, tail } = cutFrom(messages, limits, end);
        const rest = cutBatches(messages.slice(begun.length), limits);
        expect(closed).toEqual([...(begun.length === 0 ? [] : [begun]), ...rest.closed]);
        expect(tail).toEqual(rest.tail);
      }),
    );
  });

  it('waits while the fetch does not reach to the end, and ignores an end that lies behind', () => {
    const messages = ['5', '6'].map((offset) => ({ offset, value: null }));
    expect(cutFrom(messages, limits, '8')).toEqual({ closed: [], tail: [] });
    expect(cutFrom(messages, limits, '7')).toEqual({ closed: [messages], tail: [] });
    expect(cutFrom(messages, limits, '5')).toEqual({ closed: [], tail: messages });
  });
});

describe('the tail of a partition', () => {
  const ms = (n: number) => BigInt(n) * 1_000_000n;

  it('is a batch a window behind the last cut, and at once where none was for longer', () => {
    let now = 0n;
    const watch = createTailWatch(() => now, 100);
    expect(watch.remainingMs()).toBe(100);
    now = ms(99);
    expect(watch.remainingMs()).toBe(1);
    now = ms(100);
    expect(watch.remainingMs()).toBe(0);
    watch.cut();
    expect(watch.remainingMs()).toBe(100);
    now = ms(5_000);
    expect(watch.remainingMs()).toBe(0);
  });
});
