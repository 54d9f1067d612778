/**
 * Exports of a session of a million events over HTTP, in each format: time, CPU, bytes, and how much
 * the heap grows. The heap is looked at behind a full collection, twice a second, and as it stands.
 *
 *     node --expose-gc --conditions=telltale-source --import tsx test/bench/export.ts [--events N]
 *         [--format F]
 */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import Fastify from 'fastify';
import type { Store } from '#schemas';
import { migrate } from '../../deploy/migrate.ts';
import { createClock } from '../../deploy/process/clock.ts';
import { openStore } from '../../deploy/stores/open.ts';
import { FORMATS } from '../../query/export/formats.ts';
import { registerQuery } from '../../query/server.ts';
import { fakeLog, fakeMeter } from '../fakes/ports.ts';
import { accessOf, viewer } from '../query/access.ts';

const TENANT = 'acme';
const SESSION = '0193a5e0-0000-7000-8000-00000000000a';
const STREAM = '0193a5e0-0000-7000-8000-0000000000a1';
const SAMPLE_MS = 500;
/** What the issue asks for. */
const HEAP_GROWTH_MAX_MB = 64;
const BATCH = 250_000;

const { values } = parseArgs({
  options: { events: { type: 'string', default: '1000000' }, format: { type: 'string' } },
});
const events = Number(values.events);

/** Rows as a busy session has them: a sixth model text, a quarter programs with arguments, files. */
async function fill(store: Store): Promise<void> {
  for (let from = 0; from < events; from += BATCH) {
    const count = Math.min(BATCH, events - from);
    await store.command(`INSERT INTO telltale.events (tenant, session_id, stream_id, seq, kind, ts,
        observed_ts, source, assurance, agent, host, user, turn_id, tool_call_id, pid, ppid, exe, argv,
        cwd, file_op, file_path, file_bytes, text, output, content_salt)
      SELECT '${TENANT}', toUUID('${SESSION}'), toUUID('${STREAM}'), n, k,
        fromUnixTimestamp64Nano(1764000000000000000 + n * 1000000, 'UTC') AS at, at, 'seccomp', 'observed',
        'codex', 'box-1', 'agent', concat('turn_', toString(intDiv(n, 500))),
        concat('call_', toString(intDiv(n, 20))), 100 + n % 3000, 1,
        if(k = 'exec', concat('/usr/bin/tool-', toString(n % 40)), ''),
        if(k = 'exec', ['tool', '--input', concat('/srv/app/', hex(sipHash64(n)))], []),
        if(k = 'exec', '/srv/app', ''), if(k = 'file', 'write', ''),
        if(k = 'file', concat('/srv/app/src/', hex(sipHash64(n % 5000))), ''),
        if(k = 'file', n, NULL), if(k = 'model.turn', repeat(hex(sipHash64(n)), 40), ''),
        if(k = 'tool.result', repeat(hex(sipHash64(n + 1)), 30), ''), lower(hex(sipHash128(n)))
      FROM (SELECT number + ${from} AS n, multiIf(n % 6 = 0, 'model.turn', n % 6 = 1, 'tool.result',
        n % 6 IN (2, 3), 'file', n % 6 = 4, 'exec', 'exit') AS k FROM numbers(${count}))`);
  }
}

const MB = 1024 ** 2;
const collect = (globalThis as { gc?: () => void }).gc;

interface Figures {
  readonly bytes: number;
  readonly ms: number;
  readonly cpuMs: number;
  readonly heapMb: number;
  readonly rawHeapMb: number;
  readonly rssMb: number;
  readonly sha256: string;
}

/** One export, read and dropped; what it costs. */
async function measure(url: string): Promise<Figures> {
  collect?.();
  const base = process.memoryUsage();
  const cpu = process.cpuUsage();
  const start = performance.now();
  let [heap, raw, rss, bytes] = [0, 0, 0, 0];
  const sample = () => {
    raw = Math.max(raw, process.memoryUsage().heapUsed - base.heapUsed);
    collect?.();
    heap = Math.max(heap, process.memoryUsage().heapUsed - base.heapUsed);
    rss = Math.max(rss, process.memoryUsage().rss - base.rss);
  };
  const timer = setInterval(sample, SAMPLE_MS);
  const digest = createHash('sha256');
  await new Promise<void>((resolve, reject) => {
    http
      .get(url, (answer) => {
        if (answer.statusCode !== 200) reject(new Error(`status ${answer.statusCode}`));
        answer.on('data', (piece: Buffer) => {
          bytes += piece.length;
          digest.update(piece);
        });
        answer.on('end', () => (answer.complete ? resolve() : reject(new Error('broken off'))));
      })
      .on('error', reject);
  });
  clearInterval(timer);
  sample();
  const { user, system } = process.cpuUsage(cpu);
  return {
    bytes,
    ms: performance.now() - start,
    cpuMs: (user + system) / 1000,
    heapMb: heap / MB,
    rawHeapMb: raw / MB,
    rssMb: rss / MB,
    sha256: digest.digest('hex').slice(0, 12),
  };
}

async function main(): Promise<number> {
  if (collect === undefined) throw new Error('start it with --expose-gc');
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-export-'));
  const log = fakeLog();
  const store = await openStore(`chdb:${dir}`, { log });
  const app = Fastify();
  let worst = 0;
  try {
    await migrate(store, { log });
    await fill(store);
    const access = accessOf(viewer(TENANT));
    await registerQuery(app, { store, log, meter: fakeMeter(), clock: createClock(), ...access });
    await app.listen({ host: '127.0.0.1', port: 0 });
    const port = (app.server.address() as AddressInfo).port;
    const at = (format: string, more = '') =>
      `http://127.0.0.1:${port}/v1/sessions/${SESSION}/events?format=${format}${more}`;
    const formats = values.format === undefined ? Object.keys(FORMATS) : [values.format];
    for (const format of formats) {
      // Once over a part, so that code is compiled and caches are there.
      await measure(at(format, '&kinds=exit'));
      const found = await measure(at(format));
      worst = Math.max(worst, found.heapMb);
      process.stdout.write(
        `${format.padEnd(8)} ${events} events  ${(found.bytes / MB).toFixed(0)} MB  ${(found.ms / 1000).toFixed(1)} s wall  ` +
          `${(found.cpuMs / 1000).toFixed(1)} s CPU  heap +${found.heapMb.toFixed(1)} MB behind GC, ` +
          `+${found.rawHeapMb.toFixed(1)} MB as it stands  RSS +${found.rssMb.toFixed(0)} MB  ${found.sha256}\n`,
      );
    }
  } finally {
    await app.close();
    await store.close();
    fs.rmSync(dir, { recursive: true, force: true });
  }
  if (worst <= HEAP_GROWTH_MAX_MB) return 0;
  process.stdout.write(`heap growth ${worst.toFixed(1)} MB is above ${HEAP_GROWTH_MAX_MB} MB\n`);
  return 1;
}

process.exitCode = await main();
