/**
 * Events made from the registry alone: the samples of each kind in a whole envelope, and
 * fast-check arbitraries that are valid by construction and as hostile as validity allows.
 */
import fc from 'fast-check';
import { type Field, hasContent, type KindSpec, REGISTRY, type TelltaleEvent } from '#schemas';

export const SESSION = '0193a5e0-0000-7000-8000-000000000001';
export const STREAM = '0193a5e0-0000-7000-8000-0000000000aa';
/** A salt like any other. */
export const SALT = '00112233445566778899aabbccddeeff';
/** Fields whose presence follows from the others. */
const OF_CONTENT = new Set(['content_salt', 'erased']);
const START_NS = 1_764_000_000_000_000_000n;
const DAY_NS = 86_400_000_000_000n;

/** The envelope that samples stand in. */
export function envelope(seq: number, kind: string): Record<string, unknown> {
  return {
    tenant: 'acme',
    session_id: SESSION,
    stream_id: STREAM,
    seq,
    kind,
    ts: String(START_NS + BigInt(seq) * 1_000_000n),
    observed_ts: String(START_NS + BigInt(seq) * 1_000_000n + 17n),
    source: 'test',
    assurance: 'observed',
  };
}

/** An event with the salt that its content needs, and none where it has no content. */
export function salted<T extends object>(event: T): T {
  const { content_salt: _none, ...rest } = event as { content_salt?: string; kind?: string };
  const spec = REGISTRY.get(String(rest.kind));
  const needed = spec !== undefined && hasContent(spec, rest);
  return (needed ? { ...rest, content_salt: SALT } : rest) as T;
}

/** Every sample of every kind as a whole event, numbered from 0 in one stream. */
export function sampleEvents(): TelltaleEvent[] {
  const all = [...REGISTRY.values()].flatMap((spec) =>
    spec.samples.map((sample) => ({ kind: spec.kind, sample })),
  );
  return all.map(({ kind, sample }, seq) =>
    salted({ ...envelope(seq, kind), ...sample }),
  ) as unknown as TelltaleEvent[];
}

/** Characters that break out of something: quotes, escapes, markup, controls, direction marks. */
const SPECIAL = [
  ...'\'"\\`\0\n\r\t\b\f\v{}[]<>&;%$|,:',
  ...['\u001b', '\u007f', '\u0085', '\u2028', '\u2029', '\u202e', '\ufeff', '\ufffd', '\uffff'],
  ...['é', 'e\u0301', 'Ω', '漢', '😀', '\u{10ffff}'],
];
const TRICKS = [
  "'; DROP TABLE telltale.events; --",
  '__proto__',
  'constructor',
  '\\N',
  'null',
  '\\u0000',
  '<script>alert(1)</script>',
  '$'.concat('{jndi:ldap://x}'),
  '\u001b]0;title\u0007\u001b[2J',
  '{"kind":"gap"}',
  '0',
  ' ',
];

/** Any well-formed string, mostly nasty ones; may be empty. */
export const hostileText: fc.Arbitrary<string> = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 30 }),
  fc.string({ unit: fc.constantFrom(...SPECIAL), maxLength: 12 }),
  fc.constantFrom(...TRICKS),
  fc.string({ unit: 'grapheme', maxLength: 20 }),
);

/** At most `bytesMax` bytes of UTF-8, never inside a code point. */
function cut(text: string, bytesMax: number): string {
  let out = '';
  let bytes = 0;
  for (const character of text) {
    bytes += Buffer.byteLength(character);
    if (bytes > bytesMax) break;
    out += character;
  }
  return out;
}

const HEX = [...'0123456789abcdef'];

/** Near the start in most cases, at the ends of what the wire allows in some. */
const time: fc.Arbitrary<string> = fc
  .oneof(
    { weight: 8, arbitrary: fc.bigInt({ min: START_NS - 5n * DAY_NS, max: START_NS + DAY_NS }) },
    { weight: 1, arbitrary: fc.constantFrom(10n ** 18n, 9n * 10n ** 18n - 1n) },
  )
  .map(String);

function integer(field: Field): fc.Arbitrary<number> {
  const { minimum, maximum } = field.schema as unknown as { minimum: number; maximum: number };
  const small = { min: Math.max(minimum, -300), max: 300 };
  const edges = fc.constantFrom(minimum, maximum, Math.max(minimum, 0), small.max);
  // Drawn within the range: a filter on all safe integers hits a 32-bit one once in two million.
  const any = fc.bigInt({ min: BigInt(minimum), max: BigInt(maximum) }).map(Number);
  return fc.oneof(fc.integer(small), any, edges);
}

/** Valid values of a field; not empty unless `emptyToo`. */
export function fieldValue(field: Field, emptyToo: boolean): fc.Arbitrary<unknown> {
  if (field.values !== undefined) return fc.constantFrom(...field.values);
  const bytesMax = field.bytesMax ?? 0;
  const min = emptyToo ? 0 : 1;
  switch (field.shape) {
    case 'uuid':
      return fc.uuid();
    case 'hex':
      return fc.string({
        unit: fc.constantFrom(...HEX),
        minLength: bytesMax,
        maxLength: bytesMax,
      });
    case 'time':
      return time;
    case 'uint':
    case 'int':
      return integer(field);
    case 'flag':
      return fc.boolean();
    case 'list':
      return fc.array(hostileText, { minLength: min, maxLength: 6 });
    case 'map':
      return fc
        .uniqueArray(fc.tuple(hostileText, hostileText), {
          selector: ([key]) => key,
          minLength: min,
          maxLength: 6,
        })
        .map((entries) => Object.fromEntries(entries));
    default:
      return hostileText
        .map((text) => cut(text, bytesMax))
        .filter((text) => emptyToo || text !== '');
  }
}

/** Valid events of one kind; every field is present in some and absent in others. */
export function eventOf(spec: KindSpec): fc.Arbitrary<TelltaleEvent> {
  const model = Object.entries(spec.fields).map(([name, field]) => [
    name,
    name === 'kind' ? fc.constant(spec.kind) : fieldValue(field, spec.required.has(name)),
  ]);
  const requiredKeys = [...spec.required] as never[];
  const fields = Object.fromEntries(model.filter(([name]) => !OF_CONTENT.has(String(name))));
  const event = fc.record(fields, { requiredKeys, noNullPrototype: true });
  const salts = fieldValue(spec.fields.content_salt as Field, false);
  return fc
    .tuple(event, salts)
    .map(([made, content_salt]) =>
      hasContent(spec, made) ? { ...made, content_salt } : made,
    ) as never;
}

/** Valid events of any kind. */
export const anyEvent: fc.Arbitrary<TelltaleEvent> = fc.oneof(
  ...[...REGISTRY.values()].map(eventOf),
);

/** Events as consecutive ones of one stream. */
export function inStream(events: readonly TelltaleEvent[], firstSeq = 0): TelltaleEvent[] {
  return events.map((event, index) => ({
    ...event,
    tenant: 'acme',
    session_id: SESSION,
    stream_id: STREAM,
    seq: firstSeq + index,
  }));
}

/** A few consecutive events of one stream. */
export const streamPart = (lengthMax: number): fc.Arbitrary<TelltaleEvent[]> =>
  fc.array(anyEvent, { minLength: 1, maxLength: lengthMax }).map((events) => inStream(events));
