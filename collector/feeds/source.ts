/**
 * Where a feed's lines come from: a file that grows (from its present end on), a socket that the
 * sensor connects to, gVisor's sink, or standard input. Lines wait for whoever takes them.
 */
import fs from 'node:fs';
import net from 'node:net';
import type { Readable } from 'node:stream';
import type { Clock } from '#schemas';
import { createTail, TAIL_DEFAULTS } from '../agents/tail.ts';
import { gvisorSink } from './gvisor-sink.ts';

export type FeedPlace =
  | { readonly from: 'file'; readonly path: string }
  | { readonly from: 'unix'; readonly path: string }
  | { readonly from: 'gvisor'; readonly path: string }
  | { readonly from: 'stdin'; readonly stream: Readable };

export interface Source {
  start(): Promise<void>;
  /** Reads what is there by now, where it has to be asked for. */
  poll(): Promise<void>;
  stop(): Promise<void>;
  /** Whether somebody is there who sends. */
  readonly ready: boolean;
  /** Lines that were too long, and files that were cut or replaced. */
  readonly lost: number;
}

export interface SourceEvents {
  /** Takes whole lines or messages, in order; what comes next waits for the promise. */
  lines(lines: readonly unknown[]): Promise<void>;
  /** Nothing comes any more, and nobody asked for that. */
  ended(reason: string): void;
}

const POLL_MS = 100;
const LINE_BYTES_MAX = 4 * 1024 * 1024;
/** Senders at once on a socket: a sensor and its successor. */
const SENDERS_MAX = 8;

function fileSource(file: string, clock: Clock, on: SourceEvents): Source {
  let batch: string[] = [];
  let turn: Promise<void> = Promise.resolve();
  const tail = createTail((line) => void batch.push(line), {
    ...TAIL_DEFAULTS,
    lineBytesMax: LINE_BYTES_MAX,
  });
  let stop = () => {};
  const read = async () => {
    await tail.poll();
    const lines = batch;
    batch = [];
    if (lines.length > 0) await on.lines(lines);
  };
  const poll = () => {
    turn = turn.then(read);
    return turn;
  };
  return {
    async start() {
      const size = fs.existsSync(file) ? fs.statSync(file).size : 0;
      tail.follow(file, size);
      stop = clock.every(POLL_MS, () => void poll());
    },
    poll,
    async stop() {
      stop();
      await poll();
    },
    get ready() {
      return fs.existsSync(file);
    },
    get lost() {
      return tail.lost;
    },
  };
}

/** Takes a stream's lines one chunk after the other; `lost` counts those that were too long. */
function createReader(on: SourceEvents, lost: () => void) {
  return async (stream: AsyncIterable<Buffer>): Promise<void> => {
    let rest = Buffer.alloc(0);
    let skipping = false;
    for await (const chunk of stream) {
      const bytes = Buffer.concat([rest, chunk]);
      const end = bytes.lastIndexOf(0x0a);
      const lines = end < 0 ? [] : bytes.toString('utf8', 0, end).split('\n');
      rest = bytes.subarray(end + 1);
      if (skipping && end >= 0) {
        lines.shift();
        skipping = false;
      }
      if (rest.length > LINE_BYTES_MAX) {
        rest = Buffer.alloc(0);
        if (!skipping) lost();
        skipping = true;
      }
      const whole = lines.filter((line) => line !== '');
      if (whole.length > 0) await on.lines(whole);
    }
  };
}

function unixSource(path: string, on: SourceEvents): Source {
  let lost = 0;
  let stopping = false;
  const open = new Set<net.Socket>();
  const read = createReader(on, () => lost++);
  const server = net.createServer((socket) => {
    open.add(socket);
    read(socket)
      .catch(() => {})
      .finally(() => {
        open.delete(socket);
        if (open.size === 0 && !stopping) on.ended('the sensor closed its connection');
      });
  });
  server.maxConnections = SENDERS_MAX;
  return {
    async start() {
      // A socket that an earlier run left; a file of another kind is nobody's to remove.
      if (fs.existsSync(path) && fs.lstatSync(path).isSocket()) fs.unlinkSync(path);
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(path, resolve);
      });
    },
    async poll() {},
    async stop() {
      stopping = true;
      for (const socket of open) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
    get ready() {
      return open.size > 0;
    },
    get lost() {
      return lost;
    },
  };
}

function stdinSource(stream: Readable, on: SourceEvents): Source {
  let lost = 0;
  let stopping = false;
  const read = createReader(on, () => lost++);
  return {
    async start() {
      read(stream)
        .catch(() => {})
        .finally(() => stopping || on.ended('standard input ended'));
    },
    async poll() {},
    async stop() {
      stopping = true;
      stream.destroy();
    },
    ready: true,
    get lost() {
      return lost;
    },
  };
}

export function openSource(place: FeedPlace, clock: Clock, on: SourceEvents): Source {
  if (place.from === 'file') return fileSource(place.path, clock, on);
  if (place.from === 'gvisor') return gvisorSink(place.path, clock, on);
  return place.from === 'unix' ? unixSource(place.path, on) : stdinSource(place.stream, on);
}
