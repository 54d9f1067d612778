/**
 * The secrets of one text. Words of the rules are found in one pass; only around them the rule's
 * expression runs. What can't be looked through within the budget counts as secret as a whole.
 */
import { createKeywords } from './keywords.ts';
import { type Finding, type SecretRule, secretRules } from './rules.ts';

/** So many units of one text at most go through expressions; a hostile text is full of words. */
export const RULE_UNITS_MAX = 2 * 1024 * 1024;
/** Of them, so many are searched for where a match is: that is ten times as dear as whether. */
export const SEARCH_UNITS_MAX = 64 * 1024;
/** A token that begins with its keyword is looked at whole, up to this length. */
const TOKEN_UNITS_MAX = 64 * 1024;
/** A mark that a secret was replaced by; never itself a secret. */
const MARK = /\[redacted:[a-z0-9-]{1,64}:[0-9a-f]{16}\]/g;
const WORD = /[\w+/=.~-]/;

/** Where the word at `at` ends. */
function wordEnd(text: string, at: number): number {
  const most = Math.min(text.length, at + TOKEN_UNITS_MAX);
  let end = at;
  while (end < most && WORD.test(text[end] as string)) end++;
  return end;
}

export type Scan = (text: string) => readonly Finding[];

interface Window {
  start: number;
  end: number;
}

interface Place extends Readonly<Window> {
  readonly rule: SecretRule;
}

/** Up to where all places together have no more units than may be searched. */
function searchEnd(places: readonly Place[], textEnd: number): number {
  const unitsBefore = (at: number) =>
    places.reduce((sum, { start, end }) => sum + Math.max(0, Math.min(end, at) - start), 0);
  if (unitsBefore(textEnd) <= SEARCH_UNITS_MAX) return textEnd;
  let [low, high] = [0, textEnd];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (unitsBefore(middle) <= SEARCH_UNITS_MAX) low = middle;
    else high = middle;
  }
  return low;
}

/**
 * The secrets at `places`, of which each begins before `searchTo`. Behind it a rule looks as far as
 * it must for a secret that begins before.
 */
function search(text: string, places: readonly Place[], searchTo: number): Finding[] {
  return places.flatMap(({ rule, start, end }) => {
    if (start >= searchTo) return [];
    const to = Math.min(end, searchTo + rule.behind);
    return rule.find(text, start, to).map((one) => whole(text, one, to));
  });
}

/** Whether a secret may begin at `at`: a word begins there, and goes on for long enough. */
function beginsToken(text: string, at: number): boolean {
  if (at > 0 && /\w/.test(text[at - 1] as string)) return false;
  return /^[\w./-]{19}/.test(text.slice(at, at + 19));
}

/** Findings in order and without overlap, each grown over marks that it touches. */
function joined(text: string, found: readonly Finding[]): Finding[] {
  const marks = text.includes('[redacted:')
    ? [...text.matchAll(MARK)].map((mark) => ({
        start: mark.index,
        end: mark.index + mark[0].length,
      }))
    : [];
  const out: Finding[] = [];
  for (const one of [...found].sort((a, b) => a.start - b.start)) {
    let { start, end } = one;
    if (marks.some((mark) => mark.start <= start && end <= mark.end)) continue;
    for (const mark of marks) {
      if (mark.end <= start || mark.start >= end) continue;
      start = Math.min(start, mark.start);
      end = Math.max(end, mark.end);
    }
    const last = out.at(-1);
    if (last === undefined || start >= last.end) out.push({ ...one, start, end });
    else if (end > last.end) out[out.length - 1] = { ...last, end };
  }
  return out;
}

/** A finding that ends where its window was cut goes on to the end of its word. */
function whole(text: string, one: Finding, windowEnd: number): Finding {
  return one.end === windowEnd ? { ...one, end: wordEnd(text, windowEnd) } : one;
}

/** `more` finds what rules don't, in the whole text. */
export function createScan(more: (text: string) => readonly Finding[] = () => []): Scan {
  const rules = secretRules();
  const words = [...new Set(rules.flatMap((rule) => rule.keywords))];
  const keywords = createKeywords(words);
  const users = words.map((word) =>
    rules.flatMap((rule, index) => (rule.keywords.includes(word) ? [index] : [])),
  );
  return (text) => {
    const windows = new Map<number, Window[]>();
    let spent = 0;
    let readTo = text.length;
    let knownEnd = 0;
    const tokenEnd = (at: number) => {
      if (at >= knownEnd) knownEnd = wordEnd(text, at);
      return knownEnd;
    };
    keywords.each(text, (word, end) => {
      const start = end - (words[word] as string).length;
      if (spent > RULE_UNITS_MAX) return;
      for (const index of users[word] ?? []) {
        const rule = rules[index] as SecretRule;
        if (rule.leads && !beginsToken(text, start)) continue;
        const from = Math.max(0, start - (rule.leads ? 1 : rule.before));
        const reach = rule.leads ? tokenEnd(start) + 1 : end + rule.behind;
        const to = Math.min(text.length, reach);
        const own = windows.get(index) ?? [];
        const last = own.at(-1);
        const isNew = last === undefined || from > last.end;
        spent += isNew ? to - from : Math.max(0, to - last.end);
        if (isNew) own.push({ start: from, end: to });
        else last.end = Math.max(last.end, to);
        windows.set(index, own);
      }
      if (spent > RULE_UNITS_MAX) readTo = start;
    });
    const found: Finding[] = [...more(text)];
    if (windows.size === 0 && found.length === 0) return found;
    const places: Place[] = [];
    for (const [index, own] of windows) {
      const rule = rules[index] as SecretRule;
      for (const { start, end } of own)
        if (rule.holds(text, start, end)) places.push({ rule, start, end });
    }
    readTo = Math.min(readTo, searchEnd(places, text.length));
    found.push(...search(text, places, readTo));
    // A secret that begins before it and ends behind it keeps its name.
    const restFrom = found.reduce(
      (from, { start, end }) => (start < readTo ? Math.max(from, end) : from),
      readTo,
    );
    if (restFrom < text.length)
      return joined(text, [
        ...found.filter(({ start }) => start < readTo),
        { rule: 'not-read', start: restFrom, end: text.length },
      ]);
    return joined(text, found);
  };
}
