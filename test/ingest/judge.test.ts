import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { StoreFault, StoreFaultCode } from '#schemas';
import { DELAY_MS_MAX, judge, needsOperator } from '../../ingest/judge.ts';

const fault = (code: StoreFaultCode, engineCode?: number): StoreFault => ({
  code,
  message: 'words are never looked at',
  ...(engineCode === undefined ? {} : { engineCode }),
});

const dice = fc.double({ min: 0, max: 1, noNaN: true });

describe('judge', () => {
  it('retries for ever what may pass, within bounds, and never splits or stops for it', () => {
    const passing = fc.constantFrom<StoreFaultCode>('unreachable', 'busy', 'unknown', 'limit');
    fc.assert(
      fc.property(
        passing,
        fc.nat(1e9),
        dice,
        fc.option(fc.nat(1000)),
        (code, attempt, d, number) => {
          const verdict = judge(fault(code, number ?? undefined), attempt, d);
          if (verdict.act !== 'retry') throw new Error(verdict.act);
          expect(verdict.delayMs).toBeGreaterThanOrEqual(50);
          expect(verdict.delayMs).toBeLessThanOrEqual(DELAY_MS_MAX);
        },
      ),
    );
  });

  it('waits longer each time, up to the limit', () => {
    const delays = [0, 1, 2, 3, 20, 21].map((attempt) => {
      const verdict = judge(fault('busy'), attempt, 1);
      return verdict.act === 'retry' ? verdict.delayMs : -1;
    });
    expect(delays).toEqual([100, 200, 400, 800, DELAY_MS_MAX, DELAY_MS_MAX]);
  });

  it('suspects the rows when the engine refuses them by a number', () => {
    expect(judge(fault('refused', 27), 0, 0)).toEqual({ act: 'split' });
    expect(judge(fault('refused', 117), 0, 0)).toEqual({ act: 'split' });
  });

  it('never parks good rows because a migration or a grant is missing', () => {
    for (const number of [60, 81, 16, 497]) {
      expect(judge(fault('refused', number), 1e6, 0).act).toBe('retry');
      expect(needsOperator(fault('refused', number))).toBe(true);
    }
    expect(needsOperator(fault('unreachable', 60))).toBe(false);
  });

  it('gives a refusal without a number some tries before it suspects the rows', () => {
    expect(judge(fault('refused'), 0, 0).act).toBe('retry');
    expect(judge(fault('refused'), 5, 0).act).toBe('split');
  });

  it('stops when the store was closed', () => {
    expect(judge(fault('closed'), 0, 0)).toEqual({ act: 'stop' });
  });

  it('does not look at the message', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (a, b) => {
        const one = judge({ code: 'refused', engineCode: 27, message: a }, 0, 0.5);
        expect(judge({ code: 'refused', engineCode: 27, message: b }, 0, 0.5)).toEqual(one);
      }),
    );
  });
});
