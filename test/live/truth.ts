/**
 * Ground truth of a load generator: what its collector numbered, in files that outlive a SIGKILL.
 *
 *     DIR/<stream id>.json       identity
 *     DIR/<stream id>.digests    16 bytes an event, in order: the head of SHA-256(canonical line)
 *     DIR/<stream id>.done       how many events the spool has taken, 4 bytes little-endian
 *
 * A digest is written before its event goes to the spool and the count after, so a killed collector
 * has numbered at least `done` and at most as many events as there are digests.
 */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import type { Spool } from '../../collector/spool.ts';
import type { StreamIdentity } from '../../collector/stamp.ts';

const DIGEST_BYTES = 16;

/** The digest under which a line stands in the truth. */
export const digestOf = (line: Uint8Array): Buffer =>
  createHash('sha256').update(line).digest().subarray(0, DIGEST_BYTES);

/** A spool that writes down, beside what it does, all that it is given. */
export function witnessed(spool: Spool, dir: string): Spool {
  const base = path.join(dir, spool.identity.stream_id);
  fs.writeFileSync(`${base}.json`, JSON.stringify(spool.identity));
  const digests = fs.openSync(`${base}.digests`, 'w');
  const done = fs.openSync(`${base}.done`, 'w');
  const count = Buffer.alloc(4);
  const append: Spool['append'] = (events) => {
    const first = events[0]?.event.seq ?? 0;
    const bytes = Buffer.concat(events.map((one) => digestOf(one.bytes)));
    fs.writeSync(digests, bytes, 0, bytes.length, first * DIGEST_BYTES);
    const taken = spool.append(events);
    if (taken && events.length > 0) {
      count.writeUInt32LE(first + events.length);
      fs.writeSync(done, count, 0, count.length, 0);
    }
    return taken;
  };
  return {
    identity: spool.identity,
    append,
    get isFull() {
      return spool.isFull;
    },
    peek: (bytesMax) => spool.peek(bytesMax),
    release: (seq) => spool.release(seq),
    get pending() {
      return spool.pending;
    },
    get pendingBytes() {
      return spool.pendingBytes;
    },
    close: (options) => spool.close(options),
  };
}

/** What one stream's collector numbered. */
export interface StreamTruth {
  readonly identity: StreamIdentity;
  /** Events that the spool has taken. */
  readonly done: number;
  /** Events that were given to it; more than `done` only where the collector was killed. */
  readonly given: number;
  digest(seq: number): Buffer;
}

/** The truth of all streams in `dir`. */
export function readTruth(dir: string): StreamTruth[] {
  const names = fs.readdirSync(dir).filter((name) => name.endsWith('.json'));
  return names.sort().map((name) => {
    const base = path.join(dir, name.slice(0, -'.json'.length));
    const digests = fs.readFileSync(`${base}.digests`);
    const done = fs.readFileSync(`${base}.done`);
    return {
      identity: JSON.parse(fs.readFileSync(`${base}.json`, 'utf8')),
      done: done.length === 4 ? done.readUInt32LE(0) : 0,
      given: Math.floor(digests.length / DIGEST_BYTES),
      digest: (seq) => digests.subarray(seq * DIGEST_BYTES, (seq + 1) * DIGEST_BYTES),
    };
  });
}
