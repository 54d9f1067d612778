/**
 * What the transparency log costs: appending 20,000 heads as the sealer does (500 at a time, each
 * durable), one proof, the memory of 100,000 streams, and a restart. CPU time beside wall time,
 * because wall time is the disk's and the neighbours'.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {
  consistencyProof,
  encodeHead,
  type Head,
  inclusionProof,
  leafHash,
  signerOf,
  tileReader,
  verifyInclusion,
} from '#schemas';
import { openLogFiles } from '../../ingest/seal/files.ts';
import { createLedger } from '../../ingest/seal/ledger.ts';
import { openLog } from '../../ingest/seal/log.ts';
import { checkTree, walkHeads } from '../../ingest/seal/walk.ts';

const HEADS = 20_000;
const STREAMS = 100_000;
const BATCH = 500;
const PROOFS = 200;

const digest = (n: number, salt: string) => leafHash(Buffer.from(`${salt} ${n}`)).toString('hex');
const headOf = (n: number): Head => ({
  tenant: 'default',
  session_id: `0193a5e0-0000-7000-8000-${n.toString(16).padStart(12, '0')}`,
  stream_id: `0193a5e1-0000-7000-8000-${n.toString(16).padStart(12, '0')}`,
  ...{ seq: 0, chain_count: 0, final: false },
  chain_head: digest(n, 'chain'),
  event_digest: digest(n, 'event'),
});

async function timed<T>(what: string, count: number, work: () => Promise<T>): Promise<T> {
  const cpu = process.cpuUsage();
  const start = performance.now();
  const result = await work();
  const wallMs = performance.now() - start;
  const { user, system } = process.cpuUsage(cpu);
  const cpuMs = (user + system) / 1000;
  const each = (cpuMs * 1000) / count;
  process.stdout.write(
    `${what.padEnd(44)} ${count} in ${wallMs.toFixed(0)} ms, CPU ${cpuMs.toFixed(0)} ms, ${each.toFixed(1)} us CPU each\n`,
  );
  return result;
}

function heapBytes(): number {
  global.gc?.();
  return process.memoryUsage().heapUsed;
}

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-bench-seal-'));
try {
  const files = await openLogFiles(dir);
  const key = signerOf('example.com/bench', 1, Buffer.alloc(32, 1));
  const log = await openLog(files, key);
  const heads = Array.from({ length: HEADS }, (_, n) => encodeHead(headOf(n)));
  await timed('append, 500 at a time, each durable', HEADS, async () => {
    for (let at = 0; at < HEADS; at += BATCH) await log.append(heads.slice(at, at + BATCH));
  });
  await timed('append, one at a time, each durable', 100, async () => {
    for (let n = 0; n < 100; n++) await log.append([encodeHead(headOf(HEADS + n))]);
  });
  const { size, root } = log.head;
  await timed('inclusion proof and its verification', PROOFS, async () => {
    for (let n = 0; n < PROOFS; n++) {
      const index = (n * 7919) % size;
      const proof = await inclusionProof(index, size, tileReader(size, files.read));
      const leaf = leafHash(encodeHead(headOf(index)));
      if (!verifyInclusion(leaf, index, size, proof, root)) throw new Error('a proof is wrong');
    }
  });
  await timed('consistency proof', PROOFS, async () => {
    for (let n = 1; n <= PROOFS; n++)
      await consistencyProof(n * 97, size, tileReader(size, files.read));
  });
  await timed('the whole tree made anew from its entries', size, async () => {
    if ((await checkTree(log.head, files.read)) !== undefined) throw new Error('the log is wrong');
  });
  await timed('restart: leaves read into the ledger', size, async () => {
    const ledger = createLedger();
    for await (const { head } of walkHeads(size, files.read)) ledger.add(head, 0);
  });
  const before = heapBytes();
  const ledger = createLedger();
  await timed('ledger of 100,000 streams, open and last', 2 * STREAMS, async () => {
    for (let n = 0; n < STREAMS; n++) {
      ledger.add(headOf(n), 0);
      ledger.add({ ...headOf(n), seq: 9 }, 0);
    }
  });
  const bytes = heapBytes() - before;
  process.stdout.write(
    `heap of the ledger: ${(bytes / 1e6).toFixed(1)} MB, ${(bytes / ledger.streams).toFixed(0)} bytes a stream\n`,
  );
} finally {
  fs.rmSync(dir, { recursive: true, force: true });
}
