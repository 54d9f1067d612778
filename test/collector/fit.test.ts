import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CONTENT_BYTES_MAX, type Draft, kindSpec } from '#schemas';
import { cutUtf8, fitDraft } from '../../collector/fit.ts';
import { createStamper } from '../../collector/stamp.ts';
import { fakeClock, fakeRandom } from '../fakes/ports.ts';
import { fileDraft, identity } from './drafts.ts';

const stampOne = (draft: Draft) =>
  createStamper(identity, fakeClock(), fakeRandom()).stamp(draft).event;

describe('fitDraft', () => {
  it('leaves a good draft as it is', () => {
    const draft = fileDraft('/srv/a');
    expect(fitDraft(draft)).toEqual(draft);
  });

  it('replaces a lone surrogate and says where', () => {
    const event = stampOne(fileDraft('/srv/\ud800x'));
    expect(event).toMatchObject({ kind: 'file', file_path: '/srv/\ufffdx' });
    expect(event.altered).toEqual(['file_path:lone_surrogate:7']);
  });

  it('carries a 5 MB output whole, and cuts a longer one at a code point, with its length', () => {
    const five = 'ä'.repeat(2.5 * 1024 * 1024);
    const call = (output: string): Draft => ({
      kind: 'tool.result',
      ts: '1764000000000000001',
      source: 'rollout',
      assurance: 'reported',
      output,
    });
    expect(stampOne(call(five))).toMatchObject({ output: five });
    const long = `x${'ä'.repeat(CONTENT_BYTES_MAX / 2)}`;
    const cut = stampOne(call(long));
    expect(cut.altered).toEqual([`output:truncated:${CONTENT_BYTES_MAX + 1}`]);
    expect(cut).toMatchObject({ output: long.slice(0, -1) });
  });

  it('keeps an event whose content grows past the limit when it is escaped', () => {
    const event = stampOne({
      kind: 'tool.result',
      ts: '1764000000000000001',
      source: 'rollout',
      assurance: 'reported',
      output: '\u0001'.repeat(CONTENT_BYTES_MAX),
    });
    expect(event.kind).toBe('tool.result');
    expect(event.altered?.[0]).toBe(`output:truncated:${CONTENT_BYTES_MAX}`);
  });

  it('takes integers that came as strings, and declares what is no integer', () => {
    const good = stampOne(fileDraft('/a', { file_bytes: '17' }));
    expect(good).toMatchObject({ file_bytes: 17 });
    const bad = stampOne(fileDraft('/a', { file_bytes: 'many' }));
    expect(bad).not.toHaveProperty('file_bytes');
    expect(bad.altered).toEqual(['file_bytes:not_a_number:many']);
  });

  it('turns a draft that lacks a required field into a gap that names it', () => {
    const event = stampOne({ ...fileDraft('/a'), file_path: undefined } as unknown as Draft);
    expect(event).toMatchObject({ kind: 'gap', gap_reason: 'invalid', gap_count: 1 });
    expect((event as { reason?: string }).reason).toContain('file_path');
  });

  it('makes something storable of any draft', () => {
    const names = Object.keys(kindSpec('file').fields).filter((name) => name !== 'kind');
    const junk = fc.dictionary(
      fc.oneof(fc.constantFrom(...names), fc.string()),
      fc.oneof(
        fc.string({ unit: 'binary' }),
        fc.double(),
        fc.bigInt(),
        fc.array(fc.string({ unit: 'binary' })),
        fc.dictionary(fc.string(), fc.string({ unit: 'binary' })),
        fc.boolean(),
        fc.constant(null),
      ),
    );
    const stamper = createStamper(identity, fakeClock(), fakeRandom());
    fc.assert(
      fc.property(junk, (more) => {
        const before = stamper.count;
        const { event } = stamper.stamp({ ...fileDraft('/a'), ...more } as Draft);
        expect(['file', 'gap']).toContain(event.kind);
        expect(event.seq).toBe(before);
      }),
    );
  });
});

describe('cutUtf8', () => {
  it('never splits a code point and keeps as much as fits', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.nat(40), (text, bytesMax) => {
        const cut = cutUtf8(text, bytesMax);
        expect(text.startsWith(cut)).toBe(true);
        expect(Buffer.byteLength(cut)).toBeLessThanOrEqual(bytesMax);
        const next = [...text.slice(cut.length)][0];
        if (next !== undefined) expect(Buffer.byteLength(cut + next)).toBeGreaterThan(bytesMax);
      }),
    );
  });
});
