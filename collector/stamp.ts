/**
 * Stamping: a draft becomes an event. It gets its stream, its number, its time of observation, the
 * salt of its content and its place in the hash chain; a checkpoint gets its signature. From here
 * on it can't be lost or altered without a trace.
 */
import {
  type Clock,
  checkpointStatement,
  createChain,
  type Draft,
  digestOfForm,
  EVENT_BYTES_MAX,
  type Fault,
  formsOf,
  hasContent,
  isCheckpoint,
  isFinal,
  kindSpec,
  type Random,
  SALT_BYTES,
  type StreamId,
  type TelltaleEvent,
  validate,
} from '#schemas';
import { fitDraft, shrink } from './fit.ts';
import { createKeyChain } from './keys.ts';

/** What all events of a stream share. */
export interface StreamIdentity extends StreamId {
  readonly agent: string;
  readonly host: string;
  readonly user: string;
}

export interface StampedEvent {
  readonly event: TelltaleEvent;
  /** Canonical bytes, without a newline. */
  readonly bytes: Buffer;
}

export interface Stamper {
  /**
   * The event of a draft. A draft that can't be one becomes a `gap` that names the fault. A
   * checkpoint is signed, over all that was stamped before it and over itself. Throws behind a
   * final checkpoint: the keys are gone.
   */
  stamp(draft: Draft): StampedEvent;
  /** The key of the first checkpoint, for session.open. */
  readonly publicKey: string;
  /** How many events were stamped: the next number. */
  readonly count: number;
}

const STAMPED = [
  'tenant',
  'session_id',
  'stream_id',
  'seq',
  'observed_ts',
  'erased',
  'content_salt',
  'signature',
];

/** Salts are drawn so many at once: one call of the random source costs more than the bytes do. */
const SALTS_AT_ONCE = 256;

function createSalts(random: Random): () => string {
  let pool: Buffer = Buffer.alloc(0);
  let at = 0;
  return () => {
    if (at === pool.length) {
      const bytes = random.bytes(SALT_BYTES * SALTS_AT_ONCE);
      pool = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
      at = 0;
    }
    at += SALT_BYTES;
    const salt = pool.toString('hex', at - SALT_BYTES, at);
    pool.fill(0, at - SALT_BYTES, at);
    return salt;
  };
}

type Loose = Record<string, unknown>;

/**
 * Makes the stamper of a new stream. The same clock, random bytes and drafts give the same events.
 * `redact` sees each draft first: what it takes out is in no event.
 */
export function createStamper(
  identity: StreamIdentity,
  clock: Clock,
  random: Random,
  redact: (draft: Draft) => Draft = (draft) => draft,
): Stamper {
  const { agent, host, user, tenant, session_id, stream_id } = identity;
  const given = Object.entries({ agent, host, user }).filter(([, value]) => value !== '');
  // Whatever a mapper put there: these are the stamper's own.
  const own = new Set([...given.map(([name]) => name), ...STAMPED]);
  const keys = createKeyChain(random);
  const firstKey = keys.publicKey;
  const nextSalt = createSalts(random);
  const chain = createChain(identity);
  let seq = 0;
  let closed = false;

  /**
   * What stands in an event beside its draft; `salt` is the event's own, should it need one. It is
   * not made by spreading: each field that is added to an object after a spread costs V8 more than
   * a microsecond, and this runs for every event.
   */
  function complete(draft: Draft, salt: string): TelltaleEvent {
    const spec = kindSpec(draft.kind);
    const observed_ts = clock.wallNs().toString();
    const event: Loose = { tenant, session_id, stream_id, seq, observed_ts };
    for (const [name, value] of given) event[name] = value;
    for (const name in draft) if (!own.has(name)) event[name] = (draft as unknown as Loose)[name];
    if (hasContent(spec, event)) event.content_salt = salt;
    if (isCheckpoint(spec)) {
      event.chain_count = seq;
      event.chain_head = chain.head;
      if (!isFinal(spec)) event.next_public_key = keys.prepare();
    }
    return event as unknown as TelltaleEvent;
  }

  function invalid(draft: Draft, faults: readonly Fault[], salt: string): TelltaleEvent {
    const reason = faults.map((fault) => `${fault.where}: ${fault.what}`).join('; ');
    const gap: Draft = {
      kind: 'gap',
      ts: clock.wallNs().toString(),
      source: 'collector',
      assurance: 'verified',
      gap_reason: 'invalid',
      gap_count: 1,
      sensor_name: draft.source,
      reason: `${draft.kind}: ${reason}`,
    };
    return complete(fitDraft(gap), salt);
  }

  function signed(event: TelltaleEvent): TelltaleEvent {
    const signature = keys.sign(checkpointStatement(identity, event)).toString('base64');
    return { ...event, signature } as TelltaleEvent;
  }

  function stamp(draft: Draft): StampedEvent {
    if (closed) throw new Error(`${draft.kind} behind the close of its stream`);
    const salt = nextSalt();
    let fitted = fitDraft(redact(draft));
    for (;;) {
      const decoded = validate(complete(fitted, salt));
      let event = decoded.ok ? decoded.event : invalid(draft, decoded.faults, salt);
      const spec = kindSpec(event.kind);
      if (isCheckpoint(spec)) event = signed(event);
      const { line, committed } = formsOf(event);
      const bytes = Buffer.from(line, 'utf8');
      if (decoded.ok && bytes.length > EVENT_BYTES_MAX) {
        fitted = shrink(fitted);
        continue;
      }
      chain.push(digestOfForm(committed));
      closed = isFinal(spec);
      seq++;
      return { event, bytes };
    }
  }

  return {
    stamp,
    publicKey: firstKey,
    get count() {
      return seq;
    },
  };
}
