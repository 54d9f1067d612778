/** Mutations by whoever holds the store: the export is honest, what is exported is not. */
import { sign } from 'node:crypto';
import { ALL_FIELDS, type Field, kindSpec, REGISTRY, type TelltaleEvent } from '#schemas';
import { checkpointStatement, createChain } from '../../schemas/chain.ts';
import { digestOf } from '../../schemas/commit.ts';
import {
  around,
  CHECKPOINT_KINDS,
  changed,
  coveredRows,
  type Dice,
  type Mutation,
  type Subject,
} from './subject.ts';
import { keyOf, type Store, stampRows, type Wire } from './world.ts';

export type Mutate = (
  subject: Subject,
  dice: Dice,
) => Mutation | undefined | Promise<Mutation | undefined>;

/** Another value that the field may have. */
export function otherValue(field: Field, value: unknown, dice: Dice): unknown {
  if (field.values !== undefined) return dice.pick(field.values.filter((one) => one !== value));
  switch (field.shape) {
    case 'uint':
    case 'int':
      return typeof value === 'number' ? value + 1 : dice.upTo(1000) + 1;
    case 'flag':
      return value !== true;
    case 'time':
      return String(BigInt(String(value ?? '1764000000000000000')) + 1n);
    case 'hex':
      return dice.hex((field.bytesMax ?? 2) / 2);
    case 'uuid':
      return `0193a5e0-0000-7000-8000-${dice.hex(6)}`;
    case 'list':
      return [...((value as string[] | undefined) ?? []), 'more'];
    case 'map':
      return { ...(value as Record<string, string> | undefined), more: dice.hex(2) };
    default:
      return `${value ?? ''}x`;
  }
}

const at = (row: Wire) => ({ stream: row.stream_id, first: row.seq, last: row.seq });
const find = (store: Store, { stream_id: stream, seq }: Wire): Wire =>
  store.rows.find((one) => one.stream_id === stream && one.seq === seq) as Wire;

/** Keeps the rule that a salt is there exactly when there is content: the store would, too. */
function settle(row: Wire, dice: Dice): void {
  const erased = (row.erased as Record<string, string> | undefined) ?? {};
  const { content } = kindSpec(row.kind as never);
  const has = content.some((name) => row[name] !== undefined && !(name in erased));
  if (has && row.content_salt === undefined) row.content_salt = dice.hex(16);
  if (!has) delete row.content_salt;
}

const PLACE = new Set([
  'tenant',
  'session_id',
  'stream_id',
  'seq',
  'kind',
  'content_salt',
  'erased',
]);

/** Changes, adds or removes one field of one event; undefined where nothing would change by it. */
export function editOne(
  subject: Subject,
  row: Wire,
  name: string,
  remove: boolean,
  dice: Dice,
): Mutation | undefined {
  const field = ALL_FIELDS[name] as Field;
  const erased = row.erased as Record<string, string> | undefined;
  if (erased !== undefined && name in erased) return undefined;
  const hidden = subject.clean.content === 'none' && field.content === true;
  if (hidden && row[name] === undefined) return undefined;
  const files = changed(subject, (store) => {
    const own = find(store, row);
    if (remove) delete own[name];
    else own[name] = otherValue(field, own[name], dice);
    settle(own, dice);
  });
  const what = remove ? 'removed' : row[name] === undefined ? 'added' : 'changed';
  return {
    kind: 'edit a field',
    detail: `${row.kind}.${name} ${what} at ${row.seq}`,
    files,
    targets: [around(subject, row.stream_id, row.seq, row.seq)],
  };
}

/** The fields of a kind that can be edited in place. */
export const editable = (kind: string): readonly string[] =>
  Object.keys(kindSpec(kind as never).fields).filter((name) => !PLACE.has(name));

const editField: Mutate = (subject, dice) => {
  const rows = coveredRows(subject);
  const kind = dice.pick([...new Set(rows.map((row) => row.kind))]);
  const row = dice.pick(rows.filter((one) => one.kind === kind));
  const name = dice.pick(editable(row.kind));
  const { required } = kindSpec(row.kind as never);
  const remove = row[name] !== undefined && !required.has(name) && dice.chance(25);
  return editOne(subject, row, name, remove, dice);
};

const editKind: Mutate = (subject, dice) => {
  const row = dice.pick(coveredRows(subject));
  const kind = dice.pick([...REGISTRY.keys()].filter((one) => one !== row.kind));
  const files = changed(subject, (store) => {
    const own = find(store, row);
    own.kind = kind;
    settle(own, dice);
  });
  return {
    kind: 'edit the kind',
    detail: `${row.kind} -> ${kind} at ${row.seq}`,
    files,
    targets: [around(subject, row.stream_id, row.seq, row.seq, true)],
  };
};

const editSalt: Mutate = (subject, dice) => {
  if (subject.clean.content === 'none') return undefined;
  const rows = coveredRows(subject).filter(
    (row) => row.content_salt !== undefined || row.erased !== undefined,
  );
  if (rows.length === 0) return undefined;
  const row = dice.pick(rows);
  const files = changed(subject, (store) => {
    const own = find(store, row);
    if (own.content_salt !== undefined) own.content_salt = dice.hex(16);
    else {
      const erased = own.erased as Record<string, string>;
      own.erased = { ...erased, [dice.pick(Object.keys(erased))]: dice.hex(32) };
    }
  });
  return {
    kind: 'edit a salt or commitment',
    detail: `${row.kind} at ${row.seq}`,
    files,
    targets: [around(subject, row.stream_id, row.seq, row.seq)],
  };
};

const deleteOne: Mutate = (subject, dice) => {
  const row = dice.pick(coveredRows(subject));
  const files = changed(
    subject,
    (store) => void store.rows.splice(store.rows.indexOf(find(store, row)), 1),
  );
  return {
    kind: 'delete an event',
    detail: `${row.kind} at ${row.seq}`,
    files,
    targets: [at(row)],
  };
};

/** What gap events behind `keep` declared: cut off with them, it is unaccounted for as well. */
const undeclared = (subject: Subject, stream: string, keep: number) =>
  subject.store.rows
    .filter((row) => row.stream_id === stream && row.seq > keep && row.kind === 'gap')
    .map((row) => ({ stream, first: Number(row.gap_first_seq), last: Number(row.gap_last_seq) }));

const deleteSome: Mutate = (subject, dice) => {
  const row = dice.pick(coveredRows(subject));
  const last = row.seq + 1 + dice.upTo(20);
  const gone = ({ stream_id: stream, seq }: Wire) =>
    stream === row.stream_id && seq >= row.seq && seq <= last;
  const files = changed(
    subject,
    (store) =>
      void store.rows.splice(0, store.rows.length, ...store.rows.filter((one) => !gone(one))),
  );
  const end = Math.min(last, subject.ends.get(row.stream_id) ?? last);
  return {
    kind: 'delete a range',
    detail: `${row.seq} to ${end}`,
    files,
    targets: [
      { stream: row.stream_id, first: row.seq, last: end },
      ...undeclared(subject, row.stream_id, row.seq - 1),
    ],
  };
};

const duplicate: Mutate = (subject, dice) => {
  const row = dice.pick(subject.store.rows);
  const fork = dice.chance(50);
  const files = changed(subject, (store) => {
    const copy = structuredClone(find(store, row));
    if (fork) copy.ts = String(BigInt(String(copy.ts)) + 1n);
    store.rows.splice(store.rows.indexOf(find(store, row)) + 1, 0, copy);
  });
  return {
    kind: fork ? 'fork a number' : 'duplicate an event',
    detail: `${row.kind} at ${row.seq}`,
    files,
    targets: [at(row)],
  };
};

const reorder: Mutate = (subject, dice) => {
  const rows = coveredRows(subject);
  const a = dice.pick(rows);
  const b = dice.pick(rows.filter((one) => one.stream_id === a.stream_id && one.seq !== a.seq));
  if (b === undefined) return undefined;
  const files = changed(subject, (store) => {
    const [one, two] = [find(store, a), find(store, b)];
    [one.seq, two.seq] = [b.seq, a.seq];
  });
  const [first, last] = [Math.min(a.seq, b.seq), Math.max(a.seq, b.seq)];
  return {
    kind: 'reorder two events',
    detail: `${a.seq} and ${b.seq}`,
    files,
    targets: [around(subject, a.stream_id, first, last, true)],
  };
};

const truncate: Mutate = (subject, dice) => {
  const stream = dice.pick([...subject.ends.keys()]);
  const end = subject.ends.get(stream) as number;
  const points = subject.points.get(stream) ?? [];
  const mode = dice.pick(['anywhere', 'at a checkpoint', 'the close only']);
  const keep =
    mode === 'anywhere'
      ? dice.upTo(end)
      : mode === 'at a checkpoint'
        ? dice.pick(points.filter((seq) => seq < end))
        : end - 1;
  if (keep === undefined) return undefined;
  const files = changed(
    subject,
    (store) =>
      void store.rows.splice(
        0,
        store.rows.length,
        ...store.rows.filter((row) => row.stream_id !== stream || row.seq <= keep),
      ),
  );
  return {
    kind: `cut the tail: ${mode}`,
    detail: `behind ${keep} of ${end}`,
    files,
    targets: [{ stream, first: keep, last: end }, ...undeclared(subject, stream, keep)],
  };
};

const empty: Mutate = (subject) => {
  const files = changed(subject, (store) => {
    store.rows.length = 0;
    store.streams.length = 0;
    store.erasures.length = 0;
  });
  return { kind: 'empty the events', detail: '', files, targets: [{ file: 'events.ndjson' }] };
};

const dropStream: Mutate = (subject, dice) => {
  if (subject.ends.size < 2) return undefined;
  const stream = dice.pick([...subject.ends.keys()]);
  const files = changed(subject, (store) => {
    for (const list of [store.rows, store.streams] as { stream_id: string }[][])
      list.splice(0, list.length, ...list.filter((one) => one.stream_id !== stream));
  });
  return {
    kind: 'drop a stream',
    detail: stream,
    files,
    targets: [{ stream, first: 0, last: subject.ends.get(stream) as number }],
  };
};

/** Puts events of another stream or session in the place of some. */
const splice: Mutate = (subject, dice) => {
  const rows = coveredRows(subject);
  const row = dice.pick(rows);
  const foreign = dice.chance(50) || subject.ends.size < 2;
  const from = foreign
    ? subject.world.stores.find((store) => store !== subject.store)?.rows
    : subject.store.rows.filter((one) => one.stream_id !== row.stream_id);
  if (from === undefined || from.length === 0) return undefined;
  const start = dice.upTo(Math.max(from.length - 4, 1));
  const taken = from.slice(start, start + 1 + dice.upTo(4));
  const last = Math.min(row.seq + taken.length - 1, subject.ends.get(row.stream_id) as number);
  const files = changed(subject, (store) => {
    for (const [index, one] of taken.entries()) {
      const old = store.rows.find(
        ({ stream_id: stream, seq }) => stream === row.stream_id && seq === row.seq + index,
      );
      const { tenant, session } = store;
      const copy = {
        ...structuredClone(one),
        tenant,
        session_id: session,
        stream_id: row.stream_id,
        seq: row.seq + index,
      };
      if (old !== undefined) store.rows[store.rows.indexOf(old)] = copy;
    }
  });
  return {
    kind: foreign ? 'splice two sessions' : 'splice two streams',
    detail: `${taken.length} at ${row.seq}`,
    files,
    targets: [around(subject, row.stream_id, row.seq, last, true)],
  };
};

/** Plays recorded events once more, numbered on behind the end or over others. */
const replay: Mutate = (subject, dice) => {
  const rows = coveredRows(subject);
  const row = dice.pick(rows);
  const end = subject.ends.get(row.stream_id) as number;
  const closed = subject.store.rows.some(
    (one) => one.stream_id === row.stream_id && one.kind === 'session.close',
  );
  const taken = rows
    .filter((one) => one.stream_id === row.stream_id && one.seq >= row.seq)
    .slice(0, 1 + dice.upTo(5));
  if (!closed) return undefined;
  const files = changed(subject, (store) => {
    for (const [index, one] of taken.entries())
      store.rows.push({ ...structuredClone(one), seq: end + 1 + index });
  });
  return {
    kind: 'replay behind the end',
    detail: `${taken.length} from ${row.seq}`,
    files,
    targets: [{ stream: row.stream_id, first: end, last: end + taken.length }],
  };
};

/** Computes heads and signatures of a stream again from `from` on, with keys of the forger's own. */
function resign(
  rows: Wire[],
  from: number,
  keyName: (epoch: number) => string,
  lastOnly = false,
): void {
  const [first] = rows;
  if (first === undefined) return;
  const id = {
    tenant: String(first.tenant),
    session_id: String(first.session_id),
    stream_id: first.stream_id,
  };
  const chain = createChain(id);
  let epoch = 0;
  for (const row of rows) {
    if (CHECKPOINT_KINDS.has(row.kind)) {
      if (row.seq >= from) {
        row.chain_head = chain.head;
        if (!lastOnly && row.kind === 'session.heartbeat')
          row.next_public_key = keyOf(keyName(epoch + 1)).publicText;
        const statement = checkpointStatement(id, row as unknown as TelltaleEvent);
        row.signature = sign(null, statement, keyOf(keyName(epoch)).privateKey).toString('base64');
      }
      epoch++;
    }
    chain.push(digestOf(row as unknown as TelltaleEvent));
  }
}

/** The whole stream written anew, with keys of the forger's own from the first event on. */
const rewrite: Mutate = (subject, dice) => {
  const stream = dice.pick([...subject.ends.keys()]);
  const end = subject.ends.get(stream) as number;
  const files = changed(subject, (store) => {
    const rows = store.rows.filter((row) => row.stream_id === stream);
    const [open] = rows;
    if (open?.kind !== 'session.open') return;
    open.public_key = keyOf('forger 0').publicText;
    for (const row of rows) if (dice.chance(20)) row.source = 'forged';
    resign(rows, 0, (epoch) => `forger ${epoch}`);
  });
  const entire = { stream, first: 0, last: end };
  return { kind: 'rewrite a stream under new keys', detail: stream, files, targets: [entire] };
};

/** Another recording put in the place of the stream, under its id. */
const substitute: Mutate = (subject, dice) => {
  const stream = dice.pick([...subject.ends.keys()]);
  const end = subject.ends.get(stream) as number;
  const files = changed(subject, (store) => {
    const id = { tenant: store.tenant, session_id: store.session, stream_id: stream };
    const plan = { events: 40, every: 12, close: true, sensor: 'full' } as const;
    const { rows } = stampRows(id, plan, dice, 'forger');
    store.rows.splice(
      0,
      store.rows.length,
      ...store.rows.filter((row) => row.stream_id !== stream),
      ...rows,
    );
    store.erasures.length = 0;
  });
  return {
    kind: 'put another recording in its place',
    detail: stream,
    files,
    targets: [{ stream, first: 0, last: end }],
  };
};

/** From some checkpoint on, with keys of the forger's own: the sandbox was taken before, not after. */
const forgeSuffix: Mutate = (subject, dice) => {
  const row = dice.pick(
    coveredRows(subject).filter(
      ({ kind }) => !CHECKPOINT_KINDS.has(kind) && kind !== 'session.open',
    ),
  );
  const files = changed(subject, (store) => {
    const rows = store.rows.filter(({ stream_id: stream }) => stream === row.stream_id);
    find(store, row).source = 'forged';
    resign(rows, row.seq, (epoch) => `forger ${epoch}`);
  });
  return {
    kind: 'forge checkpoints under new keys',
    detail: `from ${row.seq}`,
    files,
    targets: [around(subject, row.stream_id, row.seq, row.seq)],
  };
};

/** Whoever takes the sandbox has the key of the last epoch, and signs an earlier place with it. */
const stolenKey: Mutate = (subject, dice) => {
  const points = (stream: string) => subject.points.get(stream) ?? [];
  const row = dice.pick(
    coveredRows(subject).filter(
      ({ kind, stream_id: stream, seq }) =>
        kind !== 'session.open' &&
        !CHECKPOINT_KINDS.has(kind) &&
        points(stream).filter((one) => one > seq).length >= 2,
    ),
  );
  if (row === undefined) return undefined;
  const index = [...subject.ends.keys()].sort().indexOf(row.stream_id);
  const epoch = points(row.stream_id).length - 1;
  const files = changed(subject, (store) => {
    const rows = store.rows.filter(({ stream_id: stream }) => stream === row.stream_id);
    find(store, row).source = 'forged';
    resign(rows, row.seq, () => `${subject.name} stolen ${index} ${epoch}`, true);
  });
  return {
    kind: 'sign an earlier place with the last key',
    detail: `at ${row.seq}`,
    files,
    targets: [around(subject, row.stream_id, row.seq, row.seq)],
  };
};

export const STORE_MUTATIONS: readonly (readonly [weight: number, mutate: Mutate])[] = [
  [24, editField],
  [4, editKind],
  [3, editSalt],
  [5, deleteOne],
  [3, deleteSome],
  [5, duplicate],
  [4, reorder],
  [6, truncate],
  [1, empty],
  [1, dropStream],
  [5, splice],
  [3, replay],
  [2, rewrite],
  [1, substitute],
  [3, forgeSuffix],
  [2, stolenKey],
];
