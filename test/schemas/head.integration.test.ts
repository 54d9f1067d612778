import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeHead, FINAL_KINDS, HEAD_KINDS, type Head, headOf, parseHead } from '#schemas';
import { newStream } from '../ingest/engine.ts';

const HEAD: Head = {
  tenant: 'default',
  session_id: '0193a5e0-0000-7000-8000-000000000001',
  stream_id: '0193a5e1-0000-7000-8000-000000000001',
  ...{ seq: 7, chain_count: 7, chain_head: 'ab'.repeat(32), event_digest: 'cd'.repeat(32) },
  final: true,
};

describe('a head', () => {
  it('is made of the open and of each checkpoint, and of nothing else', () => {
    expect(HEAD_KINDS).toEqual(['session.open', 'session.heartbeat', 'session.close']);
    expect(FINAL_KINDS).toEqual(['session.close']);
    const stream = newStream('t');
    expect(headOf(stream.event(3))).toBeUndefined();
    const open = stream.event(0, { kind: 'session.open', command_args: ['sh'] } as object);
    const id = `${stream.session_id}\n${stream.stream_id}`;
    expect(headOf(open)).toMatchObject({
      ...{ seq: 0, chain_count: 0, final: false, tenant: 't' },
      chain_head: createHash('sha256').update(`telltale-chain/2\nt\n${id}\n`).digest('hex'),
    });
  });

  it('stands in the log as one line of canonical JSON', () => {
    expect(encodeHead(HEAD).toString()).toBe(
      `{"chain_count":7,"chain_head":"${'ab'.repeat(32)}","event_digest":"${'cd'.repeat(32)}","final":true,"seq":7,"session_id":"0193a5e0-0000-7000-8000-000000000001","stream_id":"0193a5e1-0000-7000-8000-000000000001","telltale":"head/1","tenant":"default"}`,
    );
    expect(parseHead(encodeHead(HEAD))).toEqual({ ok: true, value: HEAD });
  });

  it('is read back for any tenant, and never throws on any bytes', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', minLength: 1 }), fc.maxSafeNat(), (tenant, seq) => {
        const head = { ...HEAD, tenant, seq };
        expect(parseHead(encodeHead(head))).toEqual({ ok: true, value: head });
      }),
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        expect(parseHead(bytes).ok).toBe(false);
      }),
    );
    const line = encodeHead(HEAD);
    for (let at = 0; at < line.length; at++) {
      const bent = Buffer.from(line);
      bent[at] = (bent[at] as number) ^ 1;
      const parsed = parseHead(bent);
      if (parsed.ok) expect(parsed.value).not.toEqual(HEAD);
    }
  });

  it.each([
    ['another format', (text: string) => text.replace('head/1', 'head/2'), 'canonical'],
    ['a blank', (text: string) => text.replace(',', ', '), 'canonical'],
    ['a field more', (text: string) => text.replace('}', ',"x":1}'), 'canonical'],
    ['no digest', (text: string) => text.replace('cdcd', 'cd'), 'event_digest'],
    ['upper case', (text: string) => text.replace('0193a5e0', '0193A5E0'), 'session_id'],
    ['a negative number', (text: string) => text.replace('"seq":7', '"seq":-7'), 'seq'],
    ['no tenant', (text: string) => text.replace('"default"', '""'), 'tenant'],
    ['a word for true', (text: string) => text.replace('true', '"true"'), 'final'],
    ['an array', () => '[]', 'seq'],
    ['a number', () => '1', 'object'],
  ])('is refused with %s', (_, bend, what) => {
    const parsed = parseHead(Buffer.from(bend(encodeHead(HEAD).toString())));
    expect(parsed).toMatchObject({ ok: false, what: expect.stringContaining(what) });
  });
});
