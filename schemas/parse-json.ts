/**
 * `JSON.parse` that is right about keys. V8 of Node 22 to 26 may take an object's key that has an
 * escape for another key that it met before (nodejs/node#63785): after `{"\\":0}` it reads `{"\n":0}`
 * as `{"\\":0}`. The names of attributes come from whoever is watched, so an event could be made to
 * look altered, or good rows be parked. Texts, values and keys without an escape are not concerned.
 */

const BACKSLASH = 0x5c;
const QUOTE = 0x22;
const COLON = 0x3a;
const SPACE = 0x20;
/** Half of a surrogate pair without the other: no text that was decoded from bytes has it. */
const MARK = '\ud800:';

/** A key with an escape, from its opening quote to behind its closing one. */
interface EscapedKey {
  readonly start: number;
  readonly end: number;
}

/** The next string at or behind `from` that has an escape and a colon behind it. */
function nextEscapedKey(text: string, from: number): EscapedKey | undefined {
  for (let at = text.indexOf('\\', from); at >= 0; at = text.indexOf('\\', at)) {
    // It is its string's first escape, so that the quote before it is the one that opens.
    const start = text.lastIndexOf('"', at);
    for (let code = BACKSLASH; code !== QUOTE && at < text.length; code = text.charCodeAt(at))
      at += code === BACKSLASH ? 2 : 1;
    let behind = ++at;
    while (behind < text.length && text.charCodeAt(behind) <= SPACE) behind++;
    if (text.charCodeAt(behind) === COLON) return { start, end: at };
  }
  return undefined;
}

/** Puts `keys` back in place of the marks that stand for them. */
function renamed(value: unknown, keys: readonly string[]): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((one) => renamed(one, keys));
  const out = {};
  for (const [name, member] of Object.entries(value)) {
    const key = name.startsWith(MARK) ? (keys[Number(name.slice(MARK.length))] as string) : name;
    const whole = { value: renamed(member, keys), enumerable: true };
    // Plain assignment would set the prototype where the key is `__proto__`.
    Object.defineProperty(out, key, { ...whole, writable: true, configurable: true });
  }
  return out;
}

/**
 * The value of a JSON text that was decoded from UTF-8. Throws `SyntaxError` as `JSON.parse` does, and
 * `RangeError` for one that has such a key and is nested thousands deep.
 */
export function parseJson(text: string): unknown {
  const value: unknown = JSON.parse(text);
  // From here on the text is known to be JSON: a backslash stands in a string only.
  let found = nextEscapedKey(text, 0);
  if (found === undefined) return value;
  const keys: string[] = [];
  const parts: string[] = [];
  let from = 0;
  for (; found !== undefined; found = nextEscapedKey(text, from)) {
    parts.push(text.slice(from, found.start), `"${MARK}${keys.length}"`);
    keys.push(JSON.parse(text.slice(found.start, found.end)));
    from = found.end;
  }
  parts.push(text.slice(from));
  return renamed(JSON.parse(parts.join('')), keys);
}
