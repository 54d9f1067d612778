/** Colours that mean something: the same word has the same colour on every panel. */

/** Words at the end of a series' name, and Grafana's name of the colour. */
export const COLORS: readonly (readonly [words: readonly string[], color: string])[] = [
  [['deny', 'denied', 'failure', 'failed', 'high'], 'red'],
  [['critical'], 'purple'],
  [['approved', 'allow', 'success', 'complete', 'closed'], 'green'],
  [['asked', 'medium', 'partial', 'open'], 'orange'],
  [['cancelled', 'low'], 'yellow'],
  [['informational', 'attempted', 'not told', 'unknown'], 'gray'],
];

/** The pattern that finds a series with one of these words, as Grafana's overrides have it. */
export const patternOf = (words: readonly string[]): string => `/(^| )(${words.join('|')})$/`;

/** The colour of a series; undefined where its name means neither good nor bad. */
export const colorOf = (name: string): string | undefined =>
  COLORS.find(([words]) => words.some((word) => name === word || name.endsWith(` ${word}`)))?.[1];
