import { describe, expect, it } from 'vitest';
import { toRanges } from '#schemas';
import { type DeadLetter, placeLetters, runsOf } from '../../../query/timeline/parked.ts';
import { printStory } from '../../../query/timeline/print.ts';
import { buildStory } from '../../../query/timeline/story.ts';
import { STREAM, sessionOf } from './events.ts';
import { realisticSession } from './realistic.ts';

const letterOf = (seq: number | undefined, more: Partial<DeadLetter> = {}): DeadLetter => ({
  id: `letter-${seq}`,
  streamId: STREAM,
  ...(seq === undefined ? {} : { seq }),
  reason: 'unknown_kind',
  field: 'kind',
  detail: `"evil.\u001b[31m" is not a known kind`,
  ...more,
});

describe('the place of what was parked', () => {
  const stored = new Map([[STREAM, toRanges([3, 4, 5, 9])]]);
  const idsOf = (letters: readonly DeadLetter[]) =>
    [...placeLetters(letters, stored).beside].map(([id, list]) => [
      id.slice(STREAM.length + 1),
      list.map(({ seq }) => seq),
    ]);

  it('is behind the last stored number before it, or before the first', () => {
    expect(idsOf([8, 0, 6, 12].map((seq) => letterOf(seq)))).toEqual([
      ['5', [6, 8]],
      ['3', [0]],
      ['9', [12]],
    ]);
  });

  it('is beside the event that has its number, where another came first', () => {
    expect(idsOf([letterOf(4)])).toEqual([['4', [4]]]);
  });

  it('is nowhere without a number, and in a stream of which nothing is stored', () => {
    const lost = letterOf(1, { streamId: 'another' });
    expect(placeLetters([letterOf(undefined), lost], stored).nowhere).toHaveLength(2);
  });

  it('is one run while numbers follow each other and the fault is the same', () => {
    const letters = [letterOf(6), letterOf(7), letterOf(8, { reason: 'invalid' }), letterOf(11)];
    expect(runsOf(letters).map(({ first, last }) => [first, last])).toEqual([
      [6, 7],
      [8, 8],
      [11, 11],
    ]);
  });
});

describe('the printed story', () => {
  const all = realisticSession();
  const lines = (letters: readonly DeadLetter[], lost: readonly number[]) => {
    const events = all.filter(({ seq }) => !lost.includes(seq));
    const story = buildStory(sessionOf(events, { deadLetters: letters }));
    return printStory(story, { width: 100, color: false, verbose: false }).split('\n');
  };
  const parked = (text: readonly string[]) => text.filter((line) => line.includes(' PARKED '));

  it('shows parked lines between the events that stand around them, escaped', () => {
    const text = lines([letterOf(7), letterOf(8)], [7, 8]);
    const [line, ...more] = parked(text);
    expect(more).toEqual([]);
    expect(line).toContain('events 7 to 8: unknown_kind (kind): "evil.\\u{1b}[31m"');
    const before = all.find(({ seq }) => seq === 6)?.ts ?? '';
    const story = buildStory(sessionOf(all.filter(({ seq }) => seq < 7 || seq > 8)));
    const at = Number(BigInt(before) - BigInt(story.session.startedNs)) / 1e9;
    expect(line?.trimStart().startsWith(`+${at.toFixed(3)}`)).toBe(true);
  });

  it('shows no line whose event was stored since, and what has no place at the end', () => {
    expect(parked(lines([letterOf(7, { replayedNs: '1764000000000000000' })], []))).toEqual([]);
    const text = lines([letterOf(undefined, { reason: 'not_a_frame' })], []);
    expect(parked(text)).toEqual([]);
    expect(text.at(-2)).toContain('a frame: not_a_frame (kind)');
    expect(text.at(-3)).toBe('parked, without a place');
  });
});
