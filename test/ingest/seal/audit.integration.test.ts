/** Attacks by who runs the store or the log, each found by the audit. */
import fs from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import {
  commitmentOf,
  digestOf,
  FIELDS,
  type Head,
  openCheckpoint,
  parseNote,
  signerOf,
  type TelltaleEvent,
  type TileFetch,
} from '#schemas';
import { auditHeads, auditLog, lastHeads } from '../../../ingest/seal/audit.ts';
import { openLogFiles } from '../../../ingest/seal/files.ts';
import { headsAt } from '../../../ingest/seal/heads.ts';
import { openLog } from '../../../ingest/seal/log.ts';
import { walkHeads } from '../../../ingest/seal/walk.ts';
import { createWitness, originHash, type WitnessService } from '../../../ingest/seal/witness.ts';
import { createWitnessClient, type Post } from '../../../ingest/seal/witnesses.ts';
import { fakeClock, fakeLog, fakeMeter } from '../../fakes/ports.ts';
import { useEngine } from '../engine.ts';
import { memoryFiles } from './memory.ts';
import { insert, KEY, rig, session, temporary } from './rig.ts';

const engine = useEngine();
const dirs: string[] = [];
const fresh = () => {
  dirs.push(temporary('audit'));
  return dirs.at(-1) as string;
};
afterAll(() => {
  for (const dir of dirs) fs.rmSync(dir, { recursive: true, force: true });
});

const WITNESS = signerOf('example.com/witness', 4, Buffer.alloc(32, 9));
const clock = fakeClock(BigInt(Date.now()) * 1_000_000n);

/** A witness behind a wire that can be cut; it keeps its memory over all runs of a log. */
async function witnessOf() {
  const shared = { clock, meter: fakeMeter(), log: fakeLog() };
  const service: WitnessService = await createWitness({
    ...{ ...shared, files: memoryFiles(), key: WITNESS },
    logs: [KEY.verifier],
  });
  const wire = { cut: false };
  const post: Post = async (_url, body) => {
    if (wire.cut) throw new Error('connection refused');
    const answer = await service.add(Buffer.from(body));
    const text =
      answer.status === 200 ? answer.body : answer.status === 409 ? `${answer.size}\n` : '';
    return { status: answer.status, body: text };
  };
  const note = () => service.latest(originHash(KEY.verifier.name));
  return { post, note, wire };
}
type Witness = Awaited<ReturnType<typeof witnessOf>>;

/** A run of the sealer over a log, with the witness. */
async function run(dir: string, witness: Witness) {
  const files = await openLogFiles(dir);
  const [log, meter] = [fakeLog(), fakeMeter()];
  const client = createWitnessClient(
    { url: 'http://witness', key: WITNESS.verifier },
    { post: witness.post, read: files.read, clock, log, meter },
  );
  const made = await rig({ store: engine.store, dir, clock, witnesses: [client] });
  const published = async () => {
    const bytes = (await files.read('checkpoint')) as Buffer;
    const opened = openCheckpoint(bytes, KEY.verifier, [WITNESS.verifier]);
    if (!opened.ok) throw new Error(opened.what);
    return opened.value;
  };
  return { ...made, published, witnessLog: log };
}

const audit = (fetch: TileFetch, witness: Witness) =>
  auditLog(fetch, KEY.verifier, [{ key: WITNESS.verifier, note: witness.note() }]);
const whats = (found: Awaited<ReturnType<typeof audit>>) =>
  found.faults.map(({ where, what }) => `${where}: ${what}`);

async function headFaults(size: number, fetch: TileFetch) {
  const faults: { what: string; head: Head }[] = [];
  const lookup = (heads: readonly Head[]) => headsAt(engine.store, heads);
  for await (const { what, leaf } of auditHeads(walkHeads(size, fetch), lookup))
    faults.push({ what, head: leaf.head });
  return faults;
}
const alter = (text: string) =>
  engine.store.command(`ALTER TABLE telltale.events ${text} SETTINGS mutations_sync = 1`);

/** A log of some sessions, cosigned, that the audit finds nothing in. */
async function sealed() {
  const dir = fresh();
  const witness = await witnessOf();
  const first = await run(dir, witness);
  const sessions = [session('offhffc'), session('offc'), session('off')];
  await insert(engine.store, sessions.flat());
  await first.sealer.round();
  expect((await first.published()).cosignatures).toHaveLength(1);
  expect(await audit(first.files.read, witness)).toMatchObject({ faults: [] });
  const { size } = await first.published();
  const before = await headFaults(size, first.files.read);
  return { dir, witness, first, sessions, size, before };
}
const copyOf = (dir: string) => {
  const copy = `${fresh()}/copy`;
  fs.cpSync(dir, copy, { recursive: true });
  return copy;
};
const restore = (copy: string, dir: string) => {
  fs.rmSync(dir, { recursive: true });
  fs.cpSync(copy, dir, { recursive: true });
};

describe('who has the store', () => {
  it('removes a whole session, and each of its heads is missed', async () => {
    const { first, sessions, size, before } = await sealed();
    expect(before).toEqual([]);
    const [gone] = sessions as [TelltaleEvent[]];
    await alter(`DELETE WHERE session_id = '${gone[0]?.session_id}'`);
    const faults = await headFaults(size, first.files.read);
    expect(faults.map(({ what, head }) => [what, head.session_id, head.seq])).toEqual([
      ['missing', gone[0]?.session_id, 0],
      ['missing', gone[0]?.session_id, 6],
    ]);
  });

  it('cuts the close off, and it is missed', async () => {
    const { first, sessions, size, before } = await sealed();
    const [, cut] = sessions as [TelltaleEvent[], TelltaleEvent[]];
    await alter(`DELETE WHERE session_id = '${cut[0]?.session_id}' AND seq = 3`);
    const faults = (await headFaults(size, first.files.read)).slice(before.length);
    expect(faults).toMatchObject([{ what: 'missing', head: { seq: 3, final: true } }]);
  });

  it('changes a sealed event, and another one is found', async () => {
    const { first, sessions, size, before } = await sealed();
    const id = sessions[1]?.[0]?.session_id;
    await alter(`UPDATE close_reason = 'failed' WHERE session_id = '${id}' AND seq = 3`);
    const faults = (await headFaults(size, first.files.read)).slice(before.length);
    expect(faults).toMatchObject([{ what: 'other', head: { session_id: id, seq: 3 } }]);
  });

  it('replaces a session by another of the same name, and the log remembers the first', async () => {
    const { first, sessions, before } = await sealed();
    const [target] = sessions as [TelltaleEvent[]];
    const id = target[0]?.session_id;
    await alter(`DELETE WHERE session_id = '${id}'`);
    const forged = target.map((event) => ({ ...event, cwd: undefined, host: 'other' }));
    await insert(
      engine.store,
      JSON.parse(JSON.stringify(forged)),
      Number(clock.wallNs() / 1_000_000n),
    );
    await alter(`UPDATE ingested_at = now64(3) WHERE session_id = '${id}'`);
    // The sealer sees no doubled place, because the first row is gone: it is the audit that finds it.
    const { size } = await first.published();
    const faults = (await headFaults(size, first.files.read)).slice(before.length);
    expect(faults.map(({ what, head }) => [what, head.seq])).toEqual([
      ['other', 0],
      ['other', 6],
    ]);
  });
});

describe('a person’s right', () => {
  it('erases content of a sealed event, and the log still vouches for it', async () => {
    const { first, sessions, size, before } = await sealed();
    const open = sessions[1]?.[0] as TelltaleEvent & { content_salt: string };
    const field = FIELDS.command_args;
    const commitment = commitmentOf(open.content_salt, 'command_args', field, ['sh']);
    await alter(
      `UPDATE command_args = [], content_salt = '', erased = map('command_args', '${commitment}') ` +
        `WHERE session_id = '${open.session_id}' AND seq = 0`,
    );
    const [head] = await headsAt(engine.store, [open]);
    expect(head?.event_digest).toBe(digestOf(open));
    expect((await headFaults(size, first.files.read)).slice(before.length)).toEqual([]);
    await alter(
      `UPDATE erased = map('command_args', '${'0'.repeat(64)}') ` +
        `WHERE session_id = '${open.session_id}' AND seq = 0`,
    );
    const faults = (await headFaults(size, first.files.read)).slice(before.length);
    expect(faults).toMatchObject([{ what: 'other', head: { seq: 0 } }]);
  });
});

describe('who has the log', () => {
  it('removes a session and begins the log anew: no witness cosigns it, and the audit says why', async () => {
    const { dir, witness, sessions, size } = await sealed();
    await alter(`DELETE WHERE session_id = '${sessions[0]?.[0]?.session_id}'`);
    fs.rmSync(dir, { recursive: true });
    const second = await run(dir, witness);
    // The sealer makes another log of what is in the table.
    await second.sealer.round();
    expect((await second.published()).cosignatures).toHaveLength(0);
    const found = whats(await audit(second.files.read, witness));
    expect(found[0]).toBe('checkpoint: it is not cosigned by example.com/witness');
    expect(found[1]).toMatch(/^witness example.com\/witness: (it saw|the tree does not go on)/);
    const refused = second.witnessLog.lines.filter(({ event }) => event === 'seal.witness_refused');
    expect(refused).toHaveLength(1);
    expect(size).toBeGreaterThan(0);
  });

  it('empties it and leaves it so', async () => {
    const { dir, witness } = await sealed();
    fs.rmSync(dir, { recursive: true });
    const files = await openLogFiles(dir);
    expect(whats(await audit(files.read, witness))).toEqual(['checkpoint: the log has none']);
  });

  it('rolls it back to an older copy: the copy is cosigned, but the witness saw more', async () => {
    const { dir, witness, first, size } = await sealed();
    const old = copyOf(dir);
    const more = session('ofc');
    await insert(engine.store, more, Number(clock.wallNs() / 1_000_000n));
    await first.sealer.round();
    expect((await first.published()).size).toBe(size + 2);
    restore(old, dir);
    expect((await first.published()).cosignatures).toHaveLength(1);
    expect(whats(await audit(first.files.read, witness))).toEqual([
      `witness example.com/witness: it saw ${size + 2} leaves, and the log shows ${size}: the log was cut or rolled back`,
    ]);
    // Without the row that was sealed last it would go on as if nothing had been: a fork.
    await alter(`DELETE WHERE session_id = '${more[0]?.session_id}'`);
    await insert(
      engine.store,
      [...session('oc'), ...session('oc')],
      Number(clock.wallNs() / 1_000_000n),
    );
    const second = await run(dir, witness);
    await second.sealer.round();
    expect((await second.published()).size).toBeGreaterThan(size + 2);
    const found = whats(await audit(second.files.read, witness));
    expect(found).toEqual([
      'checkpoint: it is not cosigned by example.com/witness',
      `witness example.com/witness: the tree does not go on from the ${size + 2} leaves that it saw: the log was written anew`,
    ]);
    expect(second.witnessLog.lines).toMatchObject([
      { level: 'error', event: 'seal.witness_refused', fields: { error: 'it answers 422' } },
    ]);
  });

  it('shows one of two forks to each reader: only one of them can be cosigned', async () => {
    const { dir, witness, first } = await sealed();
    const fork = copyOf(dir);
    const other = await openLog(await openLogFiles(fork), KEY);
    await insert(engine.store, session('oc'), Number(clock.wallNs() / 1_000_000n));
    await first.sealer.round();
    expect(await audit(first.files.read, witness)).toMatchObject({ faults: [] });
    await other.append([Buffer.from('{}'), Buffer.from('{}')]);
    // The cosignature of the true tree does not fit the other one.
    const cosignature = (await first.published()).cosignatures[0]?.line as string;
    await other.publish([cosignature]);
    const files = await openLogFiles(fork);
    expect(whats(await audit(files.read, witness))).toEqual([
      'checkpoint: the signature of example.com/witness is wrong',
    ]);
    await other.publish([]);
    expect(whats(await audit(files.read, witness))).toEqual([
      'checkpoint: it is not cosigned by example.com/witness',
      expect.stringContaining('the log was written anew'),
    ]);
  });

  it('changes a leaf, a tile, the signature or the key', async () => {
    const { dir, witness } = await sealed();
    const files = await openLogFiles(dir);
    const names = fs.readdirSync(dir, { recursive: true }).map(String);
    const paths = names.filter((name) => /\.p\/\d+$/.test(name));
    expect(paths.length).toBeGreaterThan(1);
    for (const name of [...paths, 'checkpoint']) {
      const bytes = (await files.read(name)) as Buffer;
      for (const at of [0, Math.floor(bytes.length / 2), bytes.length - 3]) {
        const bent = Buffer.from(bytes);
        bent[at] = (bent[at] as number) ^ 1;
        const fetch: TileFetch = async (path) => (path === name ? bent : files.read(path));
        expect((await audit(fetch, witness)).faults.length, `${name} ${at}`).toBeGreaterThan(0);
      }
    }
    const stranger = signerOf(KEY.verifier.name, 1, Buffer.alloc(32, 77));
    const note = { key: WITNESS.verifier, note: witness.note() };
    expect(whats(await auditLog(files.read, stranger.verifier, [note]))).toEqual([
      `checkpoint: it is not signed by ${KEY.verifier.name}`,
    ]);
  });
});

describe('the witness', () => {
  it('is away: the head is published without it, said once, and caught up with', async () => {
    const dir = fresh();
    const witness = await witnessOf();
    const { sealer, published, witnessLog } = await run(dir, witness);
    await insert(engine.store, session('oc'), Number(clock.wallNs() / 1_000_000n));
    witness.wire.cut = true;
    await sealer.round();
    const { size } = await published();
    expect(size).toBeGreaterThan(0);
    expect((await published()).cosignatures).toHaveLength(0);
    for (let i = 0; i < 10; i++) {
      clock.advance(1_000);
      await sealer.round();
    }
    expect(witnessLog.lines).toMatchObject([{ level: 'warn', event: 'seal.witness_away' }]);
    witness.wire.cut = false;
    clock.advance(60_000);
    await sealer.round();
    expect(await published()).toMatchObject({ size, cosignatures: [{ key: WITNESS.verifier }] });
    expect(witnessLog.lines.at(-1)).toMatchObject({ level: 'info', event: 'seal.witness_back' });
    expect(await audit((await openLogFiles(dir)).read, witness)).toMatchObject({ faults: [] });
  });

  it('is away when the log starts again: the cosignature that it gave stays', async () => {
    const dir = fresh();
    const witness = await witnessOf();
    const first = await run(dir, witness);
    await insert(engine.store, session('oc'), Number(clock.wallNs() / 1_000_000n));
    await first.sealer.round();
    const before = await first.published();
    expect(before.cosignatures).toHaveLength(1);
    witness.wire.cut = true;
    const second = await run(dir, witness);
    await second.sealer.round();
    expect((await second.published()).cosignatures[0]?.line).toBe(before.cosignatures[0]?.line);
  });

  it('is asked again after ten minutes, so that its time says how old the head may be', async () => {
    const witness = await witnessOf();
    const { sealer, published } = await run(fresh(), witness);
    await insert(engine.store, session('oc'), Number(clock.wallNs() / 1_000_000n));
    await sealer.round();
    const first = (await published()).cosignatures[0]?.seconds as number;
    clock.advance(300_000);
    await sealer.round();
    expect((await published()).cosignatures[0]?.seconds).toBe(first);
    clock.advance(301_000);
    await sealer.round();
    expect((await published()).cosignatures[0]?.seconds).toBeGreaterThan(first + 600);
  });

  it('lies: an answer that is not its cosignature is not published', async () => {
    const dir = fresh();
    const files = await openLogFiles(dir);
    const log = fakeLog();
    for (const body of [
      '',
      'x\n',
      `— example.com/witness ${Buffer.alloc(76).toString('base64')}\n`,
    ]) {
      const client = createWitnessClient(
        { url: 'http://witness', key: WITNESS.verifier },
        {
          ...{ clock, log, meter: fakeMeter(), read: files.read },
          post: async () => ({ status: 200, body }),
        },
      );
      const { sealer } = await rig({ store: engine.store, dir, clock, witnesses: [client] });
      await sealer.round();
      const note = parseNote((await files.read('checkpoint')) as Buffer);
      expect(note.ok && note.value.signatures).toHaveLength(1);
    }
    expect(log.lines.length).toBe(3);
  });
});

describe('lastHeads', () => {
  it('gives for each stream its newest head', async () => {
    const { sealer, writer, files } = await rig({ store: engine.store, dir: fresh(), clock });
    const events = session('ofhc');
    await insert(engine.store, events, Number(clock.wallNs() / 1_000_000n));
    await sealer.round();
    const last = await lastHeads(walkHeads(writer.head.size, files.read));
    const mine = last.filter(({ head }) => head.stream_id === events[0]?.stream_id);
    expect(mine.map(({ head }) => [head.seq, head.final])).toEqual([[3, true]]);
    expect(new Set(last.map(({ head }) => head.stream_id)).size).toBe(last.length);
  });
});
