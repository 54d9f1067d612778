/**
 * A store that stalls, in real time: `telltale run`, as a user starts it, records a command under the
 * kernel sensor and ships to an ingest end that takes connections and answers nobody. Then the end
 * answers, while the command goes on. All that the command did must be there once, in one chain:
 *
 *     files written = file events received, no number missing, closed, intact, no gap
 */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { type TelltaleEvent, unframe, verifyChain } from '#schemas';

const ROOT = path.resolve(import.meta.dirname, '../..');
const PER_SECOND = 50;
/** How long the command goes on after the end has begun to answer. */
const AFTER_S = 10;
/** What may be left to ship when the command is over. */
const DRAIN_MS = '120000';

/** Takes frames; holds every answer back until `openUp`. */
async function ingestEnd() {
  const received = new Map<number, TelltaleEvent>();
  const waiting: (() => void)[] = [];
  let open = false;
  let requests = 0;
  const server = http.createServer((request, response) => {
    const pieces: Buffer[] = [];
    requests++;
    request.on('data', (piece: Buffer) => pieces.push(piece));
    request.on('end', () => {
      const take = () => {
        for (const { event } of unframe(Buffer.concat(pieces)).good) received.set(event.seq, event);
        response.end('{}');
      };
      if (open) take();
      else waiting.push(take);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    received,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests: () => requests,
    openUp() {
      open = true;
      // Who asked has given up since; the spool still has it and sends it again.
      waiting.length = 0;
    },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A shell that writes `PER_SECOND` files a second and then says how many. */
const command = (seconds: number) => [
  ...['/bin/sh', '-c'],
  `i=0; s=0; while [ $s -lt ${seconds} ]; do k=0
   while [ $k -lt ${PER_SECOND} ]; do echo $i > f$i; i=$((i+1)); k=$((k+1)); done
   s=$((s+1)); sleep 1; done; echo $i > ../written`,
];

/** Stalls for `seconds`. */
export async function stalled(seconds = 600) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-stalled-'));
  const work = path.join(dir, 'work');
  fs.mkdirSync(work);
  const end = await ingestEnd();
  const flags = ['--to', end.url, '--spool', path.join(dir, 'spool'), '--drain-ms', DRAIN_MS];
  const node = ['--conditions=telltale-source', '--import', import.meta.resolve('tsx')];
  const cli = [...node, path.join(ROOT, 'deploy/cli.ts'), 'run', ...flags, '--'];
  const log = fs.openSync(path.join(dir, 'run.log'), 'w');
  const child = spawn(process.execPath, [...cli, ...command(seconds + AFTER_S)], {
    cwd: work,
    stdio: ['ignore', log, log],
  });
  const opening = setTimeout(end.openUp, seconds * 1000);
  const code = await new Promise((resolve) => child.on('exit', resolve));
  clearTimeout(opening);
  await end.close();
  fs.closeSync(log);

  const events = [...end.received.values()].sort((a, b) => a.seq - b.seq);
  const [first] = events;
  const written = Number(fs.readFileSync(path.join(dir, 'written'), 'utf8'));
  const paths = new Set(
    events.flatMap((event) =>
      event.kind === 'file' && event.file_op === 'create' && event.file_path.startsWith(`${work}/`)
        ? [event.file_path]
        : [],
    ),
  );
  const integrity = first === undefined ? 'nothing came' : verifyChain(first, events).verdict;
  const gaps = events.filter((event) => event.kind === 'gap').length;
  const good =
    code === 0 &&
    paths.size === written &&
    events.every((event, index) => event.seq === index) &&
    events.at(-1)?.kind === 'session.close' &&
    integrity === 'intact' &&
    gaps === 0;
  const told = { written, stored: paths.size, events: events.length, gaps, integrity };
  return { good, dir, seconds, code, ...told, requests: end.requests() };
}
