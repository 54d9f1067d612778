/**
 * The other end of gVisor's remote sink: each sandbox connects to our socket, both sides say their
 * version, and each message from then on is a header and a point.
 *
 *     0 --------- 16 ---------- 32 ----------- 64 -----------+
 *     | HeaderSize | MessageType | DroppedCount | Payload... |     little endian
 *     +---- 16 ----+---- 16 -----+----- 32 -----+------------+
 *
 * The sandbox is not trusted: whatever it sends is bounded, and its mistakes are counted.
 */
import fs from 'node:fs';
import type { Clock } from '#schemas';
import type { SinkItem } from './gvisor.ts';
import { handshakeOf, handshakeVersion } from './gvisor-points.ts';
import { type Listener, listenSeqpacket } from './seqpacket.ts';
import type { Source, SourceEvents } from './source.ts';

const VERSION = 1;
const HEADER_BYTES = 8;
/** gVisor's own example takes 300 KiB. */
const MESSAGE_BYTES_MAX = 1024 * 1024;
const SANDBOXES_MAX = 8;
const POLL_MS = 5;
/** Messages that are taken at once; the socket holds back what comes beyond. */
const BATCH_MESSAGES_MAX = 4096;
const DROPPED_WRAPS = 2 ** 32;

interface Sandbox {
  readonly connection: number;
  greeted: boolean;
  dropped: number;
}

export function gvisorSink(path: string, clock: Clock, on: SourceEvents): Source {
  const open = new Set<Sandbox>();
  let listener: Listener | undefined;
  let lost = 0;
  let stopping = false;
  let turn: Promise<void> = Promise.resolve();
  let stop = () => {};

  const leave = (sandbox: Sandbox) => {
    open.delete(sandbox);
    listener?.hangUp(sandbox.connection);
  };
  const greet = (sandbox: Sandbox, message: Buffer): boolean => {
    sandbox.greeted = (handshakeVersion(message) ?? 0) >= VERSION;
    if (sandbox.greeted) listener?.send(sandbox.connection, handshakeOf(VERSION));
    return sandbox.greeted;
  };
  /** Header and point; nothing where it is shorter than its header says. */
  const itemsOf = (sandbox: Sandbox, message: Buffer): readonly SinkItem[] => {
    const header = message.length < HEADER_BYTES ? 0 : message.readUInt16LE(0);
    if (header < HEADER_BYTES || header > message.length) {
      lost++;
      return [];
    }
    const total = message.readUInt32LE(4);
    const dropped = (total - sandbox.dropped + DROPPED_WRAPS) % DROPPED_WRAPS;
    sandbox.dropped = total;
    const item = { number: message.readUInt16LE(2), payload: message.subarray(header) };
    const ts = clock.wallNs().toString();
    return dropped === 0 ? [item] : [{ dropped, ts }, item];
  };
  /** What a sandbox has sent by now; it is left where it hangs up or does not greet. */
  const take = (sandbox: Sandbox, items: SinkItem[]) => {
    while (items.length < BATCH_MESSAGES_MAX) {
      const message = listener?.receive(sandbox.connection);
      if (message === undefined) return;
      if (message === 'cut') lost++;
      else if (message === 'end') return leave(sandbox);
      else if (sandbox.greeted) items.push(...itemsOf(sandbox, message));
      else if (!greet(sandbox, message)) return leave(sandbox);
    }
  };
  const read = async () => {
    if (listener === undefined) return;
    const before = open.size;
    while (open.size < SANDBOXES_MAX) {
      const connection = listener.accept();
      if (connection === undefined) break;
      open.add({ connection, greeted: false, dropped: 0 });
    }
    const items: SinkItem[] = [];
    for (const sandbox of open) take(sandbox, items);
    if (items.length > 0) await on.lines(items);
    if (before > 0 && open.size === 0 && !stopping) on.ended('the sandbox closed its connection');
  };
  const poll = () => {
    turn = turn.then(read);
    return turn;
  };
  return {
    async start() {
      // A socket that an earlier run left; a file of another kind is nobody's to remove.
      if (fs.existsSync(path) && fs.lstatSync(path).isSocket()) fs.unlinkSync(path);
      listener = listenSeqpacket(path, MESSAGE_BYTES_MAX);
      stop = clock.every(POLL_MS, () => void poll());
    },
    poll,
    async stop() {
      stop();
      stopping = true;
      await poll();
      for (const sandbox of open) leave(sandbox);
      listener?.close();
      listener = undefined;
    },
    get ready() {
      return [...open].some(({ greeted }) => greeted);
    },
    get lost() {
      return lost;
    },
  };
}
