/**
 * Small installations out of a seed: sessions with their streams, what a store holds of them, and
 * the transparency log over all of it. Everything is as honest parts would have made it.
 */
import {
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  sign,
} from 'node:crypto';
import { ALL_FIELDS, kindSpec, REGISTRY, type TelltaleEvent, validate } from '#schemas';
import { checkpointStatement, createChain, publicKeyText } from '../../schemas/chain.ts';
import { commitmentOf, digestOf } from '../../schemas/commit.ts';
import type { LogPart, StoredErasure, StoredStream } from '../../schemas/evidence/write.ts';
import { inclusionProof, leafHash, readerOf, rootOfLeaves } from '../../schemas/merkle.ts';
import {
  checkpointText,
  cosign,
  formatNote,
  SIGNATURE_COSIGNATURE_V1,
  SIGNATURE_ED25519,
  signerOf,
  signNote,
} from '../../schemas/note.ts';

export type Wire = Record<string, unknown> & { seq: number; kind: string; stream_id: string };

/** A stream of numbers out of a seed: the same seed gives the same numbers everywhere. */
export interface Dice {
  /** A whole number from 0 to `below` - 1. */
  upTo(below: number): number;
  pick<T>(from: readonly T[]): T;
  hex(bytes: number): string;
  chance(percent: number): boolean;
}

export function createDice(seed: string): Dice {
  let count = 0;
  let block = Buffer.alloc(0);
  let at = 0;
  const bytes = (length: number): Buffer => {
    if (at + length > block.length) {
      block = createHmac('sha512', seed).update(String(count++)).digest();
      at = 0;
    }
    at += length;
    return block.subarray(at - length, at);
  };
  const upTo = (below: number) => Number(bytes(8).readBigUInt64LE() % BigInt(Math.max(below, 1)));
  return {
    upTo,
    pick: (from) => from[upTo(from.length)] as never,
    hex: (length) => Buffer.from(bytes(length)).toString('hex'),
    chance: (percent) => upTo(100) < percent,
  };
}

const PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex');

/** A key pair out of a name. */
export function keyOf(name: string): { privateKey: KeyObject; publicText: string } {
  const seed = createHash('sha256').update(name).digest();
  const privateKey = createPrivateKey({
    key: Buffer.concat([PKCS8, seed]),
    format: 'der',
    type: 'pkcs8',
  });
  return { privateKey, publicText: publicKeyText(createPublicKey(privateKey)) };
}

const seedOf = (name: string) => createHash('sha256').update(name).digest();
export const ORIGIN = 'log.example/telltale';
export const LOG = signerOf(ORIGIN, SIGNATURE_ED25519, seedOf('log'));
export const WITNESS = signerOf('witness.example', SIGNATURE_COSIGNATURE_V1, seedOf('witness'));
export const OTHER_LOG = signerOf(ORIGIN, SIGNATURE_ED25519, seedOf('another log'));

export interface Leaf {
  readonly text: string;
  readonly session: string;
}

/** What a store and its log hold of one session. */
export interface Store {
  readonly tenant: string;
  readonly session: string;
  /** Rows in wire form, by stream, then number. */
  readonly rows: Wire[];
  readonly dead: Record<string, unknown>[];
  readonly streams: StoredStream[];
  readonly erasures: StoredErasure[];
}

export interface World {
  readonly stores: Store[];
  readonly leaves: Leaf[];
  /** The log at a size, with proofs for one session. */
  log(session: string, size?: number): Promise<LogPart>;
}

const START_NS = 1_764_000_000_000_000_000n;
const uuid = (dice: Dice): string => {
  const hex = dice.hex(16);
  return `0193a5e0-${hex.slice(8, 12)}-7${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
};

const TEXTS = [
  'ls -la',
  'a\r\nb\r\n',
  '😀 Ω 漢',
  '"quoted" \\ back',
  'x'.repeat(3000),
  '\u0000\u001b[2J',
  '{"a":1}',
  '0',
];
const CHECKPOINTS = new Set(['session.heartbeat', 'session.close']);
const PROTOCOL = new Set(['session.open', 'session.heartbeat', 'session.close', 'gap', 'sensor']);

/** Some fields of a kind with values; by its samples, with hostile texts here and there. */
function fieldsOf(kind: string, dice: Dice): Record<string, unknown> {
  const spec = kindSpec(kind as never);
  const fields: Record<string, unknown> = { ...dice.pick(spec.samples) };
  for (const name of spec.content) if (dice.chance(30)) fields[name] = contentValue(name, dice);
  return fields;
}

function contentValue(name: string, dice: Dice): unknown {
  const shape = ALL_FIELDS[name]?.shape;
  if (shape === 'list') return [dice.pick(TEXTS), dice.hex(3)];
  if (shape === 'map')
    return { [dice.pick(['10', '9', 'key', '__proto__'])]: dice.pick(TEXTS), z: dice.hex(2) };
  return shape === 'hex' ? dice.hex(32) : dice.pick(TEXTS);
}

export interface StreamPlan {
  readonly events: number;
  readonly every: number;
  readonly close: boolean;
  readonly sensor: 'full' | 'partial' | 'none';
  /** Numbers that get lost behind the collector, and how the store knows. */
  readonly gap?: boolean;
  readonly kinds?: readonly string[];
}

/** The rows of a stream as its collector stamps them. */
export function stampRows(
  id: { tenant: string; session_id: string; stream_id: string },
  plan: StreamPlan,
  dice: Dice,
  keys: string,
): { rows: Wire[]; heads: { seq: number; head: string }[] } {
  const chain = createChain(id);
  const rows: Wire[] = [];
  let epoch = 0;
  const heads: { seq: number; head: string }[] = [];
  const kinds = plan.kinds ?? [...REGISTRY.keys()].filter((kind) => !PROTOCOL.has(kind));

  function put(kind: string, fields: Record<string, unknown>): void {
    const seq = rows.length;
    const time = String(START_NS + BigInt(seq) * 1_000_000n);
    const row: Wire = {
      assurance: PROTOCOL.has(kind) ? 'verified' : dice.pick(['observed', 'reported', 'inferred']),
      source: 'test',
      ...fields,
      ...id,
      seq,
      kind,
      ts: time,
      observed_ts: String(BigInt(time) + 17n),
      ...(dice.chance(80) ? { agent: 'codex', host: 'box-1', user: 'agent' } : {}),
    };
    if (kindSpec(kind as never).content.some((name) => row[name] !== undefined))
      row.content_salt = dice.hex(16);
    if (CHECKPOINTS.has(kind)) {
      row.chain_count = seq;
      row.chain_head = chain.head;
      if (kind === 'session.heartbeat')
        row.next_public_key = keyOf(`${keys} ${epoch + 1}`).publicText;
      else delete row.next_public_key;
      delete row.signature;
      const statement = checkpointStatement(id, row as unknown as TelltaleEvent);
      row.signature = sign(null, statement, keyOf(`${keys} ${epoch}`).privateKey).toString(
        'base64',
      );
      epoch++;
    }
    if (kind === 'session.open' || CHECKPOINTS.has(kind)) heads.push({ seq, head: chain.head });
    const decoded = validate(row);
    if (!decoded.ok) throw new Error(`${kind}: ${JSON.stringify(decoded.faults)}`);
    chain.push(digestOf(row as unknown as TelltaleEvent));
    rows.push(row);
  }

  const open = fieldsOf('session.open', dice);
  put('session.open', { ...open, schema_version: '2', public_key: keyOf(`${keys} 0`).publicText });
  if (plan.sensor !== 'none')
    put('sensor', {
      sensor_name: 'seccomp',
      sensor_rung: 1,
      coverage: plan.sensor === 'full' ? 'complete' : 'partial',
    });
  while (rows.length < plan.events) {
    if (rows.length % plan.every === plan.every - 1)
      put('session.heartbeat', fieldsOf('session.heartbeat', dice));
    else {
      const kind = kinds[rows.length % kinds.length] as string;
      put(kind, fieldsOf(kind, dice));
    }
  }
  if (plan.gap === true) {
    // Numbers 3 and 4 were lost behind the collector's numbering: it says so later.
    put('gap', { gap_reason: 'spool_full', gap_first_seq: 3, gap_last_seq: 4, gap_count: 2 });
    put('session.heartbeat', {});
  }
  if (plan.close)
    put('session.close', { ...fieldsOf('session.close', dice), close_reason: 'exited' });
  return {
    rows: plan.gap === true ? rows.filter(({ seq }) => seq !== 3 && seq !== 4) : rows,
    heads,
  };
}

/** Erases the content of a row, as the store does. */
export function eraseRow(row: Wire): readonly string[] {
  const spec = kindSpec(row.kind as never);
  const before = (row.erased as Record<string, string> | undefined) ?? {};
  const names = spec.content.filter((name) => row[name] !== undefined && !(name in before));
  const erased: Record<string, string> = { ...(row.erased as Record<string, string> | undefined) };
  for (const name of names) {
    const field = ALL_FIELDS[name];
    if (field !== undefined)
      erased[name] = commitmentOf(String(row.content_salt), name, field, row[name]);
    // What the kind requires stays, empty: a column has no other way to say so.
    if (spec.required.has(name)) row[name] = field?.shape === 'list' ? [] : '';
    else delete row[name];
  }
  delete row.content_salt;
  if (Object.keys(erased).length > 0) row.erased = erased;
  return names;
}

export interface WorldPlan {
  readonly sessions: readonly (readonly StreamPlan[])[];
  readonly erase?: boolean;
  readonly dead?: boolean;
}

/** Builds an installation; the first session is the one that tests look at. */
export function createWorld(seed: string, plan: WorldPlan): World {
  const dice = createDice(seed);
  const stores: Store[] = [];
  const leaves: Leaf[] = [];
  for (const [s, streams] of plan.sessions.entries()) {
    const session = uuid(dice);
    const tenant = 'acme';
    const store: Store = { tenant, session, rows: [], dead: [], streams: [], erasures: [] };
    const ids = streams.map(() => uuid(dice)).sort();
    for (const [i, stream] of streams.entries()) {
      const id = { tenant, session_id: session, stream_id: ids[i] as string };
      const { rows, heads } = stampRows(id, stream, dice, `${seed} ${s} ${i}`);
      for (const { seq, head } of heads) {
        const row = rows.find((one) => one.seq === seq);
        if (row === undefined) continue;
        const leaf = {
          chain_count: seq,
          chain_head: head,
          event_digest: digestOf(row as unknown as TelltaleEvent),
          final: row.kind === 'session.close',
          seq,
          session_id: session,
          stream_id: id.stream_id,
          telltale: 'head/1',
          tenant,
        };
        leaves.push({ text: JSON.stringify(leaf), session });
      }
      store.rows.push(...rows);
      store.streams.push({
        stream_id: id.stream_id,
        first_ms: 1_764_000_000_100,
        last_ms: 1_764_000_009_000 + i,
      });
    }
    if (plan.dead === true) park(store, dice);
    if (plan.erase === true) erase(store);
    stores.push(store);
  }
  // Sessions are sealed while others run: their leaves are mixed, each stream's in order.
  const mixed = interleave(leaves, dice);
  return {
    stores,
    leaves: mixed,
    log: (session, size = mixed.length) => logOf(mixed, session, size),
  };
}

function interleave(leaves: readonly Leaf[], dice: Dice): Leaf[] {
  const queues = new Map<string, Leaf[]>();
  for (const leaf of leaves) queues.set(leaf.session, [...(queues.get(leaf.session) ?? []), leaf]);
  const out: Leaf[] = [];
  while (out.length < leaves.length) {
    const queue = dice.pick([...queues.values()].filter((one) => one.length > 0));
    out.push(queue.shift() as Leaf);
  }
  return out;
}

/** One event was refused on the way: it is parked with its bytes, and no row has its number. */
function park(store: Store, dice: Dice): void {
  const row = store.rows.find(({ kind, seq }) => !PROTOCOL.has(kind) && seq > 5) as Wire;
  store.rows.splice(store.rows.indexOf(row), 1);
  store.dead.push({
    bytes_base64: Buffer.from(JSON.stringify(row)).toString('base64'),
    detail: 'must be >= 1',
    field: 'pid',
    origin: `telltale.events/0/${dice.upTo(1000)}/3`,
    parked_ms: 1_764_000_005_000,
    reason: 'invalid',
    seq: row.seq,
    session_id: store.session,
    stream_id: row.stream_id,
    tenant: store.tenant,
  });
}

function erase(store: Store): void {
  for (const row of store.rows.filter(({ seq }) => seq % 7 === 2 || seq === 0)) {
    const fields = eraseRow(row);
    if (fields.length === 0) continue;
    const event_id = `${row.stream_id}-${row.seq}`;
    store.erasures.push({
      at_ms: 1_764_100_000_000,
      by: 'kim',
      event_id,
      fields,
      reason: 'Art. 17',
    });
  }
}

async function logOf(all: readonly Leaf[], session: string, size: number): Promise<LogPart> {
  const leaves = all.slice(0, size);
  const hashes = leaves.map(({ text }) => leafHash(Buffer.from(text)));
  const text = checkpointText({ origin: ORIGIN, size, root: rootOfLeaves(hashes) });
  const note = formatNote(text, [signNote(text, LOG), cosign(text, WITNESS, 1_764_000_000)]);
  const read = readerOf(hashes);
  const proofs = [];
  for (const [index, leaf] of leaves.entries())
    if (leaf.session === session)
      proofs.push({ index, leaf: leaf.text, proof: await inclusionProof(index, size, read) });
  return { origin: ORIGIN, size, note, proofs };
}
