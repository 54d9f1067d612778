import Fastify from 'fastify';
import { describe, expect, it } from 'vitest';
import {
  type Checkpoint,
  checkpointText,
  consistencyProof,
  cosign,
  formatNote,
  leafHash,
  openCheckpoint,
  readerOf,
  rootOfLeaves,
  signerOf,
  signNote,
} from '#schemas';
import { formatAddCheckpoint, parseAddCheckpoint } from '../../../ingest/seal/add-checkpoint.ts';
import { registerWitness } from '../../../ingest/seal/serve.ts';
import { createWitness, originHash } from '../../../ingest/seal/witness.ts';
import { fakeClock, fakeLog, fakeMeter } from '../../fakes/ports.ts';
import { memoryFiles } from './memory.ts';

const LOG = signerOf('example.com/log', 1, Buffer.alloc(32, 1));
const STRANGER = signerOf('example.com/stranger', 1, Buffer.alloc(32, 2));
const KEY = signerOf('example.com/witness', 4, Buffer.alloc(32, 3));

const LEAVES = Array.from({ length: 100 }, (_, i) => leafHash(Buffer.from(`leaf ${i}`)));
const FORK = LEAVES.with(4, leafHash(Buffer.from('another')));

function noteOf(size: number, leaves = LEAVES, key = LOG, more: Partial<Checkpoint> = {}) {
  const root = rootOfLeaves(leaves.slice(0, size));
  const text = checkpointText({ origin: key.verifier.name, size, root, ...more });
  return formatNote(text, [signNote(text, key)]);
}

async function request(from: number, to: number, leaves = LEAVES, note = noteOf(to, leaves)) {
  const proof = from > 0 && from < to ? await consistencyProof(from, to, readerOf(leaves)) : [];
  return formatAddCheckpoint(from, proof, note);
}

async function witnessOver(files = memoryFiles()) {
  const log = fakeLog();
  const shared = { clock: fakeClock(1_764_000_000_000_000_000n), meter: fakeMeter(), log };
  const witness = await createWitness({ ...shared, files, key: KEY, logs: [LOG.verifier] });
  const app = Fastify({ logger: false });
  registerWitness(app, { witness, log });
  const post = async (payload: string | Buffer) => {
    const answer = await app.inject({ method: 'POST', url: '/add-checkpoint', payload });
    return { status: answer.statusCode, body: answer.body, type: answer.headers['content-type'] };
  };
  const latest = (hash = originHash('example.com/log')) =>
    app.inject({ method: 'GET', url: `/${hash}/checkpoint` });
  return { post, latest, files, log };
}

describe('the request', () => {
  it('is read back, and anything else is refused with a reason', async () => {
    const body = await request(3, 7);
    const parsed = parseAddCheckpoint(Buffer.from(body));
    if (!parsed.ok) throw new Error(parsed.what);
    expect(parsed.value.oldSize).toBe(3);
    expect(parsed.value.proof).toEqual(await consistencyProof(3, 7, readerOf(LEAVES)));
    for (const bad of [
      ...['', 'old 3\n', body.replace('old 3', 'old 03'), body.replace('old 3', 'old -1')],
      ...[body.replace('old 3', 'OLD 3'), body.replace('\n\n', '\n'), body.replace('=\n', '\n')],
      `old 3\n${`${LEAVES[0]?.toString('base64')}\n`.repeat(64)}\n${noteOf(7)}`,
    ])
      expect(parseAddCheckpoint(Buffer.from(bad)), bad.slice(0, 20)).toMatchObject({ ok: false });
  });
});

describe('a witness', () => {
  it('cosigns a log that it knows as it grows', async () => {
    const { post, latest } = await witnessOver();
    expect((await latest()).statusCode).toBe(404);
    let from = 0;
    for (const to of [0, 1, 1, 5, 8, 64, 99]) {
      const answer = await post(await request(from, to));
      expect(answer).toMatchObject({ status: 200 });
      expect(answer.body).toBe(
        `${cosign(checkpointText({ origin: 'example.com/log', size: to, root: rootOfLeaves(LEAVES.slice(0, to)) }), KEY, 1_764_000_000)}\n`,
      );
      from = to;
    }
    const kept = await latest();
    const opened = openCheckpoint(kept.body, LOG.verifier, [KEY.verifier]);
    expect(opened).toMatchObject({ ok: true, value: { size: 99 } });
    expect(opened.ok && opened.value.cosignatures[0]?.seconds).toBe(1_764_000_000);
    expect((await latest(originHash('example.com/other'))).statusCode).toBe(404);
    expect((await latest('../witness.key')).statusCode).toBe(404);
  });

  it('answers 409 with its size to a log that does not know it', async () => {
    const { post } = await witnessOver();
    await post(await request(0, 8));
    for (const from of [0, 3, 9])
      expect(await post(await request(from, 9))).toEqual({
        ...{ status: 409, body: '8\n', type: 'text/x.tlog.size' },
      });
  });

  it('refuses a fork, a rollback, and what proves nothing', async () => {
    const { post, log } = await witnessOver();
    await post(await request(0, 8));
    const proof = await consistencyProof(8, 20, readerOf(LEAVES));
    const statuses = [
      // A tree that changed a leaf that was cosigned, with its own proof and with the true one.
      await post(await request(8, 20, FORK)),
      await post(formatAddCheckpoint(8, proof, noteOf(20, FORK))),
      // The same size with another root.
      await post(await request(8, 8, FORK)),
      // No proof, too much of it.
      await post(formatAddCheckpoint(8, [], noteOf(20))),
      await post(formatAddCheckpoint(8, [...proof, LEAVES[0] as Buffer], noteOf(20))),
      await post(formatAddCheckpoint(8, [LEAVES[0] as Buffer], noteOf(8))),
    ].map(({ status }) => status);
    expect(statuses).toEqual([422, 422, 422, 422, 422, 422]);
    expect(log.lines.filter(({ event }) => event === 'witness.inconsistent')).toHaveLength(6);
    // Back to an older tree: the old size is not what was cosigned, or beyond the checkpoint.
    expect(await post(await request(5, 5))).toMatchObject({ status: 409, body: '8\n' });
    expect(await post(await request(8, 5))).toMatchObject({ status: 400 });
    // None of it changed what it knows.
    expect(await post(await request(8, 20))).toMatchObject({ status: 200 });
  });

  it('refuses a proof from nothing, and an empty tree with a root', async () => {
    const { post } = await witnessOver();
    const hash = LEAVES[0] as Buffer;
    expect(await post(formatAddCheckpoint(0, [hash], noteOf(3)))).toMatchObject({ status: 422 });
    const empty = noteOf(0, LEAVES, LOG, { root: hash });
    expect(await post(formatAddCheckpoint(0, [], empty))).toMatchObject({ status: 422 });
  });

  it('answers 404 to a log that it does not know, 403 to a wrong signature, 400 to nonsense', async () => {
    const { post } = await witnessOver();
    const strange = await request(0, 3, LEAVES, noteOf(3, LEAVES, STRANGER));
    expect(await post(strange)).toMatchObject({ status: 404 });
    const text = checkpointText({ origin: 'example.com/log', size: 3, root: LEAVES[0] as Buffer });
    const foreign = formatNote(text, [signNote(text, STRANGER)]);
    expect(await post(formatAddCheckpoint(0, [], foreign))).toMatchObject({ status: 403 });
    const bent = noteOf(3).replace('\n3\n', '\n4\n');
    expect(await post(formatAddCheckpoint(0, [], bent))).toMatchObject({ status: 403 });
    expect(await post('nonsense')).toMatchObject({ status: 400 });
    expect(await post('')).toMatchObject({ status: 400 });
    const noTree = formatNote('example.com/log\n', [signNote('example.com/log\n', LOG)]);
    expect(await post(formatAddCheckpoint(0, [], noTree))).toMatchObject({ status: 400 });
    expect(await post('x'.repeat(400_000))).toMatchObject({ status: 413 });
  });

  it('remembers after a restart, and stands still where its file is not its own', async () => {
    const first = await witnessOver();
    await first.post(await request(0, 8));
    const second = await witnessOver(memoryFiles(first.files.reboot(() => false)));
    expect(await second.post(await request(0, 9))).toMatchObject({ status: 409, body: '8\n' });
    expect(await second.post(await request(8, 9))).toMatchObject({ status: 200 });
    const files = memoryFiles(new Map([[originHash('example.com/log'), Buffer.from(noteOf(3))]]));
    await expect(witnessOver(files)).rejects.toThrow('did not cosign');
    files.live.set(originHash('example.com/log'), Buffer.from('x'));
    await expect(witnessOver(files)).rejects.toThrow('example.com/log');
  });

  it('gives no cosignature that is not on its disk, at any crash', async () => {
    for (let step = 1; step <= 6; step++)
      for (const torn of [0, 0.9]) {
        const files = memoryFiles();
        const { post } = await witnessOver(files);
        const before = await post(await request(0, 8));
        expect(before.status).toBe(200);
        files.failAt(files.steps + step, torn);
        const answer = await post(await request(8, 20));
        const again = await witnessOver(memoryFiles(files.reboot(() => step % 2 === 0)));
        const size = Number((await again.post(await request(1, 30))).body);
        expect([8, 20]).toContain(size);
        if (answer.status === 200) expect(size).toBe(20);
        else expect(answer).toMatchObject({ status: 500 });
      }
  });

  it('works requests for one log off one after the other', async () => {
    const { post } = await witnessOver();
    await post(await request(0, 8));
    // The race of the specification: both are proven from 8; only one may win.
    const answers = await Promise.all([
      post(await request(8, 20)),
      post(await request(8, 12)),
      post(await request(8, 30)),
    ]);
    expect(answers.map(({ status }) => status)).toEqual([200, 409, 409]);
    expect(await post(await request(12, 30))).toMatchObject({ status: 409, body: '20\n' });
  });
});
