import fs from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  checkpointText,
  cosign,
  formatNote,
  NOTE_BYTES_MAX,
  openCheckpoint,
  type Parsed,
  parseCheckpointText,
  parseNote,
  parseSignerKey,
  parseVerifierKey,
  SIGNATURES_MAX,
  signerOf,
  signNote,
  verifyNote,
} from '#schemas';

interface Vectors {
  readonly text: string;
  readonly log_skey: string;
  readonly log_vkey: string;
  readonly witness_seed_skey: string;
  readonly witness_vkey: string;
  readonly signed: string;
  readonly forms: Record<string, { note: string; opens: boolean; signatures: number }>;
}
const GO = JSON.parse(
  fs.readFileSync(new URL('../fixtures/tlog/notes.json', import.meta.url), 'utf8'),
) as Vectors;

function open<T>(parsed: Parsed<T>): T {
  if (!parsed.ok) throw new Error(parsed.what);
  return parsed.value;
}
const logKey = open(parseSignerKey(GO.log_skey));
const seed = Buffer.from(GO.witness_seed_skey.split('+').at(-1) as string, 'base64').subarray(1);
const witness = signerOf('example.com/witness', 4, seed);

describe('known answers', () => {
  it('opens the example of the specification', () => {
    const key = open(
      parseVerifierKey('example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k'),
    );
    const note = open(
      parseNote(
        'This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n',
      ),
    );
    expect(note.text).toBe('This is an example message.\n');
    expect(open(verifyNote(note, [key])).map((one) => one.key.name)).toEqual(['example.com/foo']);
  });

  it('signs as Go’s sumdb/note does', () => {
    const skey = 'PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz';
    const key = open(parseSignerKey(skey));
    expect(key.text).toBe(skey);
    expect(key.verifier.text).toBe(
      'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW',
    );
    const text =
      "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
    expect(signNote(text, key)).toBe(
      '— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=',
    );
  });

  it('has Go’s checkpoint and cosignature to the last byte', () => {
    expect(logKey.verifier.text).toBe(GO.log_vkey);
    expect(witness.verifier.text).toBe(GO.witness_vkey);
    const opened = open(openCheckpoint(GO.signed, logKey.verifier, [witness.verifier]));
    expect(opened).toMatchObject({ origin: 'example.com/log', size: 3 });
    expect(opened.cosignatures).toHaveLength(1);
    const seconds = opened.cosignatures[0]?.seconds as number;
    const lines = [signNote(GO.text, logKey), cosign(GO.text, witness, seconds)];
    expect(formatNote(GO.text, lines)).toBe(GO.signed);
    expect(checkpointText(opened)).toBe(GO.text);
  });

  it.each(Object.entries(GO.forms))('opens what Go opens, and no more: %s', (_, form) => {
    const note = parseNote(Buffer.from(form.note));
    const verified = note.ok
      ? verifyNote(note.value, [logKey.verifier, witness.verifier])
      : ({ ok: false, what: note.what } as const);
    const count = verified.ok ? verified.value.length : 0;
    expect(count).toBe(form.signatures);
    expect(count > 0).toBe(form.opens);
  });

  it('reads the cosigner’s key of the transparency-dev tests', () => {
    const text = 'remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2';
    expect(open(parseVerifierKey(text))).toMatchObject({
      name: 'remora.n621.de',
      type: 4,
      text,
    });
  });
});

describe('keys', () => {
  it.each([
    ['', 'NAME'],
    ['a+00000000', 'NAME'],
    ['example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k', '530d903a'],
    ['example.com/foo+530D903A+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k', 'HEX'],
    ['example.com/foo+530d903a+AukyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k', 'type 2'],
    ['example.com/foo+530d903a+AekyeRrm', '32 bytes'],
    ['example.com/foo+530d903a+AekyeRrm5', 'base64'],
    ['exam ple+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k', 'blank'],
  ])('say what is wrong with %s', (text, what) => {
    const parsed = parseVerifierKey(text);
    expect(parsed).toMatchObject({ ok: false, what: expect.stringContaining(what) });
  });

  it('are read back for any name and seed', () => {
    const name = fc.stringMatching(/^[a-z0-9./-]{1,40}$/);
    const bytes = fc.uint8Array({ minLength: 32, maxLength: 32 });
    fc.assert(
      fc.property(name, fc.constantFrom(1, 4) as fc.Arbitrary<1 | 4>, bytes, (n, type, raw) => {
        const key = signerOf(n, type, raw);
        expect(open(parseSignerKey(key.text)).verifier.text).toBe(key.verifier.text);
        expect(open(parseVerifierKey(key.verifier.text)).id).toBe(key.verifier.id);
      }),
      { numRuns: 50 },
    );
    expect(() => signerOf('a b', 1, Buffer.alloc(32))).toThrow(RangeError);
    expect(() => signerOf('a', 1, Buffer.alloc(31))).toThrow(RangeError);
    expect(() => signNote('x\n', witness)).toThrow(RangeError);
    expect(() => cosign('x\n', logKey, 1)).toThrow(RangeError);
  });
});

describe('notes from outside', () => {
  it('never throw, whatever the bytes', () => {
    const near = fc.tuple(fc.nat({ max: GO.signed.length - 1 }), fc.uint8Array({ maxLength: 4 }));
    const bytes = Buffer.from(GO.signed);
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 300 }), near), (input) => {
        const whole =
          input instanceof Uint8Array
            ? input
            : Buffer.concat([
                bytes.subarray(0, input[0]),
                input[1],
                bytes.subarray(input[0] + input[1].length),
              ]);
        const opened = openCheckpoint(whole, logKey.verifier, [witness.verifier]);
        if (opened.ok) expect(opened.value.note.text).toBe(GO.text);
      }),
      { numRuns: 1000 },
    );
  });

  it('fail for each single changed byte of the text', () => {
    const bytes = Buffer.from(GO.signed);
    for (let at = 0; at < Buffer.byteLength(GO.text); at++) {
      const bent = Buffer.from(bytes);
      bent[at] = (bent[at] as number) ^ 1;
      expect(openCheckpoint(bent, logKey.verifier, [witness.verifier]).ok, `byte ${at}`).toBe(
        false,
      );
    }
  });

  it('are bounded', () => {
    const line = GO.signed.split('\n').find((one) => one.startsWith('—')) as string;
    const unknown = line.replace('example.com/log', 'example.com/nobody');
    const with_ = (count: number) => formatNote(GO.text, [line, ...Array(count).fill(unknown)]);
    expect(openCheckpoint(with_(SIGNATURES_MAX - 1), logKey.verifier).ok).toBe(true);
    expect(parseNote(with_(SIGNATURES_MAX))).toMatchObject({ what: expect.stringMatching(/64/) });
    expect(parseNote('x'.repeat(NOTE_BYTES_MAX + 1)).ok).toBe(false);
  });

  it('are of the log that was asked for, and signed by it', () => {
    const other = signerOf('example.com/other', 1, Buffer.alloc(32, 3));
    expect(openCheckpoint(GO.signed, other.verifier)).toMatchObject({
      what: expect.stringContaining('example.com/log'),
    });
    const impostor = signerOf('example.com/log', 1, Buffer.alloc(32, 3));
    expect(openCheckpoint(GO.signed, impostor.verifier)).toMatchObject({
      what: expect.stringContaining('not signed'),
    });
  });

  it('have cosignatures that cover time and extension lines', () => {
    const text = `${GO.text}extension\n`;
    const lines = [signNote(text, logKey), cosign(text, witness, 1_700_000_000)];
    const opened = open(
      openCheckpoint(formatNote(text, lines), logKey.verifier, [witness.verifier]),
    );
    expect(opened.cosignatures[0]?.seconds).toBe(1_700_000_000);
    const moved = formatNote(GO.text, [signNote(GO.text, logKey), lines[1] as string]);
    expect(openCheckpoint(moved, logKey.verifier, [witness.verifier]).ok).toBe(false);
    const bytes = Buffer.from((lines[1] as string).split(' ')[2] as string, 'base64');
    bytes[11] = (bytes[11] as number) ^ 1;
    const later = `— example.com/witness ${bytes.toString('base64')}`;
    const bent = formatNote(text, [lines[0] as string, later]);
    expect(openCheckpoint(bent, logKey.verifier, [witness.verifier]).ok).toBe(false);
  });
});

describe('checkpoint texts', () => {
  const root = Buffer.alloc(32, 1).toString('base64');
  it.each([
    [`o\n1\n${root}`, 'newline'],
    [`\n1\n${root}\n`, 'origin'],
    [`o\n01\n${root}\n`, 'number'],
    [`o\n-1\n${root}\n`, 'number'],
    [`o\n9007199254740992\n${root}\n`, '2^53'],
    [`o\n1\n${root.slice(0, -4)}\n`, '32 bytes'],
    [`o\n1\n${root}\n\nx\n`, 'extension'],
    ['', 'newline'],
  ])('are refused with a reason: %j', (text, what) => {
    const parsed = parseCheckpointText(text);
    expect(parsed).toMatchObject({ ok: false, what: expect.stringContaining(what) });
  });

  it('are read back', () => {
    const bytes = fc.uint8Array({ minLength: 32, maxLength: 32 });
    fc.assert(
      fc.property(fc.maxSafeNat(), bytes, (size, raw) => {
        const text = checkpointText({ origin: 'a/b', size, root: Buffer.from(raw) });
        expect(checkpointText(open(parseCheckpointText(text)))).toBe(text);
      }),
    );
  });
});
