/** How good findings are: right, wrong and missed ones, counted against a known truth. */
export function createScore() {
  let [right, wrong, missed] = [0, 0, 0];
  const faults: string[] = [];
  return {
    /** One case: what holds of it, and what was found. */
    take(name: string, truth: Iterable<string>, found: Iterable<string>): void {
      const [wanted, got] = [new Set(truth), new Set(found)];
      for (const one of got)
        if (wanted.has(one)) right++;
        else {
          wrong++;
          faults.push(`found ${one}: ${name}`);
        }
      for (const one of wanted)
        if (!got.has(one)) {
          missed++;
          faults.push(`missed ${one}: ${name}`);
        }
    },
    result: () => ({
      precision: right + wrong === 0 ? 1 : right / (right + wrong),
      recall: right + missed === 0 ? 1 : right / (right + missed),
      faults,
    }),
  };
}

/** One line for the reader of a test's output. */
export const scoreLine = (
  what: string,
  { precision, recall, faults }: ReturnType<ReturnType<typeof createScore>['result']>,
): string =>
  [
    `${what}: precision ${precision.toFixed(3)}, recall ${recall.toFixed(3)}`,
    ...faults.map((fault) => `  ${fault}`),
  ].join('\n');
