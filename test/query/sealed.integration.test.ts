/** Each fact of a triage packet with what the transparency log holds of it, or why it shows nothing. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  encodeHead,
  type Head,
  headOf,
  leafHash,
  openCheckpoint,
  type TileFetch,
  verifyInclusion,
} from '#schemas';
import { openLog } from '../../ingest/seal/log.ts';
import { memoryFiles } from '../ingest/seal/memory.ts';
import { KEY } from '../ingest/seal/rig.ts';
import { eventsIn, insertEvents, SESSION, stampStream } from './seed.ts';
import { openTestStore, serve, type TestStore } from './service.ts';

const stamped = stampStream();
const heads = eventsIn(stamped).flatMap((event) => headOf(event) ?? []);
const [opened, closed] = [heads[0] as Head, heads.at(-1) as Head];
/** Heads of streams that nobody asks for, so that the log has more than one tile. */
const others = (count: number): Head[] =>
  Array.from({ length: count }, (_, n) => ({
    ...opened,
    tenant: n % 2 === 0 ? opened.tenant : 'globex',
    stream_id: `0193a5e0-0000-7000-8000-0000000${String(10_000 + n)}`,
  }));

/** The files of a log that holds these heads. */
async function logOf(list: readonly Head[], publish = true): Promise<Map<string, Buffer>> {
  const files = memoryFiles();
  const log = await openLog(files, KEY);
  await log.append(list.map(encodeHead));
  if (publish) await log.publish([]);
  return files.live;
}
const fetchOf =
  (files: ReadonlyMap<string, Buffer>): TileFetch =>
  async (path) =>
    files.get(path);

const ASK = `{ triage(session: "${SESSION}") { request { proof { seq log { status reason leaf index treeSize hashes checkpoint } } } } }`;
let test: TestStore;
async function proofOf(tlog: TileFetch | undefined) {
  const service = await serve(test.store, undefined, tlog === undefined ? {} : { tlog });
  const { data, errors } = await service.ask(ASK);
  await service.app.close();
  expect(errors).toBeUndefined();
  return data?.triage.request[0].proof.log;
}

beforeAll(async () => {
  test = await openTestStore();
  await insertEvents(test.store, stamped);
});
afterAll(() => test.close());

describe('the proof of a fact in the transparency log', () => {
  it('is the head behind it, with an audit path that anybody can follow to the signed root', async () => {
    const list = [...others(300), opened, ...others(5), closed, ...others(2)];
    const log = await proofOf(fetchOf(await logOf(list)));
    expect(log).toMatchObject({ status: 'included', index: 306, treeSize: list.length });
    expect(JSON.parse(log.leaf)).toMatchObject({ seq: closed.seq, final: true });
    const tree = openCheckpoint(log.checkpoint, KEY.verifier);
    if (!tree.ok) throw new Error(tree.what);
    const { size, root } = tree.value;
    const path = log.hashes.map((hash: string) => Buffer.from(hash, 'hex'));
    const leaf = leafHash(Buffer.from(log.leaf));
    expect(verifyInclusion(leaf, log.index, size, path, root)).toBe(true);
    expect(verifyInclusion(leaf, log.index - 1, size, path, root)).toBe(false);
  });

  it('is none for exactly one reason', async () => {
    expect(await proofOf(undefined)).toMatchObject({
      status: 'none',
      reason: expect.stringContaining('--tlog'),
      leaf: null,
    });
    const reasonOf = async (tlog: TileFetch) => (await proofOf(tlog)).reason;
    expect(await reasonOf(fetchOf(await logOf([opened], false)))).toMatch(/no checkpoint yet/);
    const early = fetchOf(await logOf([opened, ...others(3)]));
    expect(await reasonOf(early)).toMatch(/no head of the stream at or behind number \d+ yet/);
    const away: TileFetch = async () => {
      throw new Error('connect ECONNREFUSED 192.0.2.1:1');
    };
    expect(await reasonOf(away)).toBe('the log can’t be read at the moment');
    const files = await logOf([...others(3), opened, closed]);
    for (const [name, bytes] of files)
      if (name.startsWith('tile/0/')) files.set(name, Buffer.from(bytes).fill(7, 0, 32));
    expect(await reasonOf(fetchOf(files))).toMatch(/do not prove its entry 4/);
    for (const name of [...files.keys()]) if (name.startsWith('tile/0/')) files.delete(name);
    expect(await reasonOf(fetchOf(files))).toMatch(/at fault: tile\/0\//);
  });

  it('says where the log holds another history than the store', async () => {
    const told = async (head: Head) => proofOf(fetchOf(await logOf([opened, head])));
    const forged = { ...closed, event_digest: 'ab'.repeat(32) };
    expect(await told(forged)).toMatchObject({
      status: 'contradicted',
      reason: `the event at number ${closed.seq} is not the one that the log vouches for`,
      index: 1,
    });
    expect((await told({ ...closed, chain_head: 'cd'.repeat(32) })).status).toBe('contradicted');
    const longer = { ...closed, seq: closed.seq + 5, chain_count: closed.seq + 5 };
    expect((await told(longer)).reason).toMatch(/the store has no such event/);
  });
});
