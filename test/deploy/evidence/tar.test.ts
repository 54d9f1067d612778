/** Archives that are no bundles: each is refused with words, in bounded memory, and none crashes anything. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openBundle } from '../../../deploy/evidence/tar.ts';
import { LINE_BYTES_MAX, UnreadableError } from '../../../schemas/evidence/format.ts';
import { verifyEvidence } from '../../../schemas/evidence/verify.ts';
import { CLEAN, type CleanCase } from '../../verify/clean.ts';
import { BUNDLE_MUTATIONS } from '../../verify/mutate-bundle.ts';
import { exportFiles, type Files, sourceOf, tarHeader, tarOf } from '../../verify/pack.ts';
import { createSubject, type Subject } from '../../verify/subject.ts';
import { createDice, type Store } from '../../verify/world.ts';

let dir = '';
let subject: Subject;
let files: Files;
beforeAll(async () => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-tar-'));
  subject = await createSubject(CLEAN[0] as CleanCase, 'tar');
  files = exportFiles(subject.store as Store, subject.log);
});
afterAll(() => fs.rmSync(dir, { recursive: true, force: true }));

async function open(bytes: Buffer) {
  const file = path.join(dir, 'one.tar');
  fs.writeFileSync(file, bytes);
  const bundle = await openBundle(file);
  return verifyEvidence(bundle).finally(bundle.close);
}

describe('an archive', () => {
  it('is read as its files are', async () => {
    expect(await open(tarOf(files))).toEqual(await verifyEvidence(sourceOf(files)));
  });

  it.each(Array.from({ length: 60 }, (_, seed) => seed))(
    'is refused when it is broken, seed %i',
    async (seed) => {
      const broken = BUNDLE_MUTATIONS.find(([, mutate]) => mutate.name === 'breakArchive')?.[1];
      const mutation = await broken?.(subject, createDice(`tar ${seed}`));
      await expect(open(mutation?.bytes as Buffer)).rejects.toThrow(UnreadableError);
    },
  );

  const end = Buffer.alloc(1024);
  const pax = (text: string) => [
    tarHeader('PaxHeader', text.length, 'x'),
    Buffer.from(text.padEnd(512, '\0')),
  ];
  const HOSTILE: readonly (readonly [string, () => Buffer])[] = [
    ['nothing', () => Buffer.alloc(0)],
    ['zeros', () => Buffer.alloc(10_240)],
    ['noise', () => Buffer.from('no tar at all'.repeat(500))],
    [
      'a manifest that says it has 8 GiB',
      () => Buffer.concat([tarHeader('manifest.json', 8 * 1024 ** 3 - 1), Buffer.alloc(2048)]),
    ],
    [
      'a large manifest',
      () =>
        Buffer.concat([
          tarHeader('manifest.json', 2 * 1024 ** 2),
          Buffer.alloc(2 * 1024 ** 2),
          end,
        ]),
    ],
    [
      'a size of nonsense in a pax header',
      () =>
        Buffer.concat([
          ...pax('18 size=99999999999999999999\n'),
          tarHeader('manifest.json', 0),
          end,
        ]),
    ],
    [
      'a negative size',
      () => {
        const header = tarHeader('manifest.json', 0);
        header.fill(0xff, 124, 136);
        return Buffer.concat([header, end]);
      },
    ],
    [
      'a name out of a pax header',
      () =>
        Buffer.concat([...pax('23 path=../../etc/shado\n'), tarHeader('manifest.json', 0), end]),
    ],
  ];
  it.each(HOSTILE)('of %s is refused', async (_name, bytes) => {
    await expect(open(bytes())).rejects.toThrow(UnreadableError);
  });

  it('is refused for a manifest that is none', async () => {
    for (const text of [
      '',
      '{}\n',
      '[]\n',
      'null\n',
      '{"format":"telltale-bundle/1"}\n',
      '{"a":1'.repeat(1000),
    ])
      await expect(
        open(tarOf(new Map([...files, ['manifest.json', Buffer.from(text)]]))),
      ).rejects.toThrow(UnreadableError);
    const deep = Buffer.from(`${'['.repeat(400_000)}\n`);
    await expect(open(tarOf(new Map([...files, ['manifest.json', deep]])))).rejects.toThrow(
      UnreadableError,
    );
  });

  it('is refused for a line that is too long, without holding more than it', async () => {
    const line = Buffer.alloc(LINE_BYTES_MAX + 70_000, 0x61);
    for (const name of ['events.ndjson', 'blobs.ndjson', 'custody.ndjson', 'log/proofs.ndjson'])
      await expect(open(tarOf(new Map([...files, [name, line]])))).rejects.toThrow(/longer than/);
  });

  it('says its verdict on deep or wild JSON in a line, and does not fall', async () => {
    const wild = [
      `${'{"a":'.repeat(200_000)}`,
      '{"__proto__":{"x":1}}',
      '{"seq":1e999}',
      '"\\ud800"',
      '{"constructor":1}',
    ];
    for (const name of [
      'events.ndjson',
      'blobs.ndjson',
      'custody.ndjson',
      'dead-letters.ndjson',
      'log/proofs.ndjson',
    ])
      for (const line of wild) {
        const report = await open(tarOf(new Map([...files, [name, Buffer.from(`${line}\n`)]])));
        expect(report.integrity.verdict).toBe('broken');
      }
  });
});
