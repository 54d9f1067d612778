import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import {
  type Checkpoint,
  checkpointText,
  consistencyProof,
  formatNote,
  inclusionProof,
  leafHash,
  openCheckpoint,
  readEntries,
  rootOfLeaves,
  signerOf,
  signNote,
  TILE_WIDTH,
  tileReader,
  verifyConsistency,
  verifyInclusion,
} from '#schemas';
import { openLogFiles } from '../../../ingest/seal/files.ts';
import { LogError, openLog } from '../../../ingest/seal/log.ts';
import { checkTree } from '../../../ingest/seal/walk.ts';
import { memoryFiles, PowerLoss } from './memory.ts';

const KEY = signerOf('example.com/log', 1, Buffer.alloc(32, 1));
const entry = (n: number, salt = '') => Buffer.from(`entry ${n} ${salt}`);
const entries = (from: number, to: number, salt = '') =>
  Array.from({ length: to - from }, (_, i) => entry(from + i, salt));
const rootOver = (list: readonly Buffer[]) => rootOfLeaves(list.map(leafHash));

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-log-'));
afterAll(() => fs.rmSync(dir, { recursive: true, force: true }));

describe('a log on a real disk', () => {
  it('grows, is opened again, and proves each step', async () => {
    const files = await openLogFiles(path.join(dir, 'grows'));
    const all: Buffer[] = [];
    const heads: Checkpoint[] = [];
    let log = await openLog(files, KEY);
    for (const count of [0, 1, 254, 1, 1, 3, 252, 256, 1000, 70_000]) {
      const more = entries(all.length, all.length + count);
      all.push(...more);
      heads.push(await log.append(more));
      expect(log.head.root.equals(rootOver(all))).toBe(true);
      await log.publish([]);
      log = await openLog(files, KEY);
      expect(log.head.size).toBe(all.length);
    }
    const last = heads.at(-1) as Checkpoint;
    const read = tileReader(last.size, files.read);
    for (const head of heads) {
      const proof = await consistencyProof(head.size, last.size, read);
      expect(verifyConsistency(head.size, last.size, proof, head.root, last.root)).toBe(true);
    }
    const proof = await inclusionProof(255, last.size, read);
    const leaf = leafHash(all[255] as Buffer);
    expect(verifyInclusion(leaf, 255, last.size, proof, last.root)).toBe(true);
    expect(await checkTree(last, files.read)).toBeUndefined();
    const published = await files.read('checkpoint');
    expect(openCheckpoint(published as Buffer, KEY.verifier)).toMatchObject({ ok: true });
    expect(fs.statSync(path.join(dir, 'grows', 'checkpoint')).mode & 0o077).toBe(0);
  });

  it('keeps no partial tile below a full one', async () => {
    const files = await openLogFiles(path.join(dir, 'partials'));
    const log = await openLog(files, KEY);
    for (let n = 0; n < 300; n += 7) await log.append(entries(n, n + 7));
    const names = fs.readdirSync(path.join(dir, 'partials'), { recursive: true }).map(String);
    expect(names.filter((name) => /000\.p/.test(name) && !name.startsWith('tile/1'))).toEqual([]);
    expect(names).toContain('tile/0/001.p/45');
    expect(await checkTree(log.head, files.read)).toBeUndefined();
  });

  it('is refused with another key, a changed tile, a lost entry, a lost head', async () => {
    const root = path.join(dir, 'refused');
    const files = await openLogFiles(root);
    const log = await openLog(files, KEY);
    await log.append(entries(0, 300));
    await log.publish([]);
    const other = signerOf('example.com/log', 1, Buffer.alloc(32, 2));
    await expect(openLog(files, other)).rejects.toThrow(LogError);
    const spoil = async (name: string, bend: (bytes: Buffer) => Buffer) => {
      const bytes = (await files.read(name)) as Buffer;
      await files.write(name, bend(Buffer.from(bytes)));
      await expect(openLog(files, KEY), name).rejects.toThrow(/root|leaf|bytes|entries/);
      await files.write(name, bytes);
    };
    const flip = (bytes: Buffer) => bytes.fill((bytes[9] as number) ^ 1, 9, 10);
    await spoil('tile/0/001.p/44', flip);
    await spoil('tile/1/000.p/1', flip);
    await spoil('tile/entries/001.p/44', flip);
    await spoil('tile/entries/001.p/44', (bytes) => bytes.subarray(0, -1));
    await openLog(files, KEY);
    await files.remove('committed');
    await expect(openLog(files, KEY)).rejects.toThrow('files are lost');
  });

  it('is not appended to by two', async () => {
    const files = await openLogFiles(path.join(dir, 'two'));
    const first = await openLog(files, KEY);
    const second = await openLog(files, KEY);
    await first.append(entries(0, 3));
    await expect(second.append(entries(0, 5, 'other'))).rejects.toThrow('someone else');
    expect((await openLog(files, KEY)).head.size).toBe(3);
  });
});

/** A run of appends with the power going at one step of it; then what a new process finds. */
async function crash(sizes: readonly number[], step: number, torn: number, seed: number) {
  const files = memoryFiles();
  files.failAt(step, torn);
  const committed: Checkpoint[] = [];
  let tried: Checkpoint | undefined;
  const all: Buffer[] = [];
  try {
    const log = await openLog(files, KEY);
    committed.push(log.head);
    for (const count of sizes) {
      const more = entries(all.length, all.length + count, `run ${seed}`);
      const root = rootOver([...all, ...more]);
      tried = { origin: log.origin, size: all.length + count, root };
      committed.push(await log.append(more));
      all.push(...more);
      await log.publish([]);
    }
  } catch (error) {
    if (!(error instanceof PowerLoss)) throw error;
  }
  let dice = seed;
  const lucky = () => {
    dice = (dice * 1_103_515_245 + 12_345) % 2_147_483_648;
    return dice % 2 === 0;
  };
  return { files, committed, tried, found: files.reboot(lucky), finished: files.steps < step };
}

describe('a crash at any step, with writes torn and unsynced ones lost', () => {
  it('leaves a log that holds all that was committed, and goes on', async () => {
    const sizes = [3, 200, 60, 1, 300];
    let step = 0;
    for (let finished = false; !finished; ) {
      step++;
      for (const [i, torn] of [0, 0.3, 0.9].entries()) {
        const run = await crash(sizes, step, torn, step * 7 + i);
        finished = run.finished;
        const files = memoryFiles(run.found);
        const log = await openLog(files, KEY);
        const last = run.committed.at(-1);
        // What was committed is there; what was under way is there whole, or not at all.
        const sizesAllowed = [last?.size ?? 0, run.tried?.size ?? 0];
        expect(sizesAllowed, `step ${step}`).toContain(log.head.size);
        for (const head of [...run.committed, run.tried])
          if (head?.size === log.head.size) expect(log.head.root.equals(head.root)).toBe(true);
        expect(await checkTree(log.head, files.read), `step ${step}`).toBeUndefined();
        const published = run.found.get('checkpoint');
        if (published !== undefined) {
          const opened = openCheckpoint(published, KEY.verifier);
          if (!opened.ok) throw new Error(opened.what);
          expect(opened.value.size).toBeLessThanOrEqual(log.head.size);
          expect(await checkTree(opened.value, files.read)).toBeUndefined();
        }
        // Other entries than those that were lost: what is covered stays as it is.
        const before = log.head;
        const covered = await readAll(before.size, files.read);
        const after = await log.append(entries(before.size, before.size + 300, 'after'));
        expect(await readAll(before.size, files.read)).toEqual(covered);
        const proof = await consistencyProof(
          before.size,
          after.size,
          tileReader(after.size, files.read),
        );
        expect(verifyConsistency(before.size, after.size, proof, before.root, after.root)).toBe(
          true,
        );
        expect(await checkTree(after, files.read)).toBeUndefined();
      }
    }
    expect(step).toBeGreaterThan(60);
  });

  it('goes on in the same process when a write failed', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 5, max: 40 }), async (step) => {
        const files = memoryFiles();
        let failing = true;
        const flaky = {
          ...files,
          write: async (name: string, bytes: Uint8Array) => {
            if (failing && files.steps >= step) {
              failing = false;
              throw new Error('ENOSPC');
            }
            await files.write(name, bytes);
          },
        };
        const log = await openLog(flaky, KEY);
        let size = 0;
        for (let i = 0; i < 12; i++) {
          try {
            size = (await log.append(entries(size, size + 50, `try ${i}`))).size;
          } catch (error) {
            expect((error as Error).message).toBe('ENOSPC');
          }
          expect(log.head.size).toBe(size);
        }
        expect(failing).toBe(false);
        expect(await checkTree(log.head, files.read)).toBeUndefined();
      }),
      { numRuns: 20 },
    );
  });
});

async function readAll(size: number, read: (name: string) => Promise<Buffer | undefined>) {
  const all: string[] = [];
  for (let at = 0; at < size; at += TILE_WIDTH)
    for (const one of await readEntries(at / TILE_WIDTH, Math.min(TILE_WIDTH, size - at), read))
      all.push(one.toString());
  return all;
}

describe('checkTree', () => {
  it('finds a changed entry, a changed tile of any level, and another root', async () => {
    const files = memoryFiles();
    const log = await openLog(files, KEY);
    await log.append(entries(0, 70_000));
    const head = log.head;
    const whole = new Map(files.live);
    for (const name of ['tile/entries/000', 'tile/0/272', 'tile/1/000', 'tile/2/000.p/1']) {
      const bytes = Buffer.from(whole.get(name) as Buffer);
      bytes[5] = (bytes[5] as number) ^ 1;
      const bent = memoryFiles(new Map(whole).set(name, bytes));
      const fault = await checkTree(head, bent.read);
      const where = name === 'tile/entries/000' ? 'tile/0/000' : name;
      expect(fault, name).toMatchObject({ where });
    }
    const missing = new Map(whole);
    missing.delete('tile/entries/007');
    expect(await checkTree(head, memoryFiles(missing).read)).toMatchObject({
      what: expect.stringContaining('tile/entries/007'),
    });
    const other = { ...head, root: Buffer.alloc(32) };
    expect(await checkTree(other, files.read)).toMatchObject({ where: 'checkpoint' });
    const text = checkpointText(other);
    expect(openCheckpoint(formatNote(text, [signNote(text, KEY)]), KEY.verifier).ok).toBe(true);
  });
});
