/**
 * The fast scanner against the slow reference: whatever the bytes are, both accept them or neither
 * does. Inputs are valid events, valid events with one thing changed, and lines that lie close to
 * the border on purpose.
 */
import { isUtf8 } from 'node:buffer';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ALL_FIELDS, canonical, createScan, decode, SCANNED_FIELDS, scanLine } from '#schemas';
import { anyEvent, hostileText, sampleEvents } from './arbitraries.ts';

const RUNS = { numRuns: 3000 };
const scan = createScan();

/** Scans `line` in the middle of other bytes, as it stands in a frame. */
function scans(line: Buffer): boolean {
  const before = Buffer.from('{"agent":"');
  const bytes = Buffer.concat([before, line, Buffer.from('\n{"kind":"exit"}\n')]);
  return isUtf8(bytes) && scanLine(bytes, before.length, before.length + line.length, scan);
}

function reference(line: Buffer): boolean {
  return isUtf8(line) && !line.includes(0x0a) && decode(line.toString('utf8')).ok;
}

const agree = (line: Buffer) =>
  expect([line.toString(), scans(line)]).toEqual([line.toString(), reference(line)]);
const lineOf = fc
  .oneof(anyEvent, fc.constantFrom(...sampleEvents()))
  .map((event) => Buffer.from(canonical(event)));

describe('the scanner', () => {
  it('accepts each sample of each kind', () => {
    for (const event of sampleEvents()) {
      const line = Buffer.from(canonical(event));
      expect([event.kind, reference(line), scans(line)]).toEqual([event.kind, true, true]);
    }
  });

  it('accepts any valid event, and tells where its values are', () => {
    fc.assert(
      fc.property(anyEvent, (event) => {
        const line = Buffer.from(`${canonical(event)}\n`);
        expect(scanLine(line, 0, line.length - 1, scan)).toBe(true);
        const found: Record<string, string> = {};
        for (let i = 0; i < scan.count; i++) {
          const name = SCANNED_FIELDS[scan.fields[i] as number] as string;
          const text = line.toString('utf8', scan.starts[i], scan.ends[i]);
          const plain = ['uint', 'int', 'flag', 'list', 'map'].includes(
            ALL_FIELDS[name]?.shape ?? '',
          );
          found[name] = plain ? text : `"${text}"`;
          if (!plain) expect(scan.sizes[i]).toBe(Buffer.byteLength(JSON.parse(`"${text}"`)));
        }
        // As text: Node 24 parses some keys with backslashes as others (see README, Limits).
        const whole = Object.keys(found)
          .sort()
          .map((name) => `"${name}":${found[name]}`);
        expect(`{${whole.join(',')}}\n`).toBe(line.toString());
      }),
      RUNS,
    );
  });

  it('agrees with the reference when one byte is changed, put in or left out', () => {
    const byte = fc.oneof(
      fc.constantFrom(...Buffer.from('{}[]":,\\/ntu0019-+.eE aAfFzZ\n\r\t\u0000\u007f')),
      fc.integer({ min: 0, max: 255 }),
    );
    fc.assert(
      fc.property(
        lineOf,
        fc.nat(),
        byte,
        fc.constantFrom(0, 1, 2),
        (line, place, value, removed) => {
          const at = place % (line.length + 1);
          const kept = [line.subarray(0, at), Buffer.of(value), line.subarray(at + removed)];
          agree(Buffer.concat(kept));
          agree(Buffer.concat([line.subarray(0, at), line.subarray(at + removed)]));
        },
      ),
      RUNS,
    );
  });

  it('agrees when a piece is doubled, moved or cut off', () => {
    fc.assert(
      fc.property(lineOf, fc.nat(), fc.nat(), fc.nat(), (line, a, b, c) => {
        const [from = 0, to = 0, at = 0] = [a, b, c].map((n) => n % (line.length + 1));
        const [start, end] = from < to ? [from, to] : [to, from];
        const piece = line.subarray(start, end);
        const rest = Buffer.concat([line.subarray(0, start), line.subarray(end)]);
        agree(Buffer.concat([line.subarray(0, at), piece, line.subarray(at)]));
        agree(Buffer.concat([rest.subarray(0, at), piece, rest.subarray(at)]));
        agree(line.subarray(0, at));
        agree(rest);
      }),
      RUNS,
    );
  });
});

/** Values near the border of what some field allows, as JSON texts. */
const border: fc.Arbitrary<string> = fc.oneof(
  fc.constantFrom(
    ...['""', '[]', '{}', '[""]', '{"":""}', 'null', 'true', 'false', '[[]]', '{"a":1}', '[1]'],
    ...[
      '0',
      '-0',
      '00',
      '01',
      '-1',
      '1.0',
      '1e3',
      '1E3',
      '+1',
      '-',
      '0x10',
      'NaN',
      '.5',
      '1.',
      '256',
    ],
    ...['4294967295', '4294967296', '9007199254740991', '9007199254740992', '9007199254740993'],
    ...['-9007199254740991', '-9007199254740992', '10000000000000000', '99999999999999999999'],
    ...['"\\u0041"', '"\\u000a"', '"\\u001B"', '"\\u001b"', '"\\/"', '"\\u007f"', '"\u007f"'],
    ...[
      '"\\ud83d"',
      '"\\ud83d\\ude00"',
      '"\\ude00\\ud83d"',
      '"\ufeff"',
      '"\u2028"',
      '"\\v"',
      '"\\0"',
    ],
    ...[
      '"\\"',
      '"a',
      '"\t"',
      '["a","b"]',
      '["a",]',
      '[,"a"]',
      '["a" ,"b"]',
      '["a"',
      '{"a":"b"',
      '{"a"}',
    ],
    ...[
      '{"b":"","a":""}',
      '{"a":"","a":""}',
      '{"\u{10000}":"","\uffff":""}',
      '{"\uffff":"","\u{10000}":""}',
    ],
    ...[
      '{"\\n":"","\\t":""}',
      '{"\\t":"","\\n":""}',
      '{"\\"":"","!":""}',
      '{"!":"","\\"":""}',
      '{"__proto__":"x"}',
    ],
    ...[
      '{"a":"","aa":""}',
      '{"aa":"","a":""}',
      '{"\\u001f":""," ":""}',
      '{" ":"","\\u001f":""}',
      '{"10":"","9":""}',
    ],
    ...[
      '"exec"',
      '"gap"',
      '"no.such"',
      '"approved"',
      '"denied "',
      '"observed"',
      '"success"',
      '"Success"',
    ],
    ...[
      '"0000000000000000000"',
      '"1000000000000000000"',
      '"8999999999999999999"',
      '"9000000000000000000"',
    ],
    ...[
      '"0193a5e0-0000-7000-8000-000000000001"',
      '"0193A5E0-0000-7000-8000-000000000001"',
      '"0193a5e0"',
    ],
    ...[
      '"0193a5e00000-7000-8000-0000-00000001"',
      `"${'a'.repeat(16)}"`,
      `"${'a'.repeat(32)}"`,
      `"${'A'.repeat(32)}"`,
    ],
    ...[
      `"${'a'.repeat(64)}"`,
      `"${'a'.repeat(63)}g"`,
      `"${'a'.repeat(256)}"`,
      `"${'a'.repeat(257)}"`,
    ],
    ...[
      `"${'é'.repeat(128)}"`,
      `"${'é'.repeat(128)}a"`,
      `"${'\\n'.repeat(256)}"`,
      `"${'\\n'.repeat(257)}"`,
    ],
  ),
  hostileText.map((text) => JSON.stringify(text)),
  fc.dictionary(hostileText, hostileText, { maxKeys: 4 }).map((map) => JSON.stringify(map)),
  fc.array(hostileText, { maxLength: 4 }).map((list) => JSON.stringify(list)),
  fc.maxSafeInteger().map(String),
);
const names = fc.oneof(
  fc.constantFrom(...SCANNED_FIELDS),
  fc.constantFrom('', 'a', 'zzz', 'ts ', 'Ts', '__proto__', 'constructor', '\u00e9'),
);

/** A line with its fields as JSON texts, sorted unless `order` says otherwise. */
function lineFrom(fields: ReadonlyMap<string, string>, sorted = true): Buffer {
  const keys = sorted ? [...fields.keys()].sort() : [...fields.keys()];
  return Buffer.from(
    `{${keys.map((key) => `${JSON.stringify(key)}:${fields.get(key)}`).join(',')}}`,
  );
}

const textsOf = (line: Buffer): Map<string, string> => {
  const event = JSON.parse(line.toString()) as Record<string, unknown>;
  const sortedMap = (_: string, value: unknown) =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value;
  return new Map(Object.keys(event).map((key) => [key, JSON.stringify(event[key], sortedMap)]));
};

describe('at the border', () => {
  it('agrees when a field has another value, is added or is taken away', () => {
    fc.assert(
      fc.property(lineOf, names, border, fc.boolean(), (line, name, value, remove) => {
        const fields = textsOf(line);
        if (remove) fields.delete(name);
        else fields.set(name, value);
        agree(lineFrom(fields));
      }),
      { numRuns: 10_000 },
    );
  });

  it('agrees on each border value in each field', () => {
    const some = sampleEvents().map((event) => textsOf(Buffer.from(canonical(event))));
    const values = fc.sample(border, { numRuns: 100, seed: 7 });
    for (const fields of some.slice(0, 5))
      for (const name of SCANNED_FIELDS)
        for (const value of values) agree(lineFrom(new Map([...fields, [name, value]])));
  });

  it('agrees when fields stand in another order, twice, or with blanks', () => {
    fc.assert(
      fc.property(
        lineOf,
        fc.nat(),
        fc.constantFrom(' ', '\t', '\ufeff', '\r', ','),
        (line, n, blank) => {
          const fields = [...textsOf(line)];
          const at = n % fields.length;
          agree(lineFrom(new Map([...fields.slice(at), ...fields.slice(0, at)]), false));
          const [key, value] = fields[at] as [string, string];
          const text = line.toString();
          const twice = `${JSON.stringify(key)}:${value},`;
          agree(Buffer.from(text.replace(twice, () => twice + twice)));
          for (const place of [0, 1, text.length - 1, text.length])
            agree(Buffer.from(text.slice(0, place) + blank + text.slice(place)));
          agree(Buffer.from(text.replace(twice, () => `${JSON.stringify(key)}:${blank}${value},`)));
        },
      ),
      RUNS,
    );
  });

  it('agrees where a list, a map or a text is just as large as allowed, and one larger', () => {
    const [first] = sampleEvents().filter((event) => event.kind === 'exec');
    const { content_salt: _, ...bare } = { content_salt: '', ...first } as Record<string, unknown>;
    for (const more of [0, 1]) {
      const lists = [Array(16_384 + more).fill(''), ['a'.repeat(2 * 1024 * 1024 + more)]];
      for (const argv of lists) agree(Buffer.from(canonical({ ...first, argv } as never)));
      const attrs = { a: 'x'.repeat(256 * 1024 - 1 + more) };
      agree(Buffer.from(canonical({ ...first, attrs } as never)));
      agree(Buffer.from(canonical({ ...bare, exe: '\n'.repeat(8192 + more) } as never)));
    }
  });
});
