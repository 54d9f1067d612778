/**
 * Finds many words in one pass over a text, in any letter case (Aho and Corasick 1975): what makes
 * looking for secrets cheap is that most texts hold no word of any rule.
 */

const SYMBOLS = 128;

export interface Keywords {
  /** Calls `found` for each occurrence, with the word's index and the index behind its last unit. */
  each(text: string, found: (word: number, end: number) => void): void;
  /** Whether any of the words stands in the text. */
  has(text: string): boolean;
}

/** Compiles words of ASCII; each must have at least one letter. */
export function createKeywords(words: readonly string[]): Keywords {
  const size = words.reduce((sum, word) => sum + word.length, 1);
  let next = new Int32Array(size * SYMBOLS);
  const fail = new Int32Array(size);
  const ends: number[][] = Array.from({ length: size }, () => []);
  let states = 1;
  for (const [index, word] of words.entries()) {
    let state = 0;
    for (const char of word.toLowerCase()) {
      const at = state * SYMBOLS + char.charCodeAt(0);
      if (next[at] === 0) next[at] = states++;
      state = next[at] as number;
    }
    ends[state]?.push(index);
  }
  // Breadth first: a state's failure is nearer to the root, so it is complete before it is used.
  const queue = [0];
  for (const state of queue) {
    for (let symbol = 0; symbol < SYMBOLS; symbol++) {
      const at = state * SYMBOLS + symbol;
      const child = next[at] as number;
      const back = state === 0 ? 0 : (next[(fail[state] as number) * SYMBOLS + symbol] as number);
      if (child === 0) next[at] = back;
      else {
        fail[child] = back;
        ends[child]?.push(...(ends[back] ?? []));
        queue.push(child);
      }
    }
  }
  const hit = Uint8Array.from(ends, (list) => (list.length > 0 ? 1 : 0));
  next = next.slice(0, states * SYMBOLS);
  const step = (state: number, code: number): number => {
    const unit = code >= 65 && code <= 90 ? code + 32 : code;
    return unit < SYMBOLS ? (next[state * SYMBOLS + unit] as number) : 0;
  };
  return {
    has(text) {
      let state = 0;
      for (let at = 0; at < text.length; at++) {
        state = step(state, text.charCodeAt(at));
        if (hit[state] === 1) return true;
      }
      return false;
    },
    each(text, found) {
      let state = 0;
      for (let at = 0; at < text.length; at++) {
        state = step(state, text.charCodeAt(at));
        if (hit[state] === 1) for (const word of ends[state] ?? []) found(word, at + 1);
      }
    },
  };
}
