/**
 * Mutations by whoever holds the bundle. The careful ones make the manifest, and where they can the
 * custody log, fit what they changed; the careless ones do not.
 */
import { createHash } from 'node:crypto';
import { custodyStart } from '../../schemas/evidence/custody.ts';
import { canonicalJson, type Json, type JsonObject } from '../../schemas/evidence/json.ts';
import { foldNote } from './forge-note.ts';
import type { Mutate } from './mutate-store.ts';
import { type Files, remanifest, tarHeader, tarOf } from './pack.ts';
import { around, changed, coveredRows, KEYS, type Mutation, type Subject } from './subject.ts';

const copy = (subject: Subject): Files => new Map(subject.files);
const linesOf = (files: Files, name: string): string[] =>
  String(files.get(name)).split('\n').slice(0, -1);
const put = (files: Files, name: string, lines: readonly string[]): void =>
  void files.set(name, Buffer.from(lines.map((line) => `${line}\n`).join('')));
const parse = (line: string | undefined): JsonObject => JSON.parse(line ?? '{}') as JsonObject;

const careful = (
  kind: string,
  detail: string,
  files: Files,
  targets: Mutation['targets'],
  more: JsonObject = {},
): Mutation => {
  remanifest(files, more);
  return { kind, detail, files, targets };
};

/** One member of one line of the events, whatever it is, stream and session included. */
const editEventLine: Mutate = (subject, dice) => {
  const row = dice.pick(coveredRows(subject));
  const files = copy(subject);
  const lines = linesOf(files, 'events.ndjson');
  const index = lines.findIndex(
    (line) => line.includes(`"seq":${row.seq},`) && line.includes(row.stream_id),
  );
  const event = parse(lines[index]) as Record<string, Json>;
  const name = dice.pick(Object.keys(event));
  const value = event[name];
  event[name] =
    typeof value === 'number'
      ? value + 1
      : typeof value === 'string'
        ? `${value.slice(0, -1)}${value.endsWith('0') ? '1' : '0'}`
        : Array.isArray(value)
          ? [...value, 'x']
          : typeof value === 'boolean'
            ? !value
            : { more: 'x' };
  lines[index] = canonicalJson(event);
  put(files, 'events.ndjson', lines);
  return careful('edit a line of the events', `${row.kind}.${name} at ${row.seq}`, files, [
    around(subject, row.stream_id, row.seq, row.seq, true),
    { file: 'events.ndjson', line: index + 1 },
    { file: 'events.ndjson', line: index + 2 },
  ]);
};

const breakEventLine: Mutate = (subject, dice) => {
  const files = copy(subject);
  const lines = linesOf(files, 'events.ndjson');
  const index = dice.upTo(lines.length);
  const line = lines[index] as string;
  const how = dice.pick(['blank', 'order', 'twice', 'float', 'none', 'list', 'utf8']);
  const broken: Record<string, string> = {
    blank: line.replace(':', ': '),
    order: line.replace(/^\{(.*?),(.*)\}$/s, '{$2,$1}'),
    twice: line.replace('"assurance":', '"assurance":"verified","assurance":'),
    float: line.replace(/"seq":(\d+)/, '"seq":$1.0'),
    none: '',
    list: `[${line}]`,
    utf8: line,
  };
  put(files, 'events.ndjson', [
    ...lines.slice(0, index),
    broken[how] as string,
    ...lines.slice(index + 1),
  ]);
  if (how === 'utf8') {
    const bytes = Buffer.from(files.get('events.ndjson') as Buffer);
    const start = Buffer.byteLength(
      lines
        .slice(0, index)
        .map((one) => `${one}\n`)
        .join(''),
    );
    bytes[start + bytes.subarray(start).indexOf('"source":"') + 11] = 0xff;
    files.set('events.ndjson', bytes);
  }
  return careful('break a line of the events', `${how} in line ${index + 1}`, files, [
    { file: 'events.ndjson', line: index + 1 },
  ]);
};

const shuffleLines: Mutate = (subject, dice) => {
  const files = copy(subject);
  const lines = linesOf(files, 'events.ndjson');
  const index = dice.upTo(lines.length - 1);
  [lines[index], lines[index + 1]] = [lines[index + 1] as string, lines[index] as string];
  put(files, 'events.ndjson', lines);
  const targets = [1, 2, 3].map((by) => ({ file: 'events.ndjson', line: index + by }));
  return careful('reorder lines of the events', `${index + 1}`, files, targets);
};

const alterBlob: Mutate = (subject, dice) => {
  const files = copy(subject);
  const lines = linesOf(files, 'blobs.ndjson');
  if (lines.length < 2) return undefined;
  const index = dice.upTo(lines.length);
  const other = (index + 1 + dice.upTo(lines.length - 1)) % lines.length;
  const one = { ...parse(lines[index]) } as Record<string, Json>;
  const two = { ...parse(lines[other]) } as Record<string, Json>;
  const how = dice.pick([
    'value',
    'salt',
    'swap values',
    'swap whole',
    'field',
    'event',
    'drop',
    'double',
  ]);
  if (how === 'value') one.value = [one.value as Json];
  if (how === 'salt') one.salt = dice.hex(16);
  if (how === 'swap values') [one.value, two.value] = [two.value as Json, one.value as Json];
  if (how === 'swap whole')
    [one.value, two.value, one.salt, two.salt] = [
      two.value,
      one.value,
      two.salt,
      one.salt,
    ] as Json[] as [Json, Json, Json, Json];
  if (how === 'field') one.field = `${one.field}x`;
  if (how === 'event')
    one.event_id = `${String(one.event_id).slice(0, -1)}${String(one.event_id).endsWith('9') ? '8' : '9'}`;
  if (how.startsWith('swap') && canonicalJson(one) === lines[index]) return undefined;
  lines[index] = canonicalJson(one);
  lines[other] = canonicalJson(two);
  if (how === 'drop') lines.splice(index, 1);
  if (how === 'double') lines.splice(index, 0, lines[index] as string);
  put(files, 'blobs.ndjson', lines);
  const [stream, seq] = [
    String(parse(linesOf(subject.files, 'blobs.ndjson')[index]).event_id).slice(0, 36),
    Number(String(parse(linesOf(subject.files, 'blobs.ndjson')[index]).event_id).slice(37)),
  ];
  const places = [index, other, index + 1].map((line) => ({
    file: 'blobs.ndjson',
    line: line + 1,
  }));
  return careful(`alter a blob: ${how}`, `line ${index + 1}`, files, [
    ...places,
    { stream, first: seq, last: seq },
  ]);
};

const alterNote: Mutate = (subject, dice) => {
  const files = copy(subject);
  const note = String(files.get('log/checkpoint'));
  const how = dice.pick([
    'size',
    'root',
    'origin',
    'signature',
    'cosignature',
    'unsigned',
    'another key',
    'no witness',
  ]);
  files.set('log/checkpoint', Buffer.from(foldNote(note, how, dice)));
  const log = JSON.parse(String(files.get('manifest.json'))).log as JsonObject;
  const [origin, size] = String(files.get('log/checkpoint')).split('\n');
  const named = { ...log, origin: origin as string, size: Number(size) };
  return careful(`alter the log's head: ${how}`, '', files, [{ file: 'log/checkpoint' }], {
    log: named,
  });
};

const alterProof: Mutate = (subject, dice) => {
  const files = copy(subject);
  const lines = linesOf(files, 'log/proofs.ndjson');
  const index = dice.upTo(lines.length);
  const one = { ...parse(lines[index]) } as Record<string, Json>;
  const path = [...((one.proof as string[]) ?? [])];
  const how = dice.pick([
    'a hash',
    'one hash less',
    'one hash more',
    'the index',
    'the leaf',
    'another order',
  ]);
  if (how === 'a hash') path[dice.upTo(path.length)] = dice.hex(32);
  if (how === 'one hash less') path.pop();
  if (how === 'one hash more') path.push(dice.hex(32));
  if (how === 'the index') one.index = Number(one.index) + 1;
  if (how === 'another order') path.reverse();
  if (how === 'the leaf')
    one.leaf = String(one.leaf).replace(/"event_digest":"./, '"event_digest":"x');
  if (canonicalJson({ ...one, proof: path }) === lines[index]) return undefined;
  lines[index] = canonicalJson({ ...one, proof: path });
  put(files, 'log/proofs.ndjson', lines);
  return careful(
    `alter a proof: ${how}`,
    `line ${index + 1}`,
    files,
    [index + 1, index + 2].map((line) => ({ file: 'log/proofs.ndjson', line })),
  );
};

/** No proofs, or no log at all; custody and manifest say so too. */
const emptyLog: Mutate = (subject, dice) => {
  const files = copy(subject);
  const all = dice.chance(50);
  put(files, 'log/proofs.ndjson', []);
  rechain(files, (entries) => entries.filter(({ entry }) => entry !== 'sealed'), subject);
  if (!all) return careful('empty the proofs', '', files, [{ file: 'log/proofs.ndjson' }]);
  files.delete('log/checkpoint');
  files.delete('log/proofs.ndjson');
  const left = JSON.parse(String(files.get('manifest.json'))).left_out as JsonObject[];
  const more = {
    log: null,
    left_out: [...left, { count: 1, what: 'log', why: 'the installation has no transparency log' }],
  };
  return careful(
    'take the log out',
    '',
    files,
    [{ file: 'log/proofs.ndjson' }, { file: 'log/checkpoint' }],
    more,
  );
};

/** An older head of the log, genuine, with its own proofs, and the stream cut to what it knew. */
const rollBack: Mutate = async (subject, dice) => {
  const size = 1 + dice.upTo(subject.log.size - 1);
  const log = await subject.world.log(subject.store.session, size);
  const sealed = new Map(
    log.proofs.map(({ leaf }) => [String(parse(leaf).stream_id), Number(parse(leaf).seq)]),
  );
  const files = changed(
    subject,
    (store) => {
      const known = (stream: string) => sealed.get(stream) ?? -1;
      store.rows.splice(
        0,
        store.rows.length,
        ...store.rows.filter((row) => row.seq <= known(row.stream_id)),
      );
      const id = (event: string) => [event.slice(0, 36), Number(event.slice(37))] as const;
      store.erasures.splice(
        0,
        store.erasures.length,
        ...store.erasures.filter(({ event_id: event }) => id(event)[1] <= known(id(event)[0])),
      );
    },
    log,
  );
  return {
    kind: 'roll the log back',
    detail: `to ${size} of ${subject.log.size}`,
    files,
    targets: [{ file: 'log/checkpoint' }],
    options: { ...KEYS, knownNote: subject.log.note },
  };
};

/** Custody again, from entries that were changed: the chain fits, what it says does not. */
function rechain(
  files: Files,
  change: (entries: JsonObject[]) => JsonObject[],
  subject: Subject,
): void {
  let prev = custodyStart(subject.store.tenant, subject.store.session);
  const entries = linesOf(files, 'custody.ndjson').map((line) => parse(line));
  const lines = change(entries).map((entry) => {
    const line = canonicalJson({ ...entry, prev });
    prev = createHash('sha256').update(line).digest('hex');
    return line;
  });
  put(files, 'custody.ndjson', lines);
}

const CHECKED: Readonly<Record<string, readonly string[]>> = {
  recorded: ['agent', 'from', 'host', 'stream_id', 'to', 'user'],
  stored: ['events', 'stream_id'],
  sealed: ['final', 'index', 'seq', 'stream_id'],
  erased: ['event_id', 'fields'],
  exported: ['tool'],
};

const alterCustody: Mutate = (subject, dice) => {
  const files = copy(subject);
  const lines = linesOf(files, 'custody.ndjson');
  const index = dice.upTo(lines.length);
  const entry = parse(lines[index]);
  const kind = String(entry.entry);
  const how = dice.pick([
    'an entry, chained again',
    'an entry',
    'one less',
    'two in another order',
  ]);
  const edit = (one: JsonObject, names: readonly string[]): JsonObject => {
    const name = dice.pick(names);
    const value = one[name];
    const other =
      typeof value === 'number'
        ? value + 1
        : typeof value === 'boolean'
          ? !value
          : Array.isArray(value)
            ? [...value, 'more']
            : `${value}x`;
    return { ...one, [name]: other };
  };
  if (how === 'an entry, chained again')
    rechain(
      files,
      (all) => all.map((one, i) => (i === index ? edit(one, CHECKED[kind] ?? []) : one)),
      subject,
    );
  else if (how === 'an entry') {
    if (index === lines.length - 1) return undefined;
    put(
      files,
      'custody.ndjson',
      lines.map((line, i) =>
        i === index
          ? canonicalJson(
              edit(
                entry,
                Object.keys(entry).filter((name) => name !== 'entry'),
              ),
            )
          : line,
      ),
    );
  } else if (how === 'one less')
    rechain(files, (all) => all.filter((_, i) => i !== index), subject);
  else {
    if (index === lines.length - 1 || kind === 'erased') return undefined;
    rechain(
      files,
      (all) => [
        ...all.slice(0, index),
        all[index + 1] as JsonObject,
        entry,
        ...all.slice(index + 2),
      ],
      subject,
    );
  }
  // Without content, what was erased and what was left out look alike: only their number shows it.
  const counts = subject.clean.content === 'none' ? [{ file: 'manifest.json' }] : [];
  const near = [index, index + 1, index + 2, index + 3].map((line) => ({
    file: 'custody.ndjson',
    line,
  }));
  const event = kind === 'erased' ? String(entry.event_id) : undefined;
  const lost =
    event === undefined
      ? []
      : [
          {
            stream: event.slice(0, 36),
            first: Number(event.slice(37)),
            last: Number(event.slice(37)),
          },
        ];
  return careful(`alter custody: ${how}`, `line ${index + 1}, ${kind}`, files, [
    ...near,
    ...lost,
    ...counts,
  ]);
};

const alterManifest: Mutate = (subject, dice) => {
  const files = copy(subject);
  const manifest = JSON.parse(String(files.get('manifest.json'))) as Record<string, Json>;
  const how = dice.pick([
    'a hash',
    'a size',
    'a count',
    'left out',
    'a file less',
    'a file more',
    'content',
    'fields',
    'session',
    'tool',
  ]);
  const listed = manifest.files as Record<string, Record<string, Json>>;
  const name = dice.pick(Object.keys(listed));
  const one = listed[name] as Record<string, Json>;
  let targets: Mutation['targets'] = [{ file: name }, { file: 'manifest.json' }];
  if (how === 'a hash') one.sha256 = dice.hex(32);
  if (how === 'a size') one.bytes = Number(one.bytes) + 1;
  if (how === 'a count') one.lines = Number(one.lines) + 1;
  if (how === 'left out') manifest.left_out = [{ count: 7, what: 'content', why: 'erased' }];
  if (how === 'a file less') delete listed[name];
  if (how === 'a file more') listed['more.ndjson'] = { ...one };
  if (how === 'content') manifest.content = manifest.content === 'full' ? 'none' : 'full';
  if (how === 'fields') manifest.content_fields = (manifest.content_fields as string[]).slice(1);
  if (how === 'session')
    manifest.session_id = `${String(manifest.session_id).slice(0, -1)}${String(manifest.session_id).endsWith('0') ? '1' : '0'}`;
  if (how === 'tool') manifest.tool = 'another tool';
  // Of what the manifest says of all lines, the first line that shows it is the place.
  if (how === 'session')
    targets = [{ file: 'events.ndjson', line: 1 }, { file: 'log/proofs.ndjson' }];
  if (how === 'content' || how === 'fields')
    targets = [{ file: 'manifest.json' }, { file: 'blobs.ndjson' }, { file: 'custody.ndjson' }];
  if (how === 'tool') targets = [{ file: 'custody.ndjson' }];
  files.set('manifest.json', Buffer.from(`${canonicalJson(manifest)}\n`));
  if (
    how === 'fields' &&
    !String(files.get('events.ndjson')).includes(
      `"${(JSON.parse(String(subject.files.get('manifest.json'))).content_fields as string[])[0]}":`,
    )
  )
    return undefined;
  return { kind: `alter the manifest: ${how}`, detail: name, files, targets };
};

const erasedPlaces = (subject: Subject): Mutation['targets'] =>
  subject.store.erasures.map(({ event_id: id }) => {
    const seq = Number(id.slice(37));
    return { stream: id.slice(0, 36), first: seq, last: seq };
  });

/** A byte somewhere, and nothing made to fit. */
const flipByte: Mutate = (subject, dice) => {
  const files = copy(subject);
  const names = [...files.keys()].filter(
    (name) => name !== 'manifest.json' && (files.get(name)?.length ?? 0) > 0,
  );
  const name = dice.pick(names);
  const bytes = Buffer.from(files.get(name) as Buffer);
  const at = dice.upTo(bytes.length);
  bytes[at] = (bytes[at] as number) ^ (1 << dice.upTo(8));
  files.set(name, bytes);
  const line = bytes.subarray(0, at).filter((byte) => byte === 10).length + 1;
  // What custody says was erased is just missing where that line can't be read.
  const lost = name === 'custody.ndjson' ? erasedPlaces(subject) : [];
  const targets: Mutation['targets'] = [{ file: name }, ...lost];
  if (name !== 'events.ndjson')
    return { kind: 'flip a bit of a file', detail: `${name} ${at}`, files, targets };
  const event = parse(linesOf(subject.files, name)[line - 1]);
  const isOwn = (row: { stream_id: string; seq: number }) =>
    row.stream_id === event.stream_id && row.seq === event.seq;
  // Where no checkpoint covers an event, only the manifest can tell, and it knows files.
  if (!coveredRows(subject).some(isOwn))
    return { kind: 'flip a bit of a file', detail: `${name} ${at}`, files, targets };
  const [stream, seq] = [String(event.stream_id), Number(event.seq)];
  return {
    kind: 'flip a bit of a file',
    detail: `${name} ${at}`,
    files,
    targets: [
      around(subject, stream, seq, seq, true),
      { file: name, line },
      { file: name, line: line + 1 },
    ],
  };
};

/** Texts that nothing can show to be other than they were: the bundle's own hash does. */
const alterClaim: Mutate = (subject, dice) => {
  const files = copy(subject);
  const is = createHash('sha256').update(tarOf(subject.files)).digest('hex');
  const how = dice.pick(
    ['who exported', 'when it was stored', 'a dead letter'].filter(
      (word) => word !== 'a dead letter' || (files.get('dead-letters.ndjson')?.length ?? 0) > 0,
    ),
  );
  if (how === 'who exported')
    rechain(
      files,
      (all) => all.map((one) => (one.entry === 'exported' ? { ...one, by: 'somebody else' } : one)),
      subject,
    );
  if (how === 'when it was stored')
    rechain(
      files,
      (all) => all.map((one) => (one.entry === 'stored' ? { ...one, first_ms: 1 } : one)),
      subject,
    );
  if (how === 'a dead letter')
    put(
      files,
      'dead-letters.ndjson',
      linesOf(files, 'dead-letters.ndjson').map((line) =>
        canonicalJson({ ...parse(line), detail: 'another' }),
      ),
    );
  remanifest(files);
  const now = createHash('sha256').update(tarOf(files)).digest('hex');
  return {
    kind: `alter a claim, with the bundle's hash known: ${how}`,
    detail: '',
    files,
    targets: [{ file: 'bundle' }],
    options: { ...KEYS, sha256: { is: now, mustBe: is } },
  };
};

/** Damage to the archive: it must be refused, and never crash anything. */
const breakArchive: Mutate = (subject, dice) => {
  const whole = tarOf(subject.files);
  const how = dice.pick([
    'cut off',
    'a header',
    'an unknown file',
    'a file twice',
    'a path',
    'a link',
    'no manifest',
    'bytes behind it',
  ]);
  const end = whole.subarray(0, -1024);
  const more = (header: Buffer) => Buffer.concat([end, header, Buffer.alloc(1024)]);
  const bytes: Record<string, () => Buffer> = {
    'cut off': () => whole.subarray(0, 512 + dice.upTo(whole.length - 1024 - 512)),
    'a header': () => {
      const out = Buffer.from(whole);
      out[dice.upTo(100)] = 0x41;
      return out;
    },
    'an unknown file': () => more(tarHeader('notes.txt', 0)),
    'a file twice': () => more(tarHeader('events.ndjson', 0)),
    'a path': () =>
      more(
        tarHeader(
          dice.pick(['../../etc/passwd', '/etc/passwd', './events.ndjson', 'log/../events.ndjson']),
          0,
        ),
      ),
    'a link': () => more(tarHeader('log/link', 0, '2')),
    'no manifest': () => {
      const files = copy(subject);
      files.delete('manifest.json');
      return tarOf(files);
    },
    'bytes behind it': () => Buffer.concat([whole, Buffer.from('more')]),
  };
  return {
    kind: `break the archive: ${how}`,
    detail: '',
    bytes: (bytes[how] as () => Buffer)(),
    targets: [],
    unreadable: true,
  };
};

const dropFile: Mutate = (subject, dice) => {
  const files = copy(subject);
  const name = dice.pick([...files.keys()].filter((one) => one !== 'manifest.json'));
  files.delete(name);
  return {
    kind: 'take a file out',
    detail: name,
    files,
    targets: [
      { file: name },
      ...(name === 'log/checkpoint' ? [{ file: 'log/proofs.ndjson' }] : []),
      // Custody is what says that content was erased; without it the content is just missing.
      ...(name === 'custody.ndjson' ? erasedPlaces(subject) : []),
    ],
  };
};

export const BUNDLE_MUTATIONS: readonly (readonly [weight: number, mutate: Mutate])[] = [
  [8, editEventLine],
  [4, breakEventLine],
  [3, shuffleLines],
  [8, alterBlob],
  [5, alterNote],
  [5, alterProof],
  [2, emptyLog],
  [3, rollBack],
  [6, alterCustody],
  [5, alterManifest],
  [6, flipByte],
  [2, alterClaim],
  [4, breakArchive],
  [2, dropFile],
];
