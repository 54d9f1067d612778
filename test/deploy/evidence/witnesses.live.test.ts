/** `telltale verify --all --witness URL=VKEY` against a witness that is a process of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CHECKPOINT_PATH, encodeHead, headOf, type TelltaleEvent, type TileFetch } from '#schemas';
import { checkFleet } from '../../../deploy/evidence/fleet.ts';
import { witnessOf } from '../../../deploy/evidence/keys.ts';
import { askWitnesses } from '../../../deploy/evidence/witnesses.ts';
import { formatAddCheckpoint } from '../../../ingest/seal/add-checkpoint.ts';
import { type LogWriter, openLog } from '../../../ingest/seal/log.ts';
import { createWitnessClient, type WitnessAddress } from '../../../ingest/seal/witnesses.ts';
import { fakeClock, fakeLog, fakeMeter } from '../../fakes/ports.ts';
import { memoryFiles } from '../../ingest/seal/memory.ts';
import { KEY, session, temporary } from '../../ingest/seal/rig.ts';

const ROOT = path.resolve(import.meta.dirname, '../../..');
const dir = temporary('witnesses');
let child: ChildProcess;
let address: WitnessAddress;

beforeAll(async () => {
  const node = ['--conditions=telltale-source', '--import', 'tsx', 'deploy/cli.ts'];
  const args = ['witness', '--dir', dir, '--port', '0', '--log', KEY.verifier.text];
  child = spawn(process.execPath, [...node, ...args], { cwd: ROOT });
  let text = '';
  for await (const chunk of child.stdout ?? []) {
    text += chunk;
    const found = /serves (\S+)\nwitness key: (\S+)\n/.exec(text);
    if (found === null) continue;
    address = witnessOf(`${found[1]}=${found[2]}`);
    return;
  }
  throw new Error(`the witness did not start: ${text}`);
});
afterAll(() => {
  child.kill('SIGKILL');
  fs.rmSync(dir, { recursive: true, force: true });
});

const post = async (url: string, body: string) => {
  const answer = await fetch(url, { method: 'POST', body });
  return { status: answer.status, body: await answer.text() };
};

const entriesOf = (events: readonly TelltaleEvent[]) =>
  events.flatMap((event) => {
    const head = headOf(event);
    return head === undefined ? [] : [encodeHead(head)];
  });

/** Appends a session, has the head cosigned by the process, and publishes it. */
async function seal(writer: LogWriter, read: TileFetch): Promise<void> {
  await writer.append(entriesOf(session('offhffc')));
  const ports = { clock: fakeClock(BigInt(Date.now()) * 1_000_000n), log: fakeLog() };
  const client = createWitnessClient(address, { ...ports, meter: fakeMeter(), post, read });
  const line = await client.cosign(writer.head, writer.note);
  await writer.publish(line === undefined ? [] : [line]);
}

async function faultsOf(read: TileFetch): Promise<readonly string[]> {
  const trust = { logKeys: [KEY.verifier], witnesses: [address.key] };
  const ask = (origin: string) => askWitnesses([address], origin);
  return (await checkFleet(read, trust, async () => undefined, ask)).logFaults;
}

describe('a witness that is asked by itself', { timeout: 60_000 }, () => {
  it('bears out the log that it saw, and gives away one that was cut or written anew', async () => {
    const files = memoryFiles();
    const writer = await openLog(files, KEY);
    await writer.append(entriesOf(session('oc')));
    await writer.publish([]);
    const never = await faultsOf(files.read);
    expect(never).toContain(`witness ${address.key.name}: has never cosigned this log`);

    await seal(writer, files.read);
    expect(await faultsOf(files.read)).toEqual([]);
    const older = new Map(files.live);
    await seal(writer, files.read);
    expect(await faultsOf(files.read)).toEqual([]);

    // The whole disk as it was before: signed, cosigned, one tree, and still not all.
    const back: TileFetch = async (name) => older.get(name);
    expect(await faultsOf(back)).toEqual([
      `witness ${address.key.name}: it saw 8 leaves, and the log shows 5: the log was cut or rolled back`,
    ]);

    // Another history of the same length, signed by the log's own key.
    const other = memoryFiles();
    const rewriter = await openLog(other, KEY);
    for (const plan of ['oc', 'offhffc', 'offhffc'])
      await rewriter.append(entriesOf(session(plan)));
    await rewriter.publish([]);
    const faults = await faultsOf(other.read);
    expect(faults.some((what) => what.includes('the log was written anew'))).toBe(true);

    // It does not cosign that one either.
    const refused = formatAddCheckpoint(8, [], rewriter.note);
    expect((await post(`${address.url}/add-checkpoint`, refused)).status).toBe(422);
    expect(older.get(CHECKPOINT_PATH)).toBeDefined();
  });

  it('says that it is away, and no more', async () => {
    const away = { ...address, url: 'http://127.0.0.1:9' };
    await expect(askWitnesses([away], KEY.verifier.name)).rejects.toThrow('does not answer at');
  });
});
