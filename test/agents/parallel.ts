/**
 * Calls that run at the same time, three by three. Each is the same but for its letter, which stands
 * in the arguments of all its programs and in the names of all its files: so what belongs to which
 * call is known whatever anybody reports.
 */
import type { Scripted } from './script.ts';

const ROUNDS = 3;
const LETTERS = ['a', 'b', 'c'];

export interface Marked {
  readonly mark: string;
  readonly command: string;
}

const commandOf = (mark: string) =>
  `for n in 1 2 3 4 5; do /bin/echo ${mark} $n > ${mark}.$n; /bin/sleep 0.0$n; done; ` +
  `/bin/mv ${mark}.1 ${mark}.moved; env MARK=${mark} /bin/cat ${mark}.moved; rm ${mark}.2`;

/** The rounds, each of calls that run together. */
export const ROUNDS_OF_CALLS: readonly (readonly Marked[])[] = Array.from(
  { length: ROUNDS },
  (_, round) =>
    LETTERS.map((letter) => {
      const mark = `apart_${round}${letter}`;
      return { mark, command: commandOf(mark) };
    }),
);

/** Each call's id with its mark: the id of a call ends with it. */
export const marksOf = (calls: readonly Scripted[]) =>
  calls.flatMap(({ id }) => {
    const found = ROUNDS_OF_CALLS.flat().find(({ mark }) => id.endsWith(mark));
    return found === undefined ? [] : [[id, found.mark] as const];
  });
