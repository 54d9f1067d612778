/** Codec and validator over registry x samples and registry x arbitraries. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  canonical,
  decode,
  encode,
  eventId,
  FIELDS,
  parseEventId,
  REGISTRY,
  type TelltaleEvent,
  validate,
} from '#schemas';
import { KINDS } from '../../schemas/kinds/index.ts';
import { anyEvent, envelope, eventOf, hostileText, salted, sampleEvents } from './arbitraries.ts';

const kinds = [...REGISTRY.values()];
const samples = sampleEvents();
type Loose = Record<string, unknown>;

/** RFC 8785 by its own words (section 3.2), for the values that events have. */
function rfc8785(value: unknown): string {
  if (typeof value === 'number') {
    expect(Number.isSafeInteger(value)).toBe(true);
    return String(value);
  }
  if (typeof value === 'boolean') return String(value);
  if (typeof value === 'string') return rfc8785String(value);
  if (Array.isArray(value)) return `[${value.map(rfc8785).join(',')}]`;
  const entries = Object.entries(value as Loose).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, item]) => `${rfc8785String(key)}:${rfc8785(item)}`).join(',')}}`;
}

const SHORT: Loose = {
  '\b': '\\b',
  '\t': '\\t',
  '\n': '\\n',
  '\f': '\\f',
  '\r': '\\r',
  '"': '\\"',
  '\\': '\\\\',
};

/** Section 3.2.2.2: controls as two-character escapes or \u00xx in lower case, all else as it is. */
function rfc8785String(text: string): string {
  const out = [...text].map((character) => {
    const code = character.codePointAt(0) as number;
    if (SHORT[character] !== undefined) return SHORT[character];
    return code < 0x20 ? `\\u${code.toString(16).padStart(4, '0')}` : character;
  });
  return `"${out.join('')}"`;
}

describe.each(kinds.map((spec) => [spec.kind, spec] as const))('%s', (_kind, spec) => {
  it('has samples, and they are valid', () => {
    expect(spec.samples.length).toBeGreaterThan(0);
    for (const sample of spec.samples)
      expect(validate(salted({ ...envelope(0, spec.kind), ...sample }))).toMatchObject({
        ok: true,
      });
  });

  it('has samples that show each required field, and a summary of each', () => {
    for (const sample of spec.samples) {
      for (const name of spec.required)
        expect(name in sample || name in envelope(0, spec.kind), name).toBe(true);
      const line = spec.summary({ ...envelope(0, spec.kind), ...sample });
      expect(line).not.toMatch(/undefined|null|NaN|\[object/);
    }
  });

  it('is read back from its bytes as it was, whatever it holds', () => {
    fc.assert(
      fc.property(eventOf(spec), (event) => {
        expect(validate(event)).toMatchObject({ ok: true });
        const line = canonical(event);
        expect(line).toBe(rfc8785(event));
        expect(encode(event).toString('utf8')).toBe(line);
        const decoded = decode(line);
        expect(decoded).toEqual({ ok: true, event });
        expect(typeof spec.summary(event as unknown as Loose)).toBe('string');
      }),
      { numRuns: 60 },
    );
  });

  it('refuses a field that it does not have, a missing one, and a wrong type, by name', () => {
    const event = { ...envelope(0, spec.kind), ...spec.samples[0] };
    for (const name of ['surplus', '__proto__', 'valueOf', 'version']) {
      const surplus = Object.fromEntries([...Object.entries(event), [name, 'x']]);
      expectFault(surplus, 'invalid', name);
    }
    for (const name of spec.required) {
      const { [name]: _gone, ...rest } = event as Loose;
      if (name === 'kind') expectFault(rest, 'unknown_kind', 'kind');
      else expectFault(rest, 'invalid', name);
    }
    for (const [name, field] of Object.entries(spec.fields)) {
      if (name === 'kind') continue;
      const wrong = WRONG[field.shape as keyof typeof WRONG] ?? [1, null, ['a'], true];
      for (const value of wrong) expectFault({ ...event, [name]: value }, 'invalid', name);
      if (field.values !== undefined)
        expectFault({ ...event, [name]: 'no such word' }, 'invalid', name);
    }
  });

  it('refuses what is empty, too long or broken Unicode, by name', () => {
    const event = { ...envelope(0, spec.kind), ...spec.samples[0] };
    for (const [name, field] of Object.entries(spec.fields)) {
      if (name === 'kind' || field.values !== undefined) continue;
      const { empty, lone, long } = badValues(field.shape, field.bytesMax ?? 0);
      if (empty !== undefined && !spec.required.has(name))
        expectFault({ ...event, [name]: empty }, 'invalid', name);
      for (const value of lone) expectFault({ ...event, [name]: value }, 'not_well_formed', name);
      if (long !== undefined) expectFault({ ...event, [name]: long }, 'invalid', name);
    }
  });
});

const WRONG = {
  uint: ['5', -1, 1.5, 2 ** 53, null, true, Number.NaN],
  int: ['5', 1.5, 2 ** 53, null, true],
  flag: ['true', 1, null],
  list: ['a', [1], [null], { 0: 'a' }, null],
  map: ['a', ['a'], { a: 1 }, { 'a\nb': 1 }, { '': null }, null],
  uuid: ['0193A5E0-0000-7000-8000-000000000001', 'x', '', null],
  time: ['0', '', '01764000000000000000', 1_764_000_000, '9999999999999999999', null],
  hex: ['', 'A', 'g', 'ABCD'.repeat(32), null],
};

function badValues(shape: string, bytesMax: number) {
  const long = 'é'.repeat(Math.floor(bytesMax / 2) + 1);
  switch (shape) {
    case 'text':
    case 'keyword':
      return { empty: '', lone: ['a\ud800', '\udc00b'], long };
    case 'list':
      return { empty: [], lone: [['ok', 'a\ud800b']], long: [long] };
    case 'map':
      return { empty: {}, lone: [{ a: '\ud800' }, { '\udfff': 'a' }], long: { a: long } };
    default:
      return { empty: undefined, lone: [], long: undefined };
  }
}

function expectFault(value: Loose, reason: string, name: string): void {
  const decoded = validate(value);
  expect(decoded.ok, `${name}: ${JSON.stringify(value)?.slice(0, 200)}`).toBe(false);
  if (decoded.ok) return;
  expect(decoded.reason).toBe(reason);
  const said = decoded.faults.map((fault) => `${fault.where} ${fault.what}`).join('; ');
  expect(said).toContain(name);
}

describe('decode', () => {
  const one = samples[0] as TelltaleEvent;
  const line = canonical(one);

  it.each([
    ['nothing', '', 'not_json'],
    ['text', 'hello', 'not_json'],
    ['half an event', line.slice(0, -5), 'not_json'],
    ['a number', '5', 'invalid'],
    ['a list', '[]', 'invalid'],
    ['null', 'null', 'invalid'],
    ['no kind', '{}', 'unknown_kind'],
    ['an unknown kind', '{"kind":"quantum.leap"}', 'unknown_kind'],
    ['a kind that is a property of every object', '{"kind":"__proto__"}', 'unknown_kind'],
    ['a kind that is no string', '{"kind":5}', 'unknown_kind'],
  ])('refuses %s', (_what, text, reason) => {
    expect(decode(text)).toMatchObject({ ok: false, reason });
  });

  it('refuses an unknown kind without repeating all of it', () => {
    const decoded = decode(JSON.stringify({ kind: 'x'.repeat(100_000) }));
    expect(JSON.stringify(decoded).length).toBeLessThan(300);
  });

  it.each([
    ['a blank', line.replace(':', ': ')],
    ['a blank at the end', `${line} `],
    ['a byte order mark', `\ufeff${line}`],
    ['other order of keys', JSON.stringify(Object.fromEntries(Object.entries(one).reverse()))],
    ['a key twice', line.replace('"seq":', '"seq":7,"seq":')],
    ['an escape that need not be', line.replace('"acme"', '"\\u0061cme"')],
    ['a number written otherwise', line.replace('"seq":0', '"seq":0.0')],
    ['an exponent', line.replace('"seq":0', '"seq":0e3')],
    ['minus zero', line.replace('"seq":0', '"seq":-0')],
  ])('refuses %s: the chain could not be recomputed', (_what, text) => {
    expect(text).not.toBe(line);
    const decoded = decode(text);
    expect(decoded.ok).toBe(false);
    if (!decoded.ok) expect(['not_canonical', 'not_json']).toContain(decoded.reason);
  });

  it('refuses a map key twice', () => {
    const event = salted({ ...envelope(0, 'exit'), attrs: { a: '1', b: '2' } });
    const text = canonical(event as unknown as TelltaleEvent).replace('"b":"2"', '"a":"2"');
    expect(decode(text)).toMatchObject({ ok: false, reason: 'not_canonical' });
  });

  it('never throws, and accepts only what it would write', () => {
    const near = fc
      .tuple(anyEvent, fc.nat(), hostileText, fc.nat(3))
      .map(([event, at, text, cut]) => {
        const whole = canonical(event);
        const place = at % whole.length;
        return whole.slice(0, place) + text + whole.slice(place + cut);
      });
    fc.assert(
      fc.property(fc.oneof(near, hostileText, fc.json()), (text) => {
        const decoded = decode(text);
        if (decoded.ok) expect(canonical(decoded.event)).toBe(text);
        else expect(decoded.faults.length).toBeGreaterThan(0);
      }),
      { numRuns: 600 },
    );
  });
});

describe('event ids', () => {
  it('are read back, and nothing else is', () => {
    fc.assert(
      fc.property(fc.uuid(), fc.integer({ min: 0, max: 4_294_967_295 }), (stream_id, seq) => {
        expect(parseEventId(eventId({ stream_id, seq }))).toEqual({ stream_id, seq });
      }),
    );
    for (const id of ['', 'x-1', `${samples[0]?.stream_id}-4294967296`, `${samples[0]?.stream_id}`])
      expect(parseEventId(id)).toBeUndefined();
  });
});

describe('the registry', () => {
  it('has no field that no kind uses, and no kind twice', () => {
    const used = new Set(kinds.flatMap((spec) => spec.own));
    expect(Object.keys(FIELDS).filter((name) => !used.has(name))).toEqual([]);
    expect(new Set(KINDS.map((kind) => kind.kind)).size).toBe(KINDS.length);
  });
});
