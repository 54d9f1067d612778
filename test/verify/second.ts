/**
 * The second verifier of evidence bundles: written from schemas/evidence/README.md alone, plain and
 * in memory, with node:crypto and nothing of the project. It says the same as `telltale verify`.
 *
 *     node --import tsx test/verify/second.ts BUNDLE [--log-key VKEY]… [--witness VKEY]…
 */
import { createHash, createHmac } from 'node:crypto';
import { leadsToRoot, parseCheckpoint, signedBy } from './note.ts';
import { readTar, Unreadable } from './tar.ts';

export interface Place {
  readonly code: string;
  readonly file: string;
  readonly line?: number;
  readonly stream_id?: string;
  readonly first_seq?: number;
  readonly last_seq?: number;
  readonly field?: string;
}
export interface Verdict {
  readonly verdict: string;
  readonly first?: Place | undefined;
}
export interface Verdicts {
  readonly integrity: Verdict & {
    readonly faults: readonly Place[];
    readonly stretches: readonly Place[];
  };
  readonly completeness: Verdict & {
    readonly produced: number;
    readonly stored: number;
    readonly parked: number;
    readonly declared: number;
    readonly unaccounted: number;
  };
  readonly assurance: Verdict & { readonly counts: Readonly<Record<string, number>> };
}
export interface Keys {
  readonly logKeys?: readonly string[];
  readonly witnesses?: readonly string[];
  readonly sha256?: string | undefined;
  /** A note of the log that was seen before. */
  readonly knownNote?: string | undefined;
}

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
type Obj = { [key: string]: Json };
interface Line {
  readonly line: number;
  readonly text: string;
  readonly value: Obj;
}
interface Event extends Line {
  readonly stream: string;
  readonly seq: number;
}

const FILES = ['events.ndjson', 'blobs.ndjson', 'dead-letters.ndjson', 'log/checkpoint'];
const ORDER = [...FILES, 'log/proofs.ndjson', 'custody.ndjson', 'manifest.json', 'bundle'];
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const HEX = /^[0-9a-f]{64}$/;
const MIB = 1024 * 1024;

const sha = (bytes: string | Buffer): string => createHash('sha256').update(bytes).digest('hex');
const shaRaw = (...parts: (string | Buffer)[]): Buffer =>
  parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest();

/** RFC 8785 of what the format allows; undefined where a number is not allowed. */
function canonical(value: Json): string | undefined {
  if (typeof value === 'number')
    return Number.isSafeInteger(value) && !Object.is(value, -0) ? String(value) : undefined;
  if (Array.isArray(value)) {
    const items = value.map(canonical);
    return items.includes(undefined) ? undefined : `[${items.join(',')}]`;
  }
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  const members: string[] = [];
  for (const key of Object.keys(value).sort()) {
    const member = canonical(value[key] as Json);
    if (member === undefined) return undefined;
    members.push(`${JSON.stringify(key)}:${member}`);
  }
  return `{${members.join(',')}}`;
}

/** The object of a line, or undefined where it is not canonical JSON of an object. */
function parseLine(bytes: Buffer): Obj | undefined {
  const text = bytes.toString('utf8');
  if (!Buffer.from(text, 'utf8').equals(bytes)) return undefined;
  try {
    const value = JSON.parse(text) as Json;
    if (value === null || typeof value !== 'object' || Array.isArray(value)) return undefined;
    return canonical(value) === text ? value : undefined;
  } catch {
    return undefined;
  }
}

const isText = (value: unknown): value is string => typeof value === 'string';
const isCount = (value: unknown): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
const isSeq = (value: unknown): value is number => isCount(value) && value < 2 ** 32;
const hasKeys = (value: Obj, keys: string): boolean =>
  Object.keys(value).sort().join(' ') === keys.split(' ').sort().join(' ');
const idOf = (stream: string, seq: number): string => `${stream}-${seq}`;
const splitId = (id: unknown): [string, number] | undefined => {
  const [, stream, seq] = (isText(id) && /^([0-9a-f-]{36})-(0|[1-9]\d{0,9})$/.exec(id)) || [];
  return stream !== undefined && UUID.test(stream) && isSeq(Number(seq))
    ? [stream, Number(seq)]
    : undefined;
};
/** By stream, then number. */
const compare = (a: readonly [string, number], b: readonly [string, number]): number =>
  a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : a[1] - b[1];

class Bundle {
  readonly faults: Place[] = [];
  readonly stretches: Place[] = [];
  readonly files: Map<string, Buffer>;
  readonly manifest: Obj;
  readonly tenant: string;
  readonly session: string;
  readonly contentFields: readonly string[];

  constructor(bytes: Buffer) {
    this.files = readTar(bytes);
    const raw = this.files.get('manifest.json');
    if (raw === undefined) throw new Unreadable('there is no manifest.json');
    if (raw.length > MIB) throw new Unreadable('manifest.json is too large');
    const manifest = raw.at(-1) === 10 ? parseLine(raw.subarray(0, -1)) : undefined;
    const keys = 'content content_fields files format left_out log session_id tenant tool';
    if (manifest === undefined || !hasKeys(manifest, keys))
      throw new Unreadable('manifest.json is not one canonical line of the right shape');
    const { format, content, content_fields: names, session_id: session, tenant } = manifest;
    if (format !== 'telltale-bundle/1') throw new Unreadable('an unknown format');
    const good =
      (content === 'full' || content === 'none') &&
      Array.isArray(names) &&
      names.every(isText) &&
      isText(tenant) &&
      isText(session) &&
      UUID.test(session) &&
      isText(manifest.tool) &&
      Array.isArray(manifest.left_out) &&
      isObject(manifest.files) &&
      (manifest.log === null || (isObject(manifest.log) && hasKeys(manifest.log, 'origin size')));
    if (!good) throw new Unreadable('manifest.json holds a value of a wrong shape');
    this.manifest = manifest;
    this.tenant = tenant as string;
    this.session = session as string;
    this.contentFields = names as string[];
  }

  fault(code: string, file: string, more: Partial<Place> = {}): void {
    this.faults.push({ code, file, ...more });
  }
  stretch(code: string, file: string, more: Partial<Place> = {}): void {
    this.stretches.push({ code, file, ...more });
  }

  /** The canonical lines of a file; the others are faults. Throws for a line that is too long. */
  lines(file: string): Line[] {
    const bytes = this.files.get(file) ?? Buffer.alloc(0);
    const out: Line[] = [];
    let line = 0;
    for (let from = 0; from < bytes.length; ) {
      line++;
      const end = bytes.indexOf(10, from);
      const to = end < 0 ? bytes.length : end;
      if (to - from > 32 * MIB) throw new Unreadable(`${file} line ${line} is too long`);
      const value = end < 0 ? undefined : parseLine(bytes.subarray(from, to));
      if (value === undefined) this.fault('line_invalid', file, { line });
      else out.push({ line, value, text: bytes.toString('utf8', from, to) });
      from = to + 1;
    }
    return out;
  }
}
const isObject = (value: Json | undefined): value is Obj =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The events that stand where they belong, by stream. */
function readEvents(bundle: Bundle): Map<string, Event[]> {
  const streams = new Map<string, Event[]>();
  const file = 'events.ndjson';
  let last: [string, number] | undefined;
  for (const one of bundle.lines(file)) {
    const { tenant, session_id: session, stream_id: stream, seq, kind } = one.value;
    const shaped =
      isText(tenant) &&
      isText(session) &&
      isText(stream) &&
      UUID.test(stream) &&
      isSeq(seq) &&
      isText(kind) &&
      !('content_salt' in one.value) &&
      !('erased' in one.value) &&
      bundle.contentFields.every(
        (name) => !(name in one.value) || HEX.test(String(one.value[name])),
      );
    if (!shaped) bundle.fault('line_invalid', file, { line: one.line });
    else if (tenant !== bundle.tenant || session !== bundle.session)
      bundle.fault('foreign_event', file, { line: one.line });
    else {
      const order = last === undefined ? 1 : compare([stream, seq], last);
      const at = { line: one.line, stream_id: stream, first_seq: seq, last_seq: seq };
      if (order === 0) bundle.fault('duplicate', file, at);
      else if (order < 0) bundle.fault('out_of_order', file, at);
      else {
        last = [stream, seq];
        const events = streams.get(stream) ?? [];
        streams.set(stream, events);
        events.push({ ...one, stream, seq });
      }
    }
  }
  if (streams.size === 0) bundle.stretch('no_events', file);
  return streams;
}

const digestOf = (event: Event): Buffer => shaRaw(event.text);

const rawKey = (text: Json | undefined): Buffer | undefined =>
  isText(text) &&
  /^[A-Za-z0-9+/]{43}=$/.test(text) &&
  Buffer.from(text, 'base64').toString('base64') === text
    ? Buffer.from(text, 'base64')
    : undefined;

/** The chain of one stream: heads, checkpoints, and the keys that follow one another. */
function checkChain(bundle: Bundle, stream: string, events: readonly Event[]): void {
  const file = 'events.ndjson';
  const at = (event: Event, first: number, last: number) => ({
    line: event.line,
    stream_id: stream,
    first_seq: first,
    last_seq: last,
  });
  const name = `${bundle.tenant}\n${bundle.session}\n${stream}\n`;
  const isSigned = (value: Obj, key: Buffer): boolean => {
    const { signature, ...unsigned } = value;
    const digest = sha(canonical(unsigned) as string);
    const statement = `telltale-checkpoint/2\n${name}${value.chain_count}\n${value.chain_head}\n${digest}\n`;
    const bytes = Buffer.from(isText(signature) ? signature : '', 'base64');
    return bytes.toString('base64') === signature && signedBy(key, Buffer.from(statement), bytes);
  };
  let head: Buffer | undefined = shaRaw(`telltale-chain/2\n${name}`);
  let key: Buffer | undefined;
  let trusted = false;
  let earlier: Buffer[] = [];
  let holed = false;
  let closed = false;
  /** From here on no checkpoint was good; the last good one. */
  let from = 0;
  let good = -1;
  let next = 0;
  for (const event of events) {
    const { seq, value } = event;
    const own = at(event, seq, seq);
    if (closed) bundle.fault('after_close', file, own);
    if (seq > next) {
      bundle.stretch('missing', file, at(event, next, seq - 1));
      head = undefined;
      holed = true;
    }
    next = seq + 1;
    if (seq === 0) {
      key = rawKey(value.public_key);
      trusted = key !== undefined;
      if (key === undefined) bundle.stretch('no_key', file, own);
    }
    let pushed = digestOf(event);
    if (value.kind === 'session.heartbeat' || value.kind === 'session.close') {
      const computed = head?.toString('hex');
      const asWas: Obj = { ...value, chain_count: seq, chain_head: computed ?? '' };
      const mended =
        key !== undefined &&
        computed !== undefined &&
        !(value.chain_head === computed && value.chain_count === seq) &&
        isSigned(asWas, key);
      let vouched: boolean | undefined = mended;
      if (mended) {
        bundle.fault('checkpoint_changed', file, own);
        pushed = shaRaw(canonical(asWas) as string);
      } else if (key === undefined) vouched = undefined;
      else if (isSigned(value, key)) vouched = true;
      else if (value.signature === undefined) bundle.fault('unsigned', file, own);
      else if (earlier.some((one) => isSigned(value, one))) bundle.fault('wrong_key', file, own);
      else if (holed) {
        bundle.stretch('key_lost', file, own);
        vouched = undefined;
      } else if (computed === value.chain_head) bundle.fault('checkpoint_changed', file, own);
      else bundle.fault('forged', file, at(event, from, seq));
      const fits = mended || (computed !== undefined && computed === value.chain_head);
      if (computed !== undefined && !fits && vouched !== false)
        bundle.fault(
          'changed',
          file,
          at(event, Math.min(from, Math.max(seq - 1, 0)), Math.max(seq - 1, 0)),
        );
      if (!mended && value.chain_count !== seq && vouched !== false)
        bundle.fault('checkpoint_changed', file, own);
      if (!fits && (vouched === true || computed === undefined))
        head = Buffer.from(isText(value.chain_head) ? value.chain_head : '', 'hex');
      const authentic: boolean = vouched === true && trusted;
      if (authentic && !mended) good = seq;
      from = authentic ? seq + 1 : seq;
      holed = false;
      if (value.kind === 'session.close') {
        closed = true;
        key = undefined;
      } else {
        const following = rawKey(value.next_public_key);
        if (authentic && following === undefined) bundle.stretch('key_lost', file, own);
        if (key !== undefined) earlier = [earlier[0] ?? key, key];
        key = following;
        trusted = authentic && following !== undefined;
      }
    }
    if (head !== undefined) head = shaRaw(head, pushed);
  }
  const last = events.at(-1) as Event;
  if (good < last.seq) bundle.stretch('tail', file, at(last, good + 1, last.seq));
}

/** The lines of a file as bytes; only the last can lack its LF. */
function rawLines(bundle: Bundle, file: string): { line: number; bytes: Buffer; ended: boolean }[] {
  const all = bundle.files.get(file) ?? Buffer.alloc(0);
  const out: { line: number; bytes: Buffer; ended: boolean }[] = [];
  for (let from = 0; from < all.length; ) {
    const end = all.indexOf(10, from);
    const to = end < 0 ? all.length : end;
    if (to - from > 32 * MIB) throw new Unreadable(`${file} has a line that is too long`);
    out.push({ line: out.length + 1, bytes: all.subarray(from, to), ended: end >= 0 });
    from = to + 1;
  }
  return out;
}

/** Which content has an opening that fits; keys are `event id` + blank + `field`. */
function checkOpenings(bundle: Bundle, streams: Map<string, Event[]>): Set<string> {
  const file = 'blobs.ndjson';
  const opened = new Set<string>();
  const events = new Map(
    [...streams.values()].flat().map((one) => [idOf(one.stream, one.seq), one]),
  );
  let last: [string, number, string] | undefined;
  for (const { line, bytes, ended } of rawLines(bundle, file)) {
    const head =
      /^\{"event_id":"([^"]+)","field":"([a-z0-9_]{1,64})","salt":"([0-9a-f]{32})","value":/.exec(
        bytes.toString('latin1'),
      );
    const [all = '', id = '', field = '', salt = ''] = head ?? [];
    const place = splitId(id);
    if (place === undefined || !ended || bytes.at(-1) !== 0x7d) {
      bundle.fault('line_invalid', file, { line });
      continue;
    }
    const json = bytes.subarray(all.length, -1);
    const at = { line, stream_id: place[0], first_seq: place[1], last_seq: place[1], field };
    const order =
      last === undefined
        ? 1
        : compare(place, [last[0], last[1]]) || (field < last[2] ? -1 : field > last[2] ? 1 : 0);
    if (order <= 0) {
      bundle.fault(order === 0 ? 'duplicate' : 'out_of_order', file, at);
      continue;
    }
    last = [...place, field];
    const commitment = bundle.contentFields.includes(field)
      ? events.get(id)?.value[field]
      : undefined;
    if (commitment === undefined) {
      bundle.fault('opening_orphan', file, at);
      continue;
    }
    const mac = createHmac('sha256', Buffer.from(salt, 'hex'));
    const given = mac.update(`${field}\0`).update(json).digest('hex');
    if (given !== commitment) bundle.fault('opening_mismatch', file, at);
    opened.add(`${id} ${field}`);
  }
  return opened;
}

interface Account {
  readonly stored: Set<number>;
  readonly parked: Set<number>;
  readonly gaps: Event[];
  vouched: number;
  close: number;
}
type Accounts = Map<string, Account>;
const accountOf = (accounts: Accounts, stream: string): Account => {
  const known = accounts.get(stream);
  if (known !== undefined) return known;
  const made = {
    stored: new Set<number>(),
    parked: new Set<number>(),
    gaps: [],
    vouched: -1,
    close: -1,
  };
  accounts.set(stream, made);
  return made;
};

function countEvents(streams: Map<string, Event[]>, accounts: Accounts): void {
  for (const [stream, events] of streams) {
    const account = accountOf(accounts, stream);
    for (const event of events) {
      account.stored.add(event.seq);
      if (event.value.kind === 'gap') account.gaps.push(event);
      if (event.value.kind === 'session.close' && isCount(event.value.chain_count))
        account.close = Math.max(account.close, event.value.chain_count);
    }
  }
}

function readDead(bundle: Bundle, accounts: Accounts): void {
  const file = 'dead-letters.ndjson';
  for (const { line, value } of bundle.lines(file)) {
    const keys = 'bytes_base64 detail field origin parked_ms reason session_id stream_id tenant';
    const texts = ['bytes_base64', 'detail', 'field', 'origin', 'reason', 'stream_id'];
    const shaped =
      hasKeys(value, 'seq' in value ? `${keys} seq` : keys) &&
      texts.every((name) => isText(value[name])) &&
      isCount(value.parked_ms) &&
      (!('seq' in value) || isSeq(value.seq)) &&
      value.session_id === bundle.session &&
      value.tenant === bundle.tenant;
    if (!shaped) bundle.fault('line_invalid', file, { line });
    else if (isSeq(value.seq) && UUID.test(value.stream_id as string))
      accountOf(accounts, value.stream_id as string).parked.add(value.seq);
  }
}

interface Proof {
  readonly line: number;
  readonly index: number;
  readonly leaf: Obj;
}

/** Proven leaves; what does not lead to the root is a fault. */
function readProofs(bundle: Bundle, keys: Keys): Proof[] {
  const { log } = bundle.manifest;
  const note = bundle.files.get('log/checkpoint');
  const checkpoint = note === undefined ? undefined : parseCheckpoint(note);
  const logKeys = keys.logKeys ?? [];
  if (log !== null && note !== undefined) {
    const { origin, size } = log as Obj;
    const named =
      checkpoint !== undefined && checkpoint.origin === origin && checkpoint.size === size;
    const signed =
      logKeys.length === 0 ||
      logKeys.some((key) => key.startsWith(`${checkpoint?.origin}+`) && checkpoint?.signedBy(key));
    if (!named || !signed) bundle.fault('checkpoint_note', 'log/checkpoint');
  }
  const known =
    keys.knownNote === undefined ? undefined : parseCheckpoint(Buffer.from(keys.knownNote));
  if (log !== null && checkpoint !== undefined && known !== undefined) {
    const sameSize = checkpoint.size === known.size && !checkpoint.root.equals(known.root);
    if (checkpoint.size < known.size || sameSize) bundle.fault('log_rolled_back', 'log/checkpoint');
  }
  for (const witness of keys.witnesses ?? [])
    if (checkpoint?.signedBy(witness) !== true) bundle.stretch('witness', 'log/checkpoint');
  const proofs: Proof[] = [];
  let last = -1;
  for (const { line, value } of bundle.lines('log/proofs.ndjson')) {
    const { index, leaf, proof } = value;
    const parsed = isText(leaf) ? parseLine(Buffer.from(leaf)) : undefined;
    const keysOf =
      'chain_count chain_head event_digest final seq session_id stream_id telltale tenant';
    const shaped =
      hasKeys(value, 'index leaf proof') &&
      isCount(index) &&
      index > last &&
      Array.isArray(proof) &&
      proof.every((hash) => HEX.test(String(hash))) &&
      parsed !== undefined &&
      hasKeys(parsed, keysOf) &&
      parsed.telltale === 'head/1' &&
      parsed.tenant === bundle.tenant &&
      parsed.session_id === bundle.session &&
      isSeq(parsed.seq) &&
      UUID.test(String(parsed.stream_id)) &&
      typeof parsed.final === 'boolean';
    const path = shaped ? (proof as string[]).map((hash) => Buffer.from(hash, 'hex')) : [];
    if (
      shaped &&
      checkpoint &&
      leadsToRoot(leaf as string, index, checkpoint.size, path, checkpoint.root)
    ) {
      proofs.push({ line, index, leaf: parsed });
      last = index;
    } else bundle.fault('proof_invalid', 'log/proofs.ndjson', { line });
  }
  return proofs;
}

/** What the log vouches for must be in the events. */
function checkLeaves(
  bundle: Bundle,
  proofs: readonly Proof[],
  streams: Map<string, Event[]>,
  accounts: Accounts,
  keyed: boolean,
): void {
  const anchored = new Set<string>();
  for (const { line, leaf } of proofs) {
    const stream = leaf.stream_id as string;
    const seq = leaf.seq as number;
    const account = accountOf(accounts, stream);
    account.vouched = Math.max(account.vouched, seq);
    if (seq === 0) anchored.add(stream);
    const event = streams.get(stream)?.find((one) => one.seq === seq);
    if (event === undefined) continue;
    const { value } = event;
    const start = shaRaw(
      `telltale-chain/2\n${bundle.tenant}\n${bundle.session}\n${stream}\n`,
    ).toString('hex');
    const good =
      digestOf(event).toString('hex') === leaf.event_digest &&
      leaf.final === (value.kind === 'session.close') &&
      leaf.chain_count === seq &&
      leaf.chain_head === (seq === 0 ? start : value.chain_head);
    if (!good)
      bundle.fault('leaf_mismatch', 'log/proofs.ndjson', {
        line,
        stream_id: stream,
        first_seq: seq,
        last_seq: seq,
      });
  }
  if (!keyed) return;
  for (const [stream, events] of [...streams].sort()) {
    const at = {
      stream_id: stream,
      first_seq: (events[0] as Event).seq,
      last_seq: (events.at(-1) as Event).seq,
    };
    if (!anchored.has(stream)) bundle.stretch('not_in_log', 'log/proofs.ndjson', at);
  }
}

/** The custody log against the evidence; gives what it says was erased. */
function checkCustody(
  bundle: Bundle,
  streams: Map<string, Event[]>,
  proofs: readonly Proof[],
  opened: Set<string>,
): Set<string> {
  const file = 'custody.ndjson';
  const erased = new Set<string>();
  const expected: Obj[] = [];
  for (const [stream, events] of streams) {
    const { agent = '', host = '', user = '' } = (events[0] as Event).value;
    const times = events
      .map(({ value }) => (isText(value.observed_ts) ? value.observed_ts : ''))
      .sort();
    const times2 = { from: times[0] as string, to: times.at(-1) as string };
    expected.push({ entry: 'recorded', stream_id: stream, agent, host, user, ...times2 });
  }
  for (const [stream, events] of streams)
    expected.push({ entry: 'stored', stream_id: stream, events: events.length });
  const stored = expected.length;
  for (const { index, leaf } of proofs)
    expected.push({
      entry: 'sealed',
      index,
      seq: leaf.seq as number,
      stream_id: leaf.stream_id as string,
      final: leaf.final as boolean,
    });
  expected.push({ entry: 'exported', tool: bundle.manifest.tool as string });
  let previous = sha(`telltale-custody/1\n${bundle.tenant}\n${bundle.session}\n`);
  let at = 0;
  let count = 0;
  let wrong = false;
  let lastErased: [string, number] | undefined;
  const placed = new Set<number>();
  for (const { line, bytes, ended } of rawLines(bundle, file)) {
    count = line;
    const value = ended ? parseLine(bytes) : undefined;
    if (value === undefined) {
      bundle.fault('line_invalid', file, { line });
      continue;
    }
    if (value.prev !== previous) bundle.fault('custody_chain', file, { line });
    previous = sha(bytes);
    if (value.entry === 'erased') {
      if (at !== stored && !placed.has(at)) bundle.fault('custody_mismatch', file, { line });
      placed.add(at);
      const place = splitId(value.event_id);
      const fields = value.fields;
      const shaped =
        place !== undefined &&
        Array.isArray(fields) &&
        fields.every(isText) &&
        hasKeys(value, 'at_ms by entry event_id fields prev reason') &&
        isCount(value.at_ms) &&
        isText(value.by) &&
        isText(value.reason) &&
        (lastErased === undefined || compare(place, lastErased) >= 0);
      if (shaped) lastErased = place;
      const event = shaped ? streams.get(place[0])?.find(({ seq }) => seq === place[1]) : undefined;
      const gone =
        event !== undefined &&
        (fields as string[]).every(
          (name) =>
            bundle.contentFields.includes(name) &&
            event.value[name] !== undefined &&
            !opened.has(`${value.event_id} ${name}`),
        );
      if (!gone) bundle.fault('custody_mismatch', file, { line });
      else for (const name of fields as string[]) erased.add(`${value.event_id} ${name}`);
      continue;
    }
    const want = expected[at++];
    if (wrong) continue;
    const free: Readonly<Record<string, string>> = {
      stored: 'first_ms last_ms',
      exported: 'at_ms by from reason',
    };
    const keys = [...Object.keys(want ?? {}), 'prev', free[String(want?.entry)] ?? []]
      .flat()
      .join(' ');
    const good =
      want !== undefined &&
      hasKeys(value, keys.trim()) &&
      Object.entries(want).every(([name, is]) => value[name] === is);
    if (!good) {
      bundle.fault('custody_mismatch', file, { line });
      wrong = true;
    }
  }
  if (!wrong && at < expected.length) bundle.fault('custody_mismatch', file, { line: count + 1 });
  return erased;
}

function checkManifest(
  bundle: Bundle,
  streams: Map<string, Event[]>,
  opened: Set<string>,
  erased: Set<string>,
): void {
  const full = bundle.manifest.content === 'full';
  let withheld = 0;
  for (const event of [...streams.values()].flat())
    for (const field of bundle.contentFields) {
      const name = `${idOf(event.stream, event.seq)} ${field}`;
      if (!(field in event.value) || opened.has(name) || erased.has(name)) continue;
      withheld++;
      const at = { stream_id: event.stream, first_seq: event.seq, last_seq: event.seq, field };
      if (full) bundle.fault('content_missing', 'blobs.ndjson', at);
    }
  const left: Obj[] = [];
  if (erased.size > 0) left.push({ count: erased.size, what: 'content', why: 'erased' });
  if (withheld > 0 && !full) left.push({ count: withheld, what: 'content', why: 'withheld' });
  if (bundle.manifest.log === null)
    left.push({ count: 1, what: 'log', why: 'the installation has no transparency log' });
  const denied = !full && (bundle.files.get('blobs.ndjson')?.length ?? 0) > 0;
  if (canonical(left) !== canonical(bundle.manifest.left_out as Json) || denied)
    bundle.fault('left_out', 'manifest.json');
  const names = ['events.ndjson', 'blobs.ndjson', 'dead-letters.ndjson', 'custody.ndjson'];
  if (bundle.manifest.log !== null) names.push('log/checkpoint', 'log/proofs.ndjson');
  const listed = bundle.manifest.files as Obj;
  for (const name of ORDER.slice(0, 6)) {
    const bytes = bundle.files.get(name);
    const entry = listed[name];
    if (bytes === undefined && (names.includes(name) || entry !== undefined))
      bundle.fault('file_missing', name);
    if (bytes === undefined) continue;
    let lines = 0;
    for (const byte of bytes) if (byte === 10) lines++;
    const is = canonical({ bytes: bytes.length, lines, sha256: sha(bytes) });
    if (entry === undefined || !names.includes(name)) bundle.fault('file_unlisted', name);
    else if (canonical(entry) !== is) bundle.fault('file_altered', name);
  }
  for (const name of Object.keys(listed).sort())
    if (!ORDER.slice(0, 6).includes(name)) bundle.fault('file_missing', 'manifest.json');
}

/** The account of one stream, number by number. */
function complete(stream: string, account: Account) {
  const file = 'events.ndjson';
  const { stored, parked, gaps, vouched, close } = account;
  const ranges = gaps.flatMap(({ value: { gap_first_seq: from, gap_last_seq: to } }) =>
    isCount(from) && isSeq(to) && to >= from ? [[from, to] as const] : [],
  );
  const highest = Math.max(-1, ...stored);
  const known =
    close < 0 ? Math.max(highest, ...parked) : Math.max(highest, Math.min(close, 2 ** 32 - 1));
  const last = Math.max(known, vouched);
  let declared = 0;
  let first: Place | undefined;
  let unaccounted = 0;
  let parkedOnly = 0;
  let run: [number, number] | undefined;
  for (let n = 0; n <= last; n++) {
    if (stored.has(n)) continue;
    if (n <= known && parked.has(n)) parkedOnly++;
    else if (n <= known && ranges.some(([from, to]) => n >= from && n <= to)) declared++;
    else {
      unaccounted++;
      if (run === undefined) run = [n, n];
      else if (run[1] === n - 1) run[1] = n;
    }
  }
  const lost = [...gaps.map(({ seq }) => seq), ...parked].sort((a, b) => a - b)[0];
  const at = (from: number, to: number) => ({
    file,
    stream_id: stream,
    first_seq: from,
    last_seq: to,
  });
  let verdict = 'complete';
  if (run === undefined && close >= 0 && highest > close)
    [verdict, first] = ['incomplete', { code: 'unaccounted', ...at(last, last) }];
  else if (run !== undefined)
    [verdict, first] = ['incomplete', { code: 'unaccounted', ...at(...run) }];
  else if (close < 0) [verdict, first] = ['open', { code: 'not_closed', ...at(last, last) }];
  else if (lost !== undefined && (declared + parkedOnly > 0 || gaps.length > ranges.length))
    [verdict, first] = ['declared', { code: 'declared_lost', ...at(lost, lost) }];
  return {
    verdict,
    first,
    produced: last + 1,
    stored: stored.size,
    parked: parkedOnly,
    declared,
    unaccounted,
  };
}

function completeness(accounts: Accounts): Verdicts['completeness'] {
  const streams = [...accounts]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([stream, one]) => complete(stream, one));
  const sum = (name: 'produced' | 'stored' | 'parked' | 'declared' | 'unaccounted') =>
    streams.reduce((total, one) => total + one[name], 0);
  const sums = {
    produced: sum('produced'),
    stored: sum('stored'),
    parked: sum('parked'),
    declared: sum('declared'),
    unaccounted: sum('unaccounted'),
  };
  if (streams.length === 0)
    return { verdict: 'incomplete', first: { code: 'no_events', file: 'events.ndjson' }, ...sums };
  const worst = ['incomplete', 'open', 'declared', 'complete'].find((word) =>
    streams.some(({ verdict }) => verdict === word),
  ) as string;
  return {
    verdict: worst,
    first: streams.find(({ verdict }) => verdict === worst)?.first,
    ...sums,
  };
}

function assurance(streams: Map<string, Event[]>): Verdicts['assurance'] {
  const counts: Record<string, number> = { verified: 0, observed: 0, reported: 0, inferred: 0 };
  const levels: { level: string; first: Place | undefined }[] = [];
  for (const [stream, events] of streams) {
    const at = ({ seq, line }: Event) => ({
      file: 'events.ndjson',
      line,
      stream_id: stream,
      first_seq: seq,
      last_seq: seq,
    });
    const kernel = new Set<unknown>();
    let lowered: Place | undefined;
    let reported = false;
    for (const event of events) {
      const { kind, assurance: how, coverage, sensor_rung: rung } = event.value;
      if (isText(how) && Object.hasOwn(counts, how)) counts[how] = (counts[how] as number) + 1;
      if (how === 'reported') reported = true;
      if (kind === 'sensor' && isCount(rung) && rung >= 1 && rung <= 3) kernel.add(coverage);
      if (kind === 'sensor' && coverage !== 'complete')
        lowered ??= { code: 'coverage', ...at(event) };
      if (kind === 'gap') lowered ??= { code: 'gap', ...at(event) };
    }
    const saw = kernel.has('complete') || kernel.has('partial');
    const blind = { code: 'no_kernel_sensor', ...at(events[0] as Event) };
    if (!saw) levels.push({ level: reported ? 'agent-only' : 'none', first: blind });
    else if (lowered === undefined) levels.push({ level: 'full', first: undefined });
    else levels.push({ level: 'partial', first: lowered });
  }
  const worst = ['none', 'agent-only', 'partial', 'full'].find((word) =>
    levels.some(({ level }) => level === word),
  );
  if (worst === undefined)
    return { verdict: 'none', first: { code: 'no_events', file: 'events.ndjson' }, counts };
  return { verdict: worst, first: levels.find(({ level }) => level === worst)?.first, counts };
}

/** The three verdicts on a bundle's bytes. Throws `Unreadable` where nothing can be said. */
export function verifyBundle(bytes: Buffer, keys: Keys = {}): Verdicts {
  const bundle = new Bundle(bytes);
  const streams = readEvents(bundle);
  const accounts: Accounts = new Map();
  for (const [stream, events] of streams) checkChain(bundle, stream, events);
  countEvents(streams, accounts);
  const opened = checkOpenings(bundle, streams);
  readDead(bundle, accounts);
  const proofs = readProofs(bundle, keys);
  checkLeaves(bundle, proofs, streams, accounts, (keys.logKeys ?? []).length > 0);
  const erased = checkCustody(bundle, streams, proofs, opened);
  checkManifest(bundle, streams, opened, erased);
  if (keys.sha256 !== undefined && sha(bytes) !== keys.sha256)
    bundle.fault('bundle_altered', 'bundle');
  const inOrder = (places: readonly Place[]) =>
    [...places].sort(
      (a, b) =>
        ORDER.indexOf(a.file) - ORDER.indexOf(b.file) ||
        (a.line ?? Infinity) - (b.line ?? Infinity) ||
        0,
    );
  const faults = inOrder(bundle.faults);
  const stretches = inOrder(bundle.stretches);
  const verdict = faults.length > 0 ? 'broken' : stretches.length > 0 ? 'unverifiable' : 'intact';
  return {
    integrity: { verdict, first: faults[0] ?? stretches[0], faults, stretches },
    completeness: completeness(accounts),
    assurance: assurance(streams),
  };
}
