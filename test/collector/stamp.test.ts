/** Salts and keys: random to others, the same for the same random source, and gone after use. */
import { createPrivateKey, sign } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import {
  checkpointStatement,
  createChain,
  type Draft,
  digestOf,
  type EventOf,
  type Random,
  type TelltaleEvent,
  verifyChain,
} from '#schemas';
import { createStamper } from '../../collector/stamp.ts';
import { fakeClock, fakeRandom } from '../fakes/ports.ts';
import { CLOSE_SEQ, HEARTBEAT_SEQS, identity, recordedStream } from '../schemas/streams.ts';
import { fileDraft } from './drafts.ts';

const SEED_BYTES = 32;

/** A random source that keeps hold of what it gave, and a copy of what it was. */
function watchedRandom(inner: Random = fakeRandom()) {
  const given: { readonly live: Uint8Array; readonly copy: Uint8Array }[] = [];
  const bytes = (count: number) => {
    const live = inner.bytes(count);
    given.push({ live, copy: Uint8Array.from(live) });
    return live;
  };
  return { bytes, given };
}

const prompt = (text: string): Draft =>
  ({
    kind: 'prompt',
    ts: '1764000000000000001',
    source: 'otlp',
    assurance: 'reported',
    prompt: text,
  }) as Draft;
const heartbeat = {
  kind: 'session.heartbeat',
  ts: '1764000000000000002',
  source: 'collector',
  assurance: 'verified',
} as Draft;

describe('a stamper', () => {
  it('makes the same stream of the same clock, bytes and drafts', () => {
    expect(recordedStream(identity, 'x')).toEqual(recordedStream(identity, 'x'));
    expect(recordedStream(identity, 'x')).not.toEqual(recordedStream(identity, 'y'));
  });

  it('gives a salt of its own to each event that has content, and none to others', () => {
    const stamper = createStamper(identity, fakeClock(), fakeRandom());
    const salts = Array.from(
      { length: 1000 },
      () => stamper.stamp(prompt('same')).event.content_salt,
    );
    expect(new Set(salts).size).toBe(1000);
    for (const salt of salts) expect(salt).toMatch(/^[0-9a-f]{32}$/);
    expect(stamper.stamp(fileDraft('/a')).event.content_salt).toBeUndefined();
  });

  it('keeps no salt and no seed', () => {
    const random = watchedRandom();
    const stamper = createStamper(identity, fakeClock(), random);
    for (let n = 0; n < 256; n++) stamper.stamp(prompt('x'));
    for (let n = 0; n < 3; n++) stamper.stamp(heartbeat);
    const seeds = random.given.filter(({ live }) => live.length === SEED_BYTES);
    const [salts] = random.given.filter(({ live }) => live.length > SEED_BYTES);
    expect(seeds).toHaveLength(4);
    for (const { live, copy } of salts === undefined ? [] : [...seeds, salts]) {
      expect(copy.some((byte) => byte !== 0)).toBe(true);
      expect(live.every((byte) => byte === 0)).toBe(true);
    }
  });

  it('takes nothing of its own fields from a draft', () => {
    const stamper = createStamper(identity, fakeClock(), fakeRandom());
    const forged = {
      ...heartbeat,
      content_salt: '00'.repeat(16),
      erased: { attrs: '00'.repeat(32) },
      chain_count: 7,
      chain_head: '00'.repeat(32),
      signature: 'AAAA',
      next_public_key: 'AAAA',
      seq: 99,
      tenant: 'rival',
    } as unknown as Draft;
    const event = stamper.stamp(forged).event as EventOf<'session.heartbeat'>;
    expect(event).toMatchObject({ chain_count: 0, seq: 0, tenant: identity.tenant });
    expect(event.chain_head).toBe(createChain(identity).head);
    for (const name of ['content_salt', 'erased']) expect(event).not.toHaveProperty(name);
    expect(event.next_public_key).toMatch(/^[A-Za-z0-9+/]{43}=$/);
  });

  it('stamps nothing behind the close', () => {
    const stamper = createStamper(identity, fakeClock(), fakeRandom());
    stamper.stamp({ ...heartbeat, kind: 'session.close', close_reason: 'exited' } as Draft);
    expect(() => stamper.stamp(heartbeat)).toThrow('behind the close');
  });
});

/** A private key from its seed, as whoever finds the seed in memory makes it. */
const keyOf = (seed: Uint8Array) =>
  createPrivateKey({
    key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed]),
    format: 'der',
    type: 'pkcs8',
  });

/** The stream with event `seq` rewritten and every checkpoint behind it made anew with `key`. */
function rewritten(
  events: readonly TelltaleEvent[],
  seq: number,
  key: (index: number) => Uint8Array,
) {
  const checkpoints: readonly number[] = [...HEARTBEAT_SEQS, CLOSE_SEQ];
  const chain = createChain(identity);
  return events.map((event) => {
    let made = event.seq === seq ? ({ ...event, observed_ts: event.ts } as TelltaleEvent) : event;
    const index = checkpoints.indexOf(event.seq);
    if (index >= 0 && event.seq > seq) {
      made = { ...made, chain_head: chain.head } as TelltaleEvent;
      const signature = sign(null, checkpointStatement(identity, made), keyOf(key(index)));
      made = { ...made, signature: signature.toString('base64') } as TelltaleEvent;
    }
    chain.push(digestOf(made));
    return made;
  });
}

describe('whoever takes the sandbox at a time', () => {
  const events = recordedStream(identity, 'one');
  const seeds = (() => {
    const random = watchedRandom(fakeRandom('one'));
    const clock = fakeClock();
    const stamper = createStamper(identity, clock, random);
    for (const event of events) {
      const { kind } = event;
      const draft = { ...event, ts: event.ts } as unknown as Draft;
      stamper.stamp(kind === 'session.heartbeat' ? heartbeat : draft);
    }
    return random.given.filter(({ live }) => live.length === SEED_BYTES).map(({ copy }) => copy);
  })();

  it('has, with the key of a place, everything from that place on', () => {
    // The attack itself works: with the key of epoch 0 the whole stream can be made anew.
    const forged = rewritten(events, 1, (index) => seeds[index] as Uint8Array);
    expect(verifyChain(identity, forged)).toMatchObject({ verdict: 'intact', sealed: true });
  });

  it.each([1, 2])('and from the key of epoch %i on nothing of what was sealed before', (epoch) => {
    const sealed = HEARTBEAT_SEQS[epoch - 1] as number;
    for (let seq = 0; seq < sealed; seq++)
      for (let use = epoch; use < seeds.length; use++) {
        const key = (index: number) => seeds[Math.max(index, use)] ?? (seeds.at(-1) as Uint8Array);
        const result = verifyChain(identity, rewritten(events, seq, key));
        expect(result.verdict).toBe('broken');
        expect(result.covered).toBeLessThanOrEqual(sealed);
      }
    const later = rewritten(events, sealed + 1, (index) => seeds[index] as Uint8Array);
    expect(verifyChain(identity, later).verdict).toBe('intact');
  });

  it('gains nothing from a checkpoint that it can still make, put at an earlier place', () => {
    const [first, second] = HEARTBEAT_SEQS;
    const { chain_head } = events[first] as { chain_head?: string };
    const moved = { ...events[second], seq: first, chain_count: first, chain_head };
    const forged = events.map((event) => (event.seq === first ? moved : event)) as TelltaleEvent[];
    expect(verifyChain(identity, forged)).toMatchObject({ verdict: 'broken', covered: 0 });
  });
});
