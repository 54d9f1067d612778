/** The digest covers every field, hides content behind its salt, and survives erasing. */
import { createHash, createHmac } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  canonical,
  commitmentOf,
  digestOf,
  type Field,
  formsOf,
  hasContent,
  kindSpec,
  REGISTRY,
  type TelltaleEvent,
  validate,
  validateStored,
} from '#schemas';
import {
  anyEvent,
  envelope,
  eventOf,
  fieldValue,
  SALT,
  salted,
  sampleEvents,
} from './arbitraries.ts';

/** Of the first sample; whoever changes it changes the format. */
const KNOWN_DIGEST = 'cfdae81779127126848b51e2fcb708908b153b0d0ef430e3a1b56c3fcea0e085';

type Loose = Record<string, unknown>;
const loose = (event: TelltaleEvent): Loose => event as unknown as Loose;
const as = (value: object): TelltaleEvent => value as unknown as TelltaleEvent;

/** Canonical JSON by RFC 8785 for what events hold, written apart from the code under test. */
function json(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(json).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${json(item)}`).join(',')}}`;
}

/** The digest by the words of the specification. */
function specified(event: TelltaleEvent): string {
  const {
    content_salt: salt,
    erased,
    ...rest
  } = loose(event) as { content_salt?: string; erased?: object };
  const { content } = kindSpec(event.kind);
  const form = Object.fromEntries(
    Object.entries(rest).map(([name, value]) => [
      name,
      content.includes(name)
        ? createHmac('sha256', Buffer.from(salt ?? '', 'hex'))
            .update(`${name}\0${json(value)}`)
            .digest('hex')
        : value,
    ]),
  );
  return createHash('sha256')
    .update(json({ ...form, ...erased }))
    .digest('hex');
}

/** An event some of whose content was erased. */
function withoutContent(event: TelltaleEvent, names: readonly string[]): TelltaleEvent {
  const spec = kindSpec(event.kind);
  const { content_salt: salt, ...rest } = loose(event);
  const erased: Record<string, string> = {};
  for (const name of names) {
    erased[name] = commitmentOf(String(salt), name, spec.fields[name] as Field, rest[name]);
    if (!spec.required.has(name)) delete rest[name];
    else rest[name] = Array.isArray(rest[name]) ? [] : '';
  }
  const left = spec.content.some((name) => rest[name] !== undefined && !(name in erased));
  return as({ ...rest, erased, ...(left ? { content_salt: salt } : {}) });
}

const contentIn = (event: TelltaleEvent): string[] =>
  kindSpec(event.kind).content.filter((name) => loose(event)[name] !== undefined);
const holder = anyEvent.filter((event) => contentIn(event).length > 0);
const partly = holder.chain((event) =>
  fc.tuple(fc.constant(event), fc.subarray(contentIn(event), { minLength: 1 })),
);

describe('the digest of an event', () => {
  it('is what the specification says, for each sample and arbitrary events', () => {
    for (const event of sampleEvents()) expect(digestOf(event)).toBe(specified(event));
    fc.assert(
      fc.property(anyEvent, (event) => {
        expect(digestOf(event)).toBe(specified(event));
        expect(formsOf(event).line).toBe(canonical(event));
      }),
      { numRuns: 400 },
    );
  });

  it('is what it was when the format was fixed', () => {
    const [open] = sampleEvents();
    expect(digestOf(as({ ...open, schema_version: '2' }))).toBe(KNOWN_DIGEST);
  });

  it('is right for content of any length, in one call or many', () => {
    for (const length of [0, 1, 55, 56, 63, 64, 65, 21_823, 21_824, 65_535, 65_536, 1_000_000])
      for (const text of ['a'.repeat(length), '漢'.repeat(length)]) {
        const event = as(salted({ ...envelope(0, 'tool.result'), output: `${text}x` }));
        expect(digestOf(event)).toBe(specified(event));
      }
  });

  it.each([...REGISTRY.keys()])('of %s changes with each of its fields', (kind) => {
    const spec = kindSpec(kind as never);
    const names = Object.keys(spec.fields).filter(
      (name) => !['kind', 'content_salt', 'erased'].includes(name),
    );
    const change = fc
      .tuple(eventOf(spec), fc.constantFrom(...names))
      .chain(([event, name]) =>
        fc.tuple(
          fc.constant(event),
          fc.constant(name),
          fieldValue(spec.fields[name] as Field, spec.required.has(name)),
        ),
      );
    fc.assert(
      fc.property(change, ([event, name, value]) => {
        fc.pre(json(value) !== json(loose(event)[name] ?? null));
        const salt = event.content_salt ?? SALT;
        const changed = as({ ...event, [name]: value });
        const whole = hasContent(spec, loose(changed))
          ? { ...changed, content_salt: salt }
          : changed;
        expect(digestOf(as(whole))).not.toBe(digestOf(event));
        if (spec.required.has(name)) return;
        const { [name]: had, ...without } = loose(event);
        if (had !== undefined) expect(digestOf(as(without))).not.toBe(digestOf(event));
      }),
      { numRuns: 150 },
    );
  });

  it('changes with the salt, and nothing of the content can be told from the form without it', () => {
    fc.assert(
      fc.property(holder, fc.constantFrom('0', 'f'), (event, digit) => {
        const content_salt = `${digit}${event.content_salt?.slice(1)}`;
        fc.pre(content_salt !== event.content_salt);
        expect(digestOf(as({ ...event, content_salt }))).not.toBe(digestOf(event));
      }),
    );
    const secret = as(salted({ ...envelope(0, 'prompt'), prompt: 'the secret' }));
    expect(formsOf(secret).committed).not.toContain('secret');
    expect(formsOf(secret).committed).not.toContain(SALT);
  });
});

describe('erasing', () => {
  it('of any content leaves the digest as it was', () => {
    fc.assert(
      fc.property(partly, ([event, names]) => {
        const erased = withoutContent(event, names);
        expect(validateStored(erased)).toMatchObject({ ok: true });
        expect(digestOf(erased)).toBe(digestOf(event));
        const [first] = names as [string];
        const other = { ...erased.erased, [first]: SALT.repeat(2) };
        expect(digestOf(as({ ...erased, erased: other }))).not.toBe(digestOf(event));
        // A required list that was empty before stands there still: then nothing is gone.
        if (json(loose(event)[first]) === json(loose(erased)[first] ?? null)) return;
        const { [first]: _gone, ...fewer } = erased.erased as Record<string, string>;
        expect(digestOf(as({ ...erased, erased: fewer }))).not.toBe(digestOf(event));
      }),
      { numRuns: 300 },
    );
  });

  it('can’t move a commitment to another field', () => {
    const event = as(salted({ ...envelope(0, 'tool.call'), command: 'x', arguments: 'x' }));
    const { erased = {} } = withoutContent(event, ['command', 'arguments']);
    expect(erased.command).not.toBe(erased.arguments);
  });

  it('stands in no event of a collector', () => {
    fc.assert(
      fc.property(partly, ([event, names]) => {
        const faults = [{ where: 'erased', what: expect.any(String) }];
        expect(validate(withoutContent(event, names))).toMatchObject({ ok: false, faults });
      }),
    );
  });
});

describe('salt and commitments that are not in order', () => {
  const commitment = SALT.repeat(2);
  const made = (kind: string, more: object) => ({ ...envelope(0, kind), ...more });
  it.each([
    ['content without a salt', made('prompt', { prompt: 'x' }), 'content_salt'],
    [
      'a required empty list without a salt',
      made('session.open', { schema_version: '2', command_args: [] }),
      'content_salt',
    ],
    ['a salt without content', made('exit', { content_salt: SALT }), 'content_salt'],
    [
      'a salt whose content was erased',
      made('prompt', { content_salt: SALT, erased: { prompt: commitment } }),
      'content_salt',
    ],
    [
      'a salt that is too short',
      made('prompt', { prompt: 'x', content_salt: 'ab' }),
      'content_salt',
    ],
    [
      'a salt in upper case',
      made('prompt', { prompt: 'x', content_salt: SALT.toUpperCase() }),
      'content_salt',
    ],
    [
      'a value that is erased',
      made('prompt', { prompt: 'x', content_salt: SALT, erased: { prompt: commitment } }),
      'erased.prompt',
    ],
    [
      'an erased field that is no content',
      made('exit', { erased: { exit_code: commitment } }),
      'erased.exit_code',
    ],
    [
      'an erased field of another kind',
      made('exit', { erased: { prompt: commitment } }),
      'erased.prompt',
    ],
    [
      'an erased field of every object',
      made('exit', { erased: { constructor: commitment } }),
      'erased.constructor',
    ],
    ['a commitment that is none', made('prompt', { erased: { prompt: 'x' } }), 'erased.prompt'],
  ])('%s is refused', (_what, event, where) => {
    expect(validateStored(event)).toMatchObject({ ok: false, faults: [{ where }] });
    expect(validate(event).ok).toBe(false);
  });

  it('a kind that is not known has no digest', () => {
    expect(() => digestOf(as({ kind: 'quantum.leap' }))).toThrow('no such kind');
  });
});
