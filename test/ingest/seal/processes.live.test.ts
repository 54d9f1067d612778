/**
 * The whole of it with real processes: `telltale up` with its log, `telltale witness`, SIGKILL to
 * both at any time, and an audit over HTTP that trusts neither.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, describe, expect, it } from 'vitest';
import {
  consistencyProof,
  frame,
  openCheckpoint,
  parseVerifierKey,
  type SignedCheckpoint,
  type TelltaleEvent,
  type TileFetch,
  tileReader,
  type VerifierKey,
  verifyConsistency,
} from '#schemas';
import { auditLog, lastHeads } from '../../../ingest/seal/audit.ts';
import { walkHeads } from '../../../ingest/seal/walk.ts';
import { originHash } from '../../../ingest/seal/witness.ts';
import { session, temporary } from './rig.ts';

const ROOT = path.resolve(import.meta.dirname, '../../..');
const dir = temporary('seal-live');
const alive = new Set<ChildProcess>();
afterAll(() => {
  for (const child of alive) child.kill('SIGKILL');
  fs.rmSync(dir, { recursive: true, force: true });
});

interface Running {
  readonly output: () => string;
  /** Waits for a line and gives its first group. */
  line(pattern: RegExp): Promise<string>;
  end(signal: NodeJS.Signals): Promise<void>;
}

function start(...args: string[]): Running {
  const node = ['--conditions=telltale-source', '--import', 'tsx', 'deploy/cli.ts', ...args];
  const child = spawn(process.execPath, node, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
  alive.add(child);
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (text += chunk));
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  return {
    output: () => text,
    async line(pattern) {
      const end = performance.now() + 60_000;
      for (;;) {
        const found = pattern.exec(text);
        if (found !== null) return found[1] as string;
        if (child.exitCode !== null || performance.now() > end)
          throw new Error(`no ${pattern} from ${args.join(' ')}:\n${text}`);
        await delay(50);
      }
    },
    async end(signal) {
      child.kill(signal);
      await ended;
      alive.delete(child);
    },
  };
}

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as net.AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const keyOf = (text: string): VerifierKey => {
  const key = parseVerifierKey(text);
  if (!key.ok) throw new Error(key.what);
  return key.value;
};

async function send(url: string, events: readonly TelltaleEvent[]): Promise<void> {
  let last = 'no answer';
  for (const end = performance.now() + 60_000; performance.now() < end; await delay(100)) {
    const headers = { 'content-type': 'application/x-telltale-frame' };
    const body = new Uint8Array(frame(events));
    const request = { method: 'POST', headers, body };
    const answer = await fetch(`${url}/v1/frames`, request).catch(() => undefined);
    if (answer?.status === 200) return;
    if (answer !== undefined) last = `${answer.status} ${await answer.text()}`;
  }
  throw new Error(`the frame was not taken: ${last}`);
}

const fetchOver =
  (prefix: string): TileFetch =>
  async (name) => {
    const answer = await fetch(`${prefix}/${name}`);
    return answer.status === 200 ? new Uint8Array(await answer.arrayBuffer()) : undefined;
  };

describe('telltale up and telltale witness', { timeout: 300_000 }, () => {
  it('keep a log that is cosigned, through SIGKILL of either, and that an audit bears out', async () => {
    const [upPort, witnessPort] = [await freePort(), await freePort()];
    const [url, witnessUrl] = [upPort, witnessPort].map((port) => `http://127.0.0.1:${port}`) as [
      string,
      string,
    ];
    const witnessArgs = ['witness', '--dir', `${dir}/witness`, '--port', String(witnessPort)];
    const first = start(...witnessArgs);
    const witnessKey = await first.line(/^witness key: (\S+)/m);
    await first.end('SIGTERM');
    const upArgs = ['up', '--data', `${dir}/data`, '--port', String(upPort)];
    const startUp = () => start(...upArgs, '--witness', `${witnessUrl}=${witnessKey}`);
    let up = startUp();
    const logKey = await up.line(/^transparency log: .* key: (\S+)/m);
    const startWitness = () => start(...witnessArgs, '--log', logKey);
    let witness = startWitness();
    await witness.line(/(serves)/);

    const [log, cosigner] = [keyOf(logKey), keyOf(witnessKey)];
    const read = fetchOver(`${url}/tlog`);
    const head = async (): Promise<SignedCheckpoint | undefined> => {
      const bytes = await read('checkpoint').catch(() => undefined);
      const opened = bytes && openCheckpoint(bytes, log, [cosigner]);
      return opened?.ok ? opened.value : undefined;
    };
    const until = async (test: (now: SignedCheckpoint) => boolean) => {
      for (const end = performance.now() + 90_000; performance.now() < end; await delay(100)) {
        const now = await head();
        if (now !== undefined && test(now)) return now;
      }
      throw new Error(`never:\n${up.output()}\n${witness.output()}`);
    };
    const cosigned = (size: number) => (now: SignedCheckpoint) =>
      now.size >= size && now.cosignatures.length === 1;

    const sent = [session('offhffc')];
    await send(url, sent[0] as TelltaleEvent[]);
    const seen = [await until(cosigned(2))];

    // Without its witness the log goes on, and is caught up with later.
    await witness.end('SIGKILL');
    sent.push(session('ofc'));
    await send(url, sent[1] as TelltaleEvent[]);
    const alone = await until((now) => now.size >= 4);
    expect(alone.cosignatures).toHaveLength(0);
    witness = startWitness();
    seen.push(await until(cosigned(4)));

    // The log dies in the midst of sealing, again and again.
    for (let round = 0; round < 3; round++) {
      const more = Array.from({ length: 12 }, () => session('oc'));
      sent.push(...more);
      const sending = Promise.all(more.map((events) => send(url, events)));
      await delay(600 + round * 450);
      await up.end('SIGKILL');
      if (round === 1) await witness.end('SIGKILL');
      up = startUp();
      if (round === 1) witness = startWitness();
      await sending;
      seen.push(await until(cosigned(4 + 24 * (round + 1))));
    }

    // A second sealer gets no hold of the directory, and says so.
    const second = start('seal', '--store', 'http://127.0.0.1:9', '--dir', `${dir}/data/tlog`);
    await second.line(/(in use by another process)/);

    const note = await fetch(`${witnessUrl}/${originHash(log.name)}/checkpoint`);
    const audit = await auditLog(read, log, [{ key: cosigner, note: await note.text() }]);
    expect(audit.faults).toEqual([]);
    const last = audit.checkpoint as SignedCheckpoint;
    // Every head that anyone was ever shown is a prefix of the last one.
    for (const one of seen) {
      const proof = await consistencyProof(one.size, last.size, tileReader(last.size, read));
      expect(verifyConsistency(one.size, last.size, proof, one.root, last.root)).toBe(true);
    }
    // Each stream is in it, closed, and no head is in it twice.
    expect(last.size).toBe(2 * sent.length);
    const heads = await lastHeads(walkHeads(last.size, read));
    expect(new Set(heads.map((leaf) => leaf.head.stream_id))).toEqual(
      new Set(sent.map((events) => events[0]?.stream_id)),
    );
    expect(heads.every((leaf) => leaf.head.final)).toBe(true);
    for (const process of [up, witness]) {
      expect(process.output()).not.toMatch(/"level":50/);
      await process.end('SIGTERM');
    }
  });
});
