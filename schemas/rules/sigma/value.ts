/**
 * The values of a detection on their way through the modifiers. A modifier takes a value and gives
 * one; what it can't take is refused with the place of the value.
 */
import { type Place, quoted, refuse } from '../faults.ts';
import type { RegexFlags } from '../regex.ts';
import { DASHES, joined, parsePattern, type Token } from './pattern.ts';

export type Comparison = 'lt' | 'lte' | 'gt' | 'gte';
export const TIME_PARTS = ['minute', 'hour', 'day', 'week', 'month', 'year'] as const;
export type TimePart = (typeof TIME_PARTS)[number];

/** Where a referenced field's value has to be in this one. */
export type Relation = 'equals' | 'startswith' | 'endswith' | 'contains';

export type Value = { readonly place: Place } & (
  | {
      readonly type: 'text';
      /** As it stands in the rule. */
      readonly source: string;
      /** One of these has to match: base64offset makes three of one. */
      readonly alternatives: readonly (readonly Token[])[];
      readonly cased: boolean;
    }
  | { readonly type: 'regex'; readonly source: string; readonly flags: RegexFlags }
  | { readonly type: 'number'; readonly number: number; readonly source: string }
  | { readonly type: 'compare'; readonly how: Comparison; readonly number: number }
  | {
      readonly type: 'time';
      readonly part: TimePart;
      readonly how: Comparison | 'equals';
      readonly number: number;
    }
  | { readonly type: 'flag'; readonly flag: boolean }
  | { readonly type: 'exists'; readonly exists: boolean }
  | { readonly type: 'cidr'; readonly network: string }
  | { readonly type: 'field'; readonly field: string; readonly relation: Relation }
  | { readonly type: 'null' }
);

/** The most alternatives that one value may become: `windash` and placeholders multiply. */
export const ALTERNATIVES_MAX = 1000;

export const textValue = (source: string, place: Place): Value => ({
  type: 'text',
  place,
  source,
  alternatives: [parsePattern(source)],
  cased: false,
});

/** Encodes UTF-16; an ASCII text then still has a form as text, with NULs between its letters. */
function utf16(token: Token, bigEndian: boolean, place: Place): Token {
  if (token.type !== 'text') return token;
  const little = Buffer.from(token.text, 'utf16le');
  const bytes = bigEndian ? Buffer.from(little).swap16() : little;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the range is what ASCII is.
  if (!/^[\u0000-\u007f]*$/.test(token.text))
    return refuse('value', place, `${quoted(token.text)} is not ASCII: it has no UTF-16 form`);
  return { type: 'text', text: bytes.toString('latin1'), bytes };
}

const BOM: Token = { type: 'text', text: '\ufeff', bytes: Buffer.from([0xff, 0xfe]) };

/** The tokens as UTF-16 in the byte order of `modifier`; `utf16` puts a byte order mark before. */
export function encodeWide(
  tokens: readonly Token[],
  modifier: 'wide' | 'utf16le' | 'utf16be' | 'utf16',
  place: Place,
): readonly Token[] {
  const wide = tokens.map((token) => utf16(token, modifier === 'utf16be', place));
  return modifier === 'utf16' ? [BOM, ...wide] : wide;
}

/** Every choice of a sign for each dash token, up to the bound. */
function spelled(tokens: readonly Token[], place: Place): readonly (readonly Token[])[] {
  const dashes = tokens.filter(({ type }) => type === 'dash').length;
  if (DASHES.length ** dashes > ALTERNATIVES_MAX)
    refuse('limit', place, `has ${dashes} dashes to be permuted before it is encoded`);
  return tokens.reduce<readonly (readonly Token[])[]>(
    (all, token) =>
      token.type === 'dash'
        ? all.flatMap((one) => DASHES.map((text) => [...one, { type: 'text', text } as Token]))
        : all.map((one) => [...one, token]),
    [[]],
  );
}

function bytesOf(tokens: readonly Token[], place: Place): Buffer {
  return Buffer.concat(
    tokens.map((token) =>
      token.type === 'text'
        ? (token.bytes ?? Buffer.from(token.text, 'utf8'))
        : refuse('value', place, 'a value with wildcards can’t be encoded in Base64'),
    ),
  );
}

/** Which characters of the three encodings depend on what stands around the value. */
const CUT_FRONT = [0, 2, 3] as const;
const CUT_BACK = [0, -3, -2] as const;

/** Base64 of the value; with offsets, what is the same of it wherever it stands in a longer text. */
export function encodeBase64(
  tokens: readonly Token[],
  offsets: boolean,
  place: Place,
): readonly (readonly Token[])[] {
  return spelled(tokens, place).flatMap((one) => {
    const bytes = bytesOf(one, place);
    const shifts = offsets ? ([0, 1, 2] as const) : ([0] as const);
    return shifts.map((shift): readonly Token[] => {
      const text = Buffer.concat([Buffer.alloc(shift, ' '), bytes]).toString('base64');
      if (!offsets) return [{ type: 'text', text }];
      const back = CUT_BACK[((bytes.length + shift) % 3) as 0 | 1 | 2];
      return [{ type: 'text', text: text.slice(CUT_FRONT[shift], back === 0 ? undefined : back) }];
    });
  });
}

/**
 * A dash or slash before a word and not behind one begins a flag: there any of the five signs may
 * stand. A dash within a word (`--dry-run`) is left as it is, as the reference implementation does.
 */
export function permuteDashes(tokens: readonly Token[]): readonly Token[] {
  return joined(
    tokens.flatMap((token): readonly Token[] => {
      if (token.type !== 'text') return [token];
      const out: Token[] = [];
      let from = 0;
      for (const found of token.text.matchAll(/(?<!\w)[-/\u2013-\u2015](?=\w)/g)) {
        out.push({ type: 'text', text: token.text.slice(from, found.index) }, { type: 'dash' });
        from = found.index + 1;
      }
      out.push({ type: 'text', text: token.text.slice(from) });
      return out.filter((part) => part.type !== 'text' || part.text !== '');
    }),
  );
}

/** What placeholders stand for: a name without its percent signs, and values with wildcards. */
export type Placeholders = ReadonlyMap<string, readonly string[]>;

/** Puts the values of `%name%` in; `\%` is a percent sign. A name without values is refused. */
export function expandPlaceholders(
  tokens: readonly Token[],
  known: Placeholders,
  place: Place,
): readonly (readonly Token[])[] {
  let all: readonly (readonly Token[])[] = [[]];
  const append = (choices: readonly (readonly Token[])[]) => {
    if (all.length * choices.length > ALTERNATIVES_MAX)
      refuse('limit', place, `its placeholders make more than ${ALTERNATIVES_MAX} values`);
    all = all.flatMap((one) => choices.map((choice) => [...one, ...choice]));
  };
  for (const token of tokens) {
    if (token.type !== 'text') append([[token]]);
    else
      for (const [part, name] of token.text.matchAll(/\\%|%([^%\\]+)%|[^%\\]+|[%\\]/g)) {
        if (name === undefined) append([[{ type: 'text', text: part === '\\%' ? '%' : part }]]);
        else {
          const values = known.get(name);
          if (values === undefined)
            refuse('placeholder', place, `nothing is known to stand for the placeholder ${part}`);
          append((values as readonly string[]).map(parsePattern));
        }
      }
  }
  return all.map(joined);
}
