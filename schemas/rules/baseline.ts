/**
 * A learned baseline: how surprising each step of a session is for an agent in its workspace. An
 * online n-gram model over step tokens (kind, tool or program, path, host, outcome, each by class),
 * orders 1 to 4, interpolated with Witten-Bell discounting:
 *
 *     p(w | h) = (c(h w) + T(h) p(w | h')) / (c(h) + T(h))
 *
 * where c counts, T(h) is how many different tokens followed h, h' is h without its oldest token,
 * and below the empty context every token of the vocabulary and one unknown are equally likely.
 * I. H. Witten and T. C. Bell, "The zero-frequency problem", IEEE Trans. Inf. Theory 37(4), 1991,
 * method C; in the interpolated form of S. F. Chen and J. Goodman, "An empirical study of smoothing
 * techniques for language modeling", 1998.
 *
 * A model is its counts, as plain data: those of two models add up to the model of both, so they
 * are kept as sums in a table, one model for each agent and workspace.
 */

/** Longest n-gram: a step is judged by up to three before it. */
export const ORDER_MAX = 4;
/** Different n-grams of one model; more are not learned, and counted. */
export const NGRAMS_MAX = 200_000;
/** Alternatives that an explanation names. */
const EXPECTED_MAX = 3;
/** Between the tokens of a context; no token has it, since classes are plain words. */
const GLUE = ' ';
/** Stands before the first step, so that how a session begins is learned too. */
const START = '^';

/** One count of a model, as it is stored: how often `token` came behind `context`. */
export interface NgramCount {
  /** Up to three tokens before it, the oldest first, with a blank between; empty for none. */
  readonly context: string;
  readonly token: string;
  readonly count: number;
}

interface Followers {
  total: number;
  readonly next: Map<string, number>;
}

/** A token and how likely it is. */
export interface Likely {
  readonly token: string;
  readonly probability: number;
}

export interface BaselineModel {
  /** Learns one session, or a part of it; the tokens before it are not known. */
  learn(tokens: readonly string[]): void;
  /** Adds counts that were stored. */
  add(counts: Iterable<NgramCount>): void;
  /** All counts, in no particular order. */
  counts(): Iterable<NgramCount>;
  /** How likely `token` is behind `context` (the oldest first); always above 0. */
  probability(token: string, context: readonly string[]): number;
  /** The likeliest tokens behind a context. */
  expected(context: readonly string[]): readonly Likely[];
  /** Steps learned. */
  readonly steps: number;
  /** Different tokens learned. */
  readonly vocabulary: number;
  /** N-grams that were not learned for the bound. */
  readonly dropped: number;
}

/** The contexts of a step from the longest to the empty one. */
function contextsOf(before: readonly string[]): string[] {
  const recent = before.slice(Math.max(0, before.length - (ORDER_MAX - 1)));
  return Array.from({ length: recent.length + 1 }, (_, from) => recent.slice(from).join(GLUE));
}

/** The last tokens before place `at`, filled up with the start of a session. */
function historyOf(tokens: readonly string[], at: number): string[] {
  const from = at - (ORDER_MAX - 1);
  const before = tokens.slice(Math.max(0, from), at);
  return [...Array<string>(Math.max(0, -from)).fill(START), ...before];
}

class CountingModel implements BaselineModel {
  readonly #followers = new Map<string, Followers>();
  readonly #ngramsMax: number;
  #ngrams = 0;
  dropped = 0;

  constructor(ngramsMax: number) {
    this.#ngramsMax = ngramsMax;
  }

  learn(tokens: readonly string[]): void {
    tokens.forEach((token, at) => {
      for (const context of contextsOf(historyOf(tokens, at))) this.#count(context, token, 1);
    });
  }

  add(counts: Iterable<NgramCount>): void {
    for (const { context, token, count } of counts) this.#count(context, token, count);
  }

  #count(context: string, token: string, count: number): void {
    const followers = this.#followers.get(context) ?? { total: 0, next: new Map() };
    const known = followers.next.get(token);
    if (known === undefined && this.#ngrams >= this.#ngramsMax) {
      this.dropped += 1;
      return;
    }
    if (known === undefined) this.#ngrams += 1;
    followers.next.set(token, (known ?? 0) + count);
    followers.total += count;
    this.#followers.set(context, followers);
  }

  *counts(): Generator<NgramCount> {
    for (const [context, { next }] of this.#followers) {
      for (const [token, count] of next) yield { context, token, count };
    }
  }

  probability(token: string, context: readonly string[]): number {
    let probability = 1 / (this.vocabulary + 1);
    for (const key of contextsOf(context).reverse()) {
      const followers = this.#followers.get(key);
      if (followers === undefined) continue;
      const { total, next } = followers;
      const kinds = next.size;
      probability = ((next.get(token) ?? 0) + kinds * probability) / (total + kinds);
    }
    return probability;
  }

  expected(context: readonly string[]): readonly Likely[] {
    // The longest context that was seen names the candidates; all orders give their probability.
    const key = contextsOf(context).find((one) => this.#followers.has(one)) ?? '';
    const next = this.#followers.get(key)?.next ?? new Map<string, number>();
    return [...next.keys()]
      .map((token) => ({ token, probability: this.probability(token, context) }))
      .sort((a, b) => b.probability - a.probability || (a.token < b.token ? -1 : 1))
      .slice(0, EXPECTED_MAX);
  }

  get steps(): number {
    return this.#followers.get('')?.total ?? 0;
  }

  get vocabulary(): number {
    return this.#followers.get('')?.next.size ?? 0;
  }
}

/** A model without any counts. */
export function createBaseline(ngramsMax: number = NGRAMS_MAX): BaselineModel {
  return new CountingModel(ngramsMax);
}

/** When a session is worth a look; data, set for each installation. */
export interface BaselineSettings {
  /** Steps over which the surprise is averaged: one odd step is common, a run of them is not. */
  readonly windowSteps: number;
  /** Mean bits a step over a window from which on it is an anomaly. */
  readonly thresholdBits: number;
  /** Steps that a model has to have learned before it judges. */
  readonly stepsMin: number;
}
export const BASELINE_SETTINGS: BaselineSettings = {
  windowSteps: 8,
  thresholdBits: 8,
  stepsMin: 2000,
};

/** A step as it was judged. */
export interface JudgedStep {
  /** Its event. */
  readonly id: string;
  readonly token: string;
  /** The tokens before it, the oldest first. */
  readonly context: readonly string[];
  /** -log2 of its probability. */
  readonly bits: number;
}

/** The running judgement of one session: plain data. */
export interface BaselineState {
  /** The last tokens, one fewer than the longest n-gram has. */
  readonly recent: readonly string[];
  /** The steps of the window, the oldest first. */
  readonly window: readonly JudgedStep[];
  /** The window was above the threshold already, so it is told once. */
  readonly above: boolean;
  /** Steps judged so far and the bits of all of them: the score of the whole session. */
  readonly judged: number;
  readonly bits: number;
}
export const BASELINE_START: BaselineState = {
  recent: Array<string>(ORDER_MAX - 1).fill(START),
  window: [],
  above: false,
  judged: 0,
  bits: 0,
};

/** A run of steps that the model did not expect. */
export interface Anomaly {
  /** Mean bits a step. */
  readonly score: number;
  readonly steps: readonly JudgedStep[];
  /** The step that surprised most. */
  readonly worst: JudgedStep;
  /** The likeliest tokens in the place of the worst step, the likeliest first. */
  readonly expected: readonly Likely[];
}

/** Mean bits a step over a window. */
const windowScore = (window: readonly JudgedStep[]): number =>
  window.reduce((sum, { bits }) => sum + bits, 0) / window.length;

/** Mean bits a step over the session so far; 0 where no step was judged. */
export const sessionScore = ({ bits, judged }: BaselineState): number =>
  judged === 0 ? 0 : bits / judged;

/**
 * Judges the next step of a session.
 *
 * @param id the step's event
 * @returns the state behind it, and the anomaly that begins with this step, if one does
 */
export function judgeStep(
  model: BaselineModel,
  settings: BaselineSettings,
  state: BaselineState,
  id: string,
  token: string,
): { readonly state: BaselineState; readonly anomaly: Anomaly | undefined } {
  const recent = [...state.recent, token].slice(-(ORDER_MAX - 1));
  if (model.steps < settings.stepsMin) {
    return { state: { ...state, recent }, anomaly: undefined };
  }
  const context = state.recent;
  const bits = -Math.log2(model.probability(token, context));
  const window = [...state.window, { id, token, context, bits }].slice(-settings.windowSteps);
  const score = windowScore(window);
  const above = window.length === settings.windowSteps && score >= settings.thresholdBits;
  const next = { recent, window, above, judged: state.judged + 1, bits: state.bits + bits };
  if (!above || state.above) return { state: next, anomaly: undefined };
  const worst = window.reduce((a, b) => (b.bits > a.bits ? b : a));
  const expected = model.expected(worst.context);
  return { state: next, anomaly: { score, steps: window, worst, expected } };
}

/** An anomaly in words. */
export function explain({ score, worst, expected }: Anomaly): string {
  const after = worst.context.filter((one) => one !== START).join(', then ');
  const likely = expected
    .map(({ token, probability }) => `${token} (${Math.round(probability * 100)} %)`)
    .join(', ');
  const place = after === '' ? 'at the beginning' : `after ${after}`;
  const instead = likely === '' ? '' : `; expected was ${likely}`;
  const most = `${worst.token} ${place} (${worst.bits.toFixed(1)} bits)`;
  return `${score.toFixed(1)} bits a step; most of all ${most}${instead}`;
}
