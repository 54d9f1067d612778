import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import type { Draft, KafkaSecurity } from '#schemas';
import { ImportError, readNative } from '../../collector/agents/import/native.ts';
import { type Replayed, replay, type Source } from '../../collector/agents/import/replay.ts';
import {
  type ImportedFile,
  importedIds,
  importedSettings,
} from '../../collector/agents/import/session.ts';
import { type Adapter, findAdapter, UnknownAgentError } from '../../collector/agents/index.ts';
import { systemDisk } from '../../collector/disk.ts';
import type { Configured } from '../../collector/redact/configured.ts';
import { type ContentPolicy, createRedactor } from '../../collector/redact.ts';
import { openSession } from '../../collector/session.ts';
import { createShipper, openTransport } from '../../collector/ship.ts';
import { createSpool, SPOOL_DEFAULTS } from '../../collector/spool.ts';
import { KAFKA_FLAGS, kafkaSecurity } from '../kafka/security.ts';
import { createClock, systemRandom } from '../process/clock.ts';
import { UsageError } from '../process/lifecycle.ts';
import { terminalLog } from '../process/log.ts';
import { createMeter } from '../process/meter.ts';
import { configuredRedaction, contentPolicyOf, redactionKey } from '../redaction.ts';
import { destination, integerOf, spoolDir, tenant } from '../settings.ts';
import { opencodeLines } from './import-sqlite.ts';

const WAIT_MS = 60_000;
const WAIT_MS_MAX = 24 * 3600 * 1000;
/** A whole file is read into memory. */
const FILE_BYTES_MAX = 1024 * 1024 * 1024;
/** Drafts that are handed on at once: the spool is given time to empty in between. */
const BATCH = 500;

const SUFFIXES = ['.jsonl', '.json', '.ndjson', '.db'];

/** The files that the arguments name; of a folder all that may be an agent's. */
function filesOf(names: readonly string[]): string[] {
  return names.flatMap((name) => {
    const stat = fs.statSync(name, { throwIfNoEntry: false });
    if (stat === undefined) throw new UsageError(`there is no file ${JSON.stringify(name)}`);
    if (!stat.isDirectory()) return [name];
    const found = fs
      .readdirSync(name, { recursive: true })
      .map((entry) => path.join(name, String(entry)))
      .filter((file) => SUFFIXES.includes(path.extname(file)) && !file.endsWith('.meta.json'))
      .sort();
    if (found.length === 0)
      throw new UsageError(`${JSON.stringify(name)} holds no file that ends in ${SUFFIXES}`);
    return found;
  });
}

const SQLITE = Buffer.from('SQLite format 3\0');

interface Read {
  readonly source: Source;
  readonly file: ImportedFile;
}

async function readFile(name: string, agent: string | undefined): Promise<Read> {
  const { size } = fs.statSync(name);
  if (size > FILE_BYTES_MAX)
    throw new ImportError(
      `${JSON.stringify(name)} has ${size} bytes; up to ${FILE_BYTES_MAX} are read`,
    );
  const bytes = fs.readFileSync(name);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const native = bytes.subarray(0, SQLITE.length).equals(SQLITE)
    ? { agent: 'opencode', requests: [], lines: await opencodeLines(name) }
    : readNative(name, bytes.toString('utf8'), agent);
  const file = { name: path.basename(name), sha256, bytes: size };
  return { source: { name, native }, file };
}

/** The one agent that all files are of. */
function agentOf(read: readonly Read[], named: string | undefined): Adapter {
  const agents = [...new Set(read.map(({ source }) => source.native.agent))].sort();
  if (named === undefined && agents.length > 1)
    throw new ImportError(
      `the files are of several agents (${agents.join(', ')}): import those of one at a time`,
    );
  const adapter = findAdapter(named ?? agents[0], []);
  if (adapter === undefined) throw new UsageError('say which files to import');
  return adapter;
}

const NEVER = 'imported after the fact: no sensor watched';

/** What is known of the evidence: files may be whole, but nothing was observed. */
function coverage(adapter: Adapter, { files, otlp }: Replayed, ts: string): readonly Draft[] {
  const own = { kind: 'sensor', ts, source: 'collector', assurance: 'verified' } as const;
  const channels = [
    { name: adapter.fileSource ?? 'rollout', ...files },
    { name: 'otlp', ...otlp },
  ].filter(({ records }) => records > 0);
  return [
    { ...own, sensor_name: 'seccomp', coverage: 'none', reason: NEVER },
    ...channels.map(({ name, records, unmapped }): Draft => {
      const attrs = { records: String(records), unmapped: String(unmapped) };
      return unmapped === 0
        ? { ...own, sensor_name: name, coverage: 'complete', attrs }
        : {
            ...own,
            sensor_name: name,
            coverage: 'partial',
            reason: `${unmapped} of ${records} could not be mapped`,
            attrs,
          };
    }),
  ];
}

export interface ImportOptions {
  readonly files: readonly string[];
  readonly agent?: string;
  readonly to: string;
  readonly tenant: string;
  readonly spool: string;
  readonly host: string;
  readonly user: string;
  readonly waitMs: number;
  readonly security?: KafkaSecurity;
  /** What is kept of prompts, answers, arguments and outputs; all where nothing is said. */
  readonly content?: ContentPolicy;
  /** What a `--redact` file says is secret. */
  readonly configured?: Configured;
}

export interface Imported {
  readonly session: string;
  readonly agent: string;
  readonly events: number;
  readonly unmapped: number;
  readonly shipped: boolean;
}

/** Imports native files as one session. */
export async function importFiles(options: ImportOptions): Promise<Imported> {
  const read: Read[] = [];
  for (const name of filesOf(options.files)) read.push(await readFile(name, options.agent));
  const adapter = agentOf(read, options.agent);
  const replayed = replay(
    adapter,
    read.map(({ source }) => source),
  );
  const files = read.map(({ file }) => file);
  if (replayed.drafts.length === 0)
    throw new ImportError(`nothing in ${files.length} files could be mapped for ${adapter.name}`);
  const { session, stream } = importedIds(options.tenant, files, replayed.drafts);
  // The same files are the same stream: a second spool of it would mix with what is left of the first.
  if (fs.existsSync(path.join(options.spool, stream)))
    throw new ImportError(
      `these files were imported before, and not all of session ${session} is shipped yet: ` +
        `"telltale collect --to ${options.to}" sends the rest`,
    );
  const log = terminalLog(false);
  const clock = createClock();
  const meter = createMeter();
  const spool = createSpool(
    {
      tenant: options.tenant,
      session_id: session,
      stream_id: stream,
      agent: adapter.name,
      host: options.host,
      user: options.user,
    },
    { ...SPOOL_DEFAULTS, dir: options.spool },
    { disk: systemDisk, clock, log },
  );
  const transport = openTransport(options.to, log, options.security);
  const shipper = createShipper({ spool, transport, log, clock, meter });
  shipper.start();
  try {
    const recording = openSession(
      {
        ...{ spool, clock, random: systemRandom, log, meter },
        redact: createRedactor({
          key: redactionKey(options.spool),
          content: options.content ?? 'full',
          ...(options.configured === undefined ? {} : { configured: options.configured }),
        }),
      },
      {
        commandArgs: ['telltale', 'import', ...files.map(({ name }) => name)],
        cwd: '/',
        settings: {
          agent: adapter.name,
          content: options.content ?? 'full',
          ...importedSettings(files),
        },
      },
    );
    for (let at = 0; at < replayed.drafts.length; at += BATCH)
      await recording.add(replayed.drafts.slice(at, at + BATCH));
    await recording.add(coverage(adapter, replayed, clock.wallNs().toString()));
    await recording.close({ close_reason: 'stopped', reason: 'imported' });
    const shipped = await shipper.drain(options.waitMs);
    const unmapped = replayed.files.unmapped + replayed.otlp.unmapped;
    return { session, agent: adapter.name, events: recording.eventCount, unmapped, shipped };
  } finally {
    await shipper.stop();
    spool.close({ finished: true });
    await transport.close();
  }
}

/** `telltale import`: native files of an agent as a session that is reported, not observed. */
export async function importCommand(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      agent: { type: 'string' },
      to: { type: 'string' },
      tenant: { type: 'string' },
      spool: { type: 'string' },
      host: { type: 'string', default: '' },
      user: { type: 'string', default: '' },
      'wait-ms': { type: 'string' },
      content: { type: 'string', default: 'full' },
      redact: { type: 'string' },
      ...KAFKA_FLAGS,
    },
  });
  if (positionals.length === 0) throw new UsageError('say which files to import');
  const to = values.to ?? destination();
  const done = await importFiles({
    files: positionals,
    to,
    tenant: values.tenant ?? tenant(),
    spool: values.spool ?? spoolDir(),
    host: values.host,
    user: values.user,
    security: kafkaSecurity(values),
    waitMs: integerOf('wait-ms', values['wait-ms'], WAIT_MS, WAIT_MS_MAX),
    content: contentPolicyOf(values.content),
    ...(values.redact === undefined ? {} : { configured: configuredRedaction(values.redact) }),
    ...(values.agent === undefined ? {} : { agent: values.agent }),
  }).catch((error: unknown) => {
    if (error instanceof UnknownAgentError) throw new UsageError(`--agent: ${error.message}`);
    if (error instanceof ImportError) throw new UsageError(error.message);
    throw error;
  });
  const left = done.unmapped > 0 ? `, ${done.unmapped} records could not be mapped` : '';
  process.stdout.write(
    `${done.events} events of ${done.agent}, session ${done.session}${left}\n` +
      (done.shipped
        ? `see: telltale timeline ${done.session}\n`
        : `not all is shipped: "telltale collect --to ${to}" sends the rest\n`),
  );
  return done.shipped ? 0 : 1;
}
