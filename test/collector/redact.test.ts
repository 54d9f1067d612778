import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { type Draft, unframe, verifyChain } from '#schemas';
import { systemDisk } from '../../collector/disk.ts';
import { type Command, record } from '../../collector/record.ts';
import { createRedactor } from '../../collector/redact.ts';
import { createShipper } from '../../collector/ship.ts';
import { createSpool, SPOOL_DEFAULTS } from '../../collector/spool.ts';
import { createClock, systemRandom } from '../../deploy/process/clock.ts';
import { uuidv7 } from '../../deploy/process/ids.ts';
import { configuredRedaction, redactionKey } from '../../deploy/redaction.ts';
import { fakeLog, fakeMeter } from '../fakes/ports.ts';

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-redact-'));
afterAll(() => fs.rmSync(dir, { recursive: true, force: true }));

const key = Buffer.alloc(32, 7);
const redact = createRedactor({ key, content: 'full' });
const ALPHABET = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789';
/** Made here, so that no text of this file looks like a secret to others' scanners. */
const random = (length: number, seed: number, alphabet = ALPHABET) => {
  let state = seed * 2_654_435_761;
  return Array.from({ length }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return alphabet[Math.floor((state / 2 ** 32) * alphabet.length)];
  }).join('');
};
const GITHUB = `ghp_${random(36, 1)}`;
const AWS = `AKIA${random(16, 2, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567')}`;
const SLACK = ['xoxb', '123456789012', '123456789012', random(24, 3)].join('-');
const STRIPE = `sk_live_${random(24, 4)}`;
const JWT = `ey${random(30, 5)}.ey${random(3000, 6)}.${random(40, 7)}`;
const PASSWORD = 'tr0ub4dor';
const PHRASE = 'correct horse battery';
const PEM_BODY = random(1600, 8);
const PEM = ['-----BEGIN RSA PRIVATE', ` KEY-----\n${PEM_BODY}\n-----END RSA PRIVATE`, ' KEY-----'];
const GENERIC = random(32, 9);
const SECRETS = [GITHUB, AWS, SLACK, STRIPE, JWT, PASSWORD, PHRASE, PEM_BODY, GENERIC];

const base = { ts: '1700000000000000000', source: 'test', assurance: 'observed' } as const;
const draft = (fields: Record<string, unknown>) => ({ ...base, ...fields }) as unknown as Draft;
const exec = (...argv: string[]) => draft({ kind: 'exec', exe: argv[0], argv });
const output = (text: string) => draft({ kind: 'tool.result', output: text });

const PLANTED: readonly Draft[] = [
  exec('curl', '-H', `Authorization: Bearer ${GITHUB}`, `https://me:${PASSWORD}@example.com/x`),
  exec('curl', '-u', `me:${PASSWORD}`, `https://x.example/?access_token=${GENERIC}`),
  exec('mysql', '--password', PHRASE),
  exec('tool', `--password=${PASSWORD}`, `--token=${STRIPE}`),
  exec('bash', '-c', `deploy --password ${PASSWORD} && export AWS_KEY=${AWS}`),
  draft({
    kind: 'exec',
    exe: 'x',
    join_keys: { DB_PASSWORD: PASSWORD, K: GITHUB, API_KEY: GENERIC },
  }),
  output(`found ${AWS}\n${PEM.join('')}\nand ${SLACK}`),
  output(`cut off: ${PEM.join('').slice(0, 1200)}`),
  draft({ kind: 'tool.result', error: `no access with ${STRIPE}`, changes: [`add /a/${GITHUB}`] }),
  draft({ kind: 'tool.call', arguments: JSON.stringify({ password: PASSWORD, jwt: JWT }) }),
  draft({ kind: 'tool.call', arguments: { nested: { password: PASSWORD } } }),
  draft({ kind: 'tool.call', command: `git clone https://${GITHUB}@github.com/x/y` }),
  draft({ kind: 'net', net_op: 'http', url: `https://u:${PASSWORD}@h/?token=${GENERIC}` }),
  draft({ kind: 'net', net_op: 'dns', net_host: `${GITHUB}.evil.example` }),
  draft({ kind: 'file', file_op: 'create', file_path: `/tmp/${GITHUB}` }),
  draft({ kind: 'prompt', prompt: `use ${JWT} with api_key = "${GENERIC}" please` }),
  draft({ kind: 'gap', gap_reason: 'invalid', reason: `said ${STRIPE}`, attrs: { [AWS]: SLACK } }),
];

const strings = (value: unknown): string => JSON.stringify(value);
/** Any piece of a secret that is long enough to be of use. */
const leaks = (text: string) =>
  SECRETS.filter((secret) =>
    secret.length < 24
      ? text.includes(secret)
      : text.includes(secret.slice(8, 24)) || text.includes(secret.slice(-12)),
  );

describe('planted secrets', () => {
  it.each(PLANTED.map((one) => [strings(one).slice(0, 60), one] as const))('%s', (_name, one) => {
    expect(leaks(strings(one))).not.toEqual([]);
    const redacted = redact(one);
    expect(leaks(strings(redacted))).toEqual([]);
    expect(redacted.altered?.some((word) => /:redacted:\d+$/.test(word))).toBe(true);
    expect(redact(redacted)).toEqual(redacted);
  });

  it('reach no byte of the spool, and the chain of what is there holds', async () => {
    const clock = createClock();
    const ports = { log: fakeLog(), meter: fakeMeter(), clock, random: systemRandom };
    const stream = { tenant: 't', session_id: uuidv7(), stream_id: uuidv7() };
    const identity = { ...stream, agent: 'x', host: 'h', user: 'u' };
    const settings = { ...SPOOL_DEFAULTS, dir };
    const spool = createSpool(identity, settings, { disk: systemDisk, clock, log: ports.log });
    const frames: Uint8Array[] = [];
    const transport = {
      name: 'here',
      connect: async () => {},
      close: async () => {},
      send: async (_session: unknown, frame: Uint8Array) => void frames.push(frame),
    };
    const shipper = createShipper({ ...ports, spool, transport });
    let onDisk = '';
    const sensor = {
      run: async (_command: unknown, sink: (drafts: readonly Draft[]) => Promise<void>) => {
        await sink(PLANTED);
        for (const name of fs.readdirSync(dir, { recursive: true, encoding: 'utf8' })) {
          const file = path.join(dir, name);
          if (fs.statSync(file).isFile()) onDisk += fs.readFileSync(file, 'latin1');
        }
        const exited = Promise.resolve({ code: 0, signal: null });
        return { exited, signal: () => {}, stop: async () => {} };
      },
    };
    // The same by the agent's channels and by the egress proxy, which have sinks of their own.
    const nothing = { settle: async () => {}, stop: async () => {} };
    const telling = (sink: (drafts: readonly Draft[]) => void) => ({
      ...nothing,
      start: async () => sink(PLANTED),
      prepare: async (command: Command) => command,
      observe: (drafts: readonly Draft[]) => drafts,
    });
    const tellers = { channels: telling, egress: telling };
    await record(
      { ...ports, ...tellers, spool, shipper, sensor, redact, settings: {}, drainMsMax: 5_000 },
      { argv: ['x', '--password', PHRASE], env: {}, cwd: `/${GITHUB}` },
    );
    const shipped = Buffer.concat(frames).toString('latin1');
    expect(onDisk).toContain('[redacted:');
    expect(leaks(onDisk)).toEqual([]);
    expect(leaks(shipped)).toEqual([]);
    const events = frames.flatMap((frame) => unframe(frame).good.map((line) => line.event));
    expect(events.filter((event) => event.altered !== undefined)).toHaveLength(
      3 * PLANTED.length + 1,
    );
    expect(verifyChain(stream, events)).toMatchObject({
      verdict: 'intact',
      sealed: true,
      faults: [],
    });
  });
});

describe('marks', () => {
  const markOf = (secret: string) =>
    /\[redacted:[a-z0-9-]+:([0-9a-f]{16})\]/.exec(
      strings(redact(exec('x', '--token', secret))),
    )?.[1];

  it('are equal for equal secrets only, also between places', () => {
    const word = fc.stringMatching(/^[A-Za-z0-9]{8,40}$/);
    fc.assert(
      fc.property(word, word, (a, b) => {
        expect(markOf(a) === markOf(b)).toBe(a === b);
        expect(strings(redact(exec('x', `--token=${a}`)))).toContain(markOf(a));
        expect(strings(redact(exec('sh', '-c', `x --token ${a}; y`)))).toContain(markOf(a));
      }),
      { numRuns: 50 },
    );
  });

  it('need the key', () => {
    const other = createRedactor({ key: Buffer.alloc(32, 8), content: 'full' });
    expect(strings(other(exec('x', '--token', GENERIC)))).not.toContain(markOf(GENERIC));
  });

  it('come of one key for an installation, that its owner alone can read', () => {
    const first = redactionKey(dir);
    expect(redactionKey(dir)).toEqual(first);
    expect(fs.statSync(path.join(dir, 'redaction.key')).mode & 0o777).toBe(0o600);
  });
});

it('keeps of long texts only what the policy says', () => {
  const hash = createRedactor({ key, content: 'hash' })(draft({ kind: 'prompt', prompt: 'hello' }));
  expect(hash).toMatchObject({ altered: ['prompt:withheld:5'] });
  expect(strings(hash)).toMatch(/\[content:[0-9a-f]{16}:5\]/);
  const none = createRedactor({ key, content: 'none' })(draft({ kind: 'prompt', prompt: 'hello' }));
  expect(strings(none)).not.toContain('hello');
  expect((none as { prompt?: string }).prompt).toBeUndefined();
  const shown = draft({
    kind: 'approval',
    attrs: { shown: '+ the whole diff', permission: 'edit' },
  });
  const hashed = createRedactor({ key, content: 'hash' })(shown) as { attrs?: object };
  expect(hashed.attrs).toMatchObject({ permission: 'edit' });
  expect(strings(hashed)).toMatch(/\[content:[0-9a-f]{16}:16\]/);
  expect(hashed).toMatchObject({ altered: ['attrs:withheld:16'] });
  const gone = createRedactor({ key, content: 'none' })(shown) as { attrs?: object };
  expect(gone.attrs).toEqual({ permission: 'edit' });
});

describe('what a user configures', () => {
  const file = path.join(dir, 'redact.yaml');
  it('is redacted: fields, entries, places in JSON, expressions', () => {
    fs.writeFileSync(
      file,
      [
        'fields: [conversation_id, attrs.who]',
        'paths: ["login.pin", "**.ssn", "list.*.x"]',
        "expressions: [{ id: ticket, regex: 'TCK-([0-9]{4})' }]",
      ].join('\n'),
    );
    const own = createRedactor({ key, content: 'full', configured: configuredRedaction(file) });
    const given = {
      login: { pin: 4711, name: 'Eve' },
      a: [{ b: { ssn: 'x"9' } }],
      list: [{ x: 'q1', y: 'kept' }],
    };
    const before = draft({
      kind: 'tool.call',
      conversation_id: 'conv-1',
      attrs: { who: 'Ann', other: 'Bob' },
      arguments: JSON.stringify(given),
      command: 'close TCK-1234',
    });
    const redacted = own(before);
    const text = strings(redacted);
    for (const gone of ['conv-1', 'Ann', '4711', 'x\\\\\\"9', 'q1', '1234'])
      expect(text.replace(/:[0-9a-f]{16}\]/g, ''), gone).not.toContain(gone);
    for (const kept of ['Bob', 'Eve', 'kept', 'TCK-']) expect(text).toContain(kept);
    expect(own(redacted)).toEqual(redacted);
  });

  it('is refused with all that is wrong with it', () => {
    fs.writeFileSync(file, 'fields: [nope]\npath: 1\nexpressions: [{ id: x, regex: "(?=a)" }]');
    expect(() => configuredRedaction(file)).toThrow(/path: not known.*nope.*look-around/);
  });
});

describe('no false alarm', () => {
  const lock = fs.readFileSync('package-lock.json', 'utf8').slice(0, 200_000);
  const code = fs.readFileSync('schemas/fields.ts', 'utf8');
  it.each([
    ['a lock file', lock],
    ['source', code],
    ['git log', `commit ${random(40, 11, '0123456789abcdef')}\nAuthor: A <a@example.com>\n`],
    [
      'uuid',
      `session 0198a4c2-1111-7abc-8def-0123456789ab key 0198a4c2-1111-7abc-8def-0123456789ac`,
    ],
    ['image', `data:image/png;base64,${random(50_000, 12, `${ALPHABET}+/`)}`],
    ['urls', 'https://example.com:8080/a?b=c https://user@example.com ssh://git@github.com/a/b'],
    [
      'prose',
      'The token is read from the key file; the password must never be a secret: see below.',
    ],
    ['flags', 'mkdir -p a/b; docker run -p 80:80 x; ssh -p 22 h; model --max-tokens 100'],
  ])('%s', (_name, text) => {
    expect(redact(output(text)).altered).toBeUndefined();
  });
});

it('takes a bounded time for a hostile text, and declares what it did not look through', () => {
  const hostile = [
    'key token=',
    'ey',
    'sk_live_',
    '://a:',
    '-----BEGIN PRIVATE KEY-----',
    'api_key=',
    'key=abcdefghijklmnopqrstuvwx012345678 ',
    'password: "x',
  ];
  for (const word of hostile) {
    const text = word.repeat(Math.ceil(1_000_000 / word.length));
    const began = process.cpuUsage();
    redact(output(text));
    const { user, system } = process.cpuUsage(began);
    expect((user + system) / 1e6, word).toBeLessThan(1.5);
  }
}, 60_000);

it('leaves nothing of a secret that lies across the place where it stops looking', () => {
  const secret = 'q7Xv9Lk2Pz4Rt8Wm1Nc6Bd3Fh5Gj0Sa';
  // So many that the search ends among them, wherever its bound is.
  const text = `api_key = "${secret}"; `.repeat(6000);
  const [draft, altered] = [redact(output(text)), 'output'];
  const cleaned = String((draft as unknown as Record<string, unknown>)[altered]);
  for (let at = 0; at + 12 <= secret.length; at++)
    expect(cleaned).not.toContain(secret.slice(at, at + 12));
  expect(cleaned).toMatch(/\[redacted:not-read:[0-9a-f]{16}\]$/);
});
