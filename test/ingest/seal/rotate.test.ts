/** New keys in the place of old ones: both sign for a while, and what was signed before stays good. */
import { describe, expect, it } from 'vitest';
import {
  CHECKPOINT_PATH,
  consistencyProof,
  openCheckpoint,
  parseSignatures,
  type SignerKey,
  tileReader,
} from '#schemas';
import { formatAddCheckpoint } from '../../../ingest/seal/add-checkpoint.ts';
import { openKeys, retireKeys, rotateKey } from '../../../ingest/seal/key.ts';
import { LogError, openLog } from '../../../ingest/seal/log.ts';
import { createWitness } from '../../../ingest/seal/witness.ts';
import { fakeClock, fakeLog, fakeMeter, fakeRandom } from '../../fakes/ports.ts';
import { memoryFiles } from './memory.ts';

const LOG = { file: 'log.key', type: 1 } as const;
const WITNESS = { file: 'witness.key', type: 4 } as const;
const random = fakeRandom();
const named = (name: string) => ({ name: undefined, nameOfNew: name });
const entries = (count: number) => Array.from({ length: count }, (_, n) => Buffer.from(`e${n}`));

async function site() {
  const files = memoryFiles();
  const keys = () => openKeys(files, random, { ...LOG, ...named('example.com/log') });
  const open = async () => {
    const [key, ...previous] = await keys();
    return openLog(files, key, previous);
  };
  const signedBy = async ({ verifier }: SignerKey) =>
    openCheckpoint((await files.read(CHECKPOINT_PATH)) as Buffer, verifier).ok;
  return { files, keys, open, signedBy };
}

describe('a log whose key is changed', () => {
  it('signs with both, then with the new one, and is the same log', async () => {
    const { files, keys, open, signedBy } = await site();
    const [old] = await keys();
    let log = await open();
    await log.append(entries(3));
    await log.publish([]);
    const kept = (await files.read(CHECKPOINT_PATH)) as Buffer;
    const next = await rotateKey(files, random, LOG);
    expect(next.verifier.name).toBe(old.verifier.name);
    expect(next.text).not.toBe(old.text);

    log = await open();
    expect(log.head.size).toBe(3);
    await log.publish([]);
    expect([await signedBy(old), await signedBy(next)]).toEqual([true, true]);
    await log.append(entries(2));
    await log.publish([]);
    expect([await signedBy(old), await signedBy(next)]).toEqual([true, true]);

    expect(await retireKeys(files, LOG)).toBe(1);
    log = await open();
    await log.publish([]);
    expect([await signedBy(old), await signedBy(next)]).toEqual([false, true]);
    expect(log.head.size).toBe(5);
    // What was signed before is good under the old key, for ever.
    expect(openCheckpoint(kept, old.verifier).ok).toBe(true);
    await expect(openLog(files, old)).rejects.toThrow(LogError);
  });

  it('survives a rotation that was cut short, and one on top of another', async () => {
    const { files, keys, open } = await site();
    await open();
    const [old] = await keys();
    await files.write('log.key.previous', Buffer.from(`${old.text}\n`));
    expect((await keys()).map(({ text }) => text)).toEqual([old.text]);
    const second = await rotateKey(files, random, LOG);
    const third = await rotateKey(files, random, LOG);
    expect((await keys()).map(({ text }) => text)).toEqual([third.text, second.text, old.text]);
    await (await open()).publish([]);
    await files.write('log.key.previous', Buffer.from('nonsense\n'));
    await expect(keys()).rejects.toThrow('log.key.previous');
    await expect(rotateKey(memoryFiles(), random, LOG)).rejects.toThrow('there is no key yet');
  });
});

describe('a witness', () => {
  it('goes on with a log’s new key, and with a new one of its own', async () => {
    const { files: logFiles, keys, open } = await site();
    const [old] = await keys();
    const files = memoryFiles();
    const ports = { files, clock: fakeClock(), log: fakeLog(), meter: fakeMeter() };
    const own = () => openKeys(files, random, { ...WITNESS, ...named('example.com/witness') });
    const witness = async (logs: readonly SignerKey[]) => {
      const [key, ...previous] = await own();
      return createWitness({ ...ports, key, previous, logs: logs.map(({ verifier }) => verifier) });
    };
    const grow = async (by: number) => {
      const log = await open();
      const from = log.head.size;
      await log.append(entries(by));
      const proof = await consistencyProof(from, from + by, tileReader(from + by, logFiles.read));
      return Buffer.from(formatAddCheckpoint(from, proof, log.note));
    };
    const [first] = await own();
    expect((await (await witness([old])).add(await grow(2))).status).toBe(200);
    const next = await rotateKey(logFiles, random, LOG);
    // One that was not told of the new key yet cosigns by the old one.
    expect((await (await witness([old])).add(await grow(2))).status).toBe(200);
    expect((await (await witness([old, next])).add(await grow(2))).status).toBe(200);
    await retireKeys(logFiles, LOG);
    expect((await (await witness([next])).add(await grow(2))).status).toBe(200);
    expect((await (await witness([next])).add(await grow(2))).status).toBe(200);

    const second = await rotateKey(files, random, WITNESS);
    const answer = await (await witness([next])).add(await grow(1));
    const lines = parseSignatures(answer.status === 200 ? answer.body : '');
    expect(lines.ok && lines.value.map(({ id }) => id)).toEqual([
      second.verifier.id,
      first.verifier.id,
    ]);
    await retireKeys(files, WITNESS);
    const alone = await (await witness([next])).add(await grow(1));
    const line = parseSignatures(alone.status === 200 ? alone.body : '');
    expect(line.ok && line.value.map(({ id }) => id)).toEqual([second.verifier.id]);
    // A witness that is given only a key which never signed what it kept says so.
    await expect(witness([old])).rejects.toThrow(LogError);
  });
});
