/**
 * The one reading of JSON that agents, their hooks and the host's sensors wrote. It is theirs, so a
 * text may be nested until whoever walks its value runs out of stack, may name a member twice, of
 * which `JSON.parse` keeps the last only, and may be no JSON at all. Its length is bounded where it
 * comes in: by the receiver, the tail and the feed.
 */
import { parseJson } from '#schemas';

/** Far more than any agent nests, and far less than a stack holds. */
export const JSON_DEPTH_MAX = 1000;

const QUOTE = 0x22;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const OPENS: ReadonlySet<number> = new Set([0x5b, 0x7b]);
const CLOSES: ReadonlySet<number> = new Set([0x5d, 0x7d]);

/** Where the string ends that opens at `at`; the end of the text where it does not end. */
function endOfString(text: string, at: number): number {
  for (let end = text.indexOf('"', at + 1); end >= 0; end = text.indexOf('"', end + 1)) {
    let slashes = end;
    while (text.charCodeAt(slashes - 1) === BACKSLASH) slashes--;
    if ((end - slashes) % 2 === 0) return end;
  }
  return text.length;
}

/** How deep a text is nested, and how many members its objects have as they are written. */
export function jsonShape(text: string): { readonly depth: number; readonly members: number } {
  let [open, depth, members] = [0, 0, 0];
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) at = endOfString(text, at);
    else if (code === COLON) members++;
    else if (OPENS.has(code)) depth = Math.max(depth, ++open);
    else if (CLOSES.has(code)) open--;
  }
  return { depth, members };
}

/**
 * The value of a JSON text. Throws `SyntaxError` where it is none, or nested deeper than
 * `JSON_DEPTH_MAX`. Of a member that is written twice the last is taken.
 */
export function readJson(text: string): unknown {
  const { depth } = jsonShape(text);
  if (depth > JSON_DEPTH_MAX) throw new SyntaxError(`JSON that is nested ${depth} deep`);
  return parseJson(text);
}

/** The same of whatever stands in a field; undefined where that is no JSON text. */
export function jsonIn(text: unknown): unknown {
  if (typeof text !== 'string') return undefined;
  try {
    return readJson(text);
  } catch {
    return undefined;
  }
}
