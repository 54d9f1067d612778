import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { REGISTRY, type TelltaleEvent } from '#schemas';
import { escapeText, fitPath, fitText, safeJson, widthOf } from '../../../query/timeline/escape.ts';
import { printStory } from '../../../query/timeline/print.ts';
import { buildStory, type SessionData } from '../../../query/timeline/story.ts';
import { STREAM, sessionOf } from './events.ts';
import { realisticSession } from './realistic.ts';

const EVIL = [
  '\u001b[2J',
  '\u001b]0;title\u0007',
  '\u009b31m',
  '\r',
  '\n',
  '\t',
  '\u0000',
  '\u007f',
  '\u0085',
  '\u202e',
  '\u2066',
  '\u200b',
  '\u200d',
  '\u2060',
  '\ufeff',
  '\u00ad',
  '\u061c',
  '\u2028',
  '\u2029',
  '\u{e0041}',
  '\ufe0f',
  '\u{e0100}',
  '\u034f',
  '\u115f',
  '\u3164',
  '\u2800',
  '\u00a0',
  '\u3000',
  '\ud800',
  '\udc00',
  '\ue000',
  '\ufff9',
  'a\u0301\u0301\u0301\u0301\u0301',
  '\\',
  "'",
  '漢',
  '😀',
  'x',
];
/** Code points that a terminal may act upon or not show; apart from the code's own list. */
const RANGES: readonly (readonly [number, number])[] = [
  [0x00, 0x09],
  [0x0b, 0x1f],
  [0x7f, 0xa0],
  [0xad, 0xad],
  [0x34f, 0x34f],
  [0x61c, 0x61c],
  [0x115f, 0x1160],
  [0x180e, 0x180e],
  [0x2000, 0x200f],
  [0x2028, 0x202f],
  [0x205f, 0x206f],
  [0x2800, 0x2800],
  [0x3000, 0x3000],
  [0x3164, 0x3164],
  [0xd800, 0xdfff],
  [0xfe00, 0xfe0f],
  [0xfeff, 0xfeff],
  [0xffa0, 0xffa0],
  [0xfff9, 0xfffb],
  [0xe0000, 0xe0fff],
];
const hex = (n: number) => `\\u{${n.toString(16)}}`;
const BAD = new RegExp(`[${RANGES.map(([from, to]) => `${hex(from)}-${hex(to)}`).join('')}]`, 'u');
const evil = fc
  .array(fc.oneof(fc.constantFrom(...EVIL), fc.string({ unit: 'binary' })), {
    minLength: 1,
    maxLength: 8,
  })
  .map((parts) => parts.join(''));

/** Fields whose values the story compares or counts with; all others may hold anything. */
const TIED = new Set([
  'kind',
  'stream_id',
  'session_id',
  'tool_call_id',
  'ts',
  'observed_ts',
  'assurance',
  'file_op',
  'net_op',
]);

/** Every string of an event, also those of closed lists, replaced by a hostile one. */
function poison(event: TelltaleEvent, text: string): TelltaleEvent {
  const fields = Object.entries(event).map(([name, value]) => {
    if (TIED.has(name)) return [name, value];
    if (typeof value === 'string') return [name, text];
    return [name, Array.isArray(value) ? [text, ...value, text] : value];
  });
  const own = REGISTRY.get(event.kind)?.own ?? [];
  const more = [
    'reason',
    'error',
    'output',
    'text',
    'rule',
    'mcp_server',
    'url',
    'net_host',
    'decided_by',
  ]
    .filter((name) => own.includes(name))
    .map((name) => [name, text]);
  return Object.fromEntries([...fields, ...more]) as TelltaleEvent;
}

describe('what reaches the terminal', () => {
  it('is never a control, bidi or invisible character of telemetry, whatever any field holds', () => {
    const events = realisticSession();
    fc.assert(
      fc.property(evil, fc.boolean(), fc.integer({ min: 40, max: 140 }), (text, verbose, width) => {
        const more: Partial<SessionData> = {
          id: text,
          agent: text,
          host: text,
          user: text,
          deadLetters: [undefined, 3, 5].map((seq) => ({
            id: text,
            streamId: STREAM,
            ...(seq === undefined ? {} : { seq }),
            reason: text,
            field: text,
            detail: text,
          })),
          streams: [
            {
              streamId: text,
              integrity: {
                verdict: 'broken',
                events: 2,
                checkpoints: 1,
                covered: 1,
                sealed: false,
                erased: 0,
                unproved: [],
                faults: [{ seq: 1, kind: 'changed', what: text }],
                faultCount: 1,
              },
            },
            { streamId: 'b' },
          ],
        };
        const story = buildStory(
          sessionOf(
            events.map((event) => poison(event, text)),
            more,
          ),
        );
        expect(printStory(story, { width, color: false, verbose })).not.toMatch(BAD);
        const coloured = printStory(story, { width, color: true, verbose });
        // biome-ignore lint/suspicious/noControlCharactersInRegex: our own colours are taken out.
        expect(coloured.replace(/\u001b\[[\d;]+m/g, '')).not.toMatch(BAD);
      }),
      { numRuns: 150 },
    );
  });

  it('is escaped text within its columns', () => {
    fc.assert(
      fc.property(evil, fc.integer({ min: 4, max: 60 }), (text, columns) => {
        expect(escapeText(text.toWellFormed())).not.toMatch(BAD);
        for (const fit of [fitText(text, columns), fitPath(text, columns)]) {
          expect(fit).not.toMatch(BAD);
          expect(widthOf(fit)).toBeLessThanOrEqual(columns);
        }
      }),
    );
  });

  it('as JSON reads back as the same value', () => {
    fc.assert(
      fc.property(evil, (text) => {
        const json = safeJson({ [text]: [text] });
        expect(json).not.toMatch(BAD);
        expect(JSON.parse(json)).toEqual({ [text]: [text] });
      }),
    );
  });

  it('leaves readable text of any language as it is', () => {
    for (const text of ['Grüße, мир, 漢字, 😀', 'e\u0301', "it's"])
      expect(escapeText(text)).toBe(text);
  });
});
