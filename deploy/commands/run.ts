import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import type { Clock, Draft, KafkaSecurity, Log, Meter } from '#schemas';
import type { Adapter } from '../../collector/agents/adapter.ts';
import { findAdapter, UnknownAgentError } from '../../collector/agents/index.ts';
import { systemDisk } from '../../collector/disk.ts';
import type { Policy } from '../../collector/egress/policy.ts';
import type { FeedDeps } from '../../collector/feeds/feed.ts';
import { type Command, type Recorded, record } from '../../collector/record.ts';
import type { Configured } from '../../collector/redact/configured.ts';
import { createRedactor } from '../../collector/redact.ts';
import { createLadder, RUNGS, type RungName } from '../../collector/sensors/ladder.ts';
import { secretPaths } from '../../collector/sensors/secrets.ts';
import { createShipper, openTransport } from '../../collector/ship.ts';
import { createSpool, SPOOL_DEFAULTS } from '../../collector/spool.ts';
import type { StreamIdentity } from '../../collector/stamp.ts';
import { egressPolicy, resolveName, resolverOf, upstreamOf } from '../egress.ts';
import { type FeedOption, feedOf } from '../feed.ts';
import { KAFKA_FLAGS, kafkaSecurity } from '../kafka/security.ts';
import { createClock, systemRandom } from '../process/clock.ts';
import { uuidv7 } from '../process/ids.ts';
import { UsageError } from '../process/lifecycle.ts';
import { terminalLog } from '../process/log.ts';
import { createMeter } from '../process/meter.ts';
import {
  type ContentPolicy,
  configuredRedaction,
  contentPolicyOf,
  redactionKey,
} from '../redaction.ts';
import { destination, integerOf, nativeHelper, spoolDir, tenant } from '../settings.ts';
import { observeCollector } from '../telemetry/recorder.ts';
import { shipLeftovers } from './collect.ts';

type Sink = (drafts: readonly Draft[]) => void;

const DRAIN_MS = 10_000;
const LEFTOVER_WAIT_MS = 2_000;
const MILLISECONDS_MAX = 24 * 3600 * 1000;
/** As a shell has it: 127 where there is no such command, 126 where it can't be run. */
const NOT_STARTED: Readonly<Record<string, readonly [code: number, what: string]>> = {
  ENOENT: [127, 'command not found'],
  EACCES: [126, 'permission denied'],
};
/** The sensor was lost before the command ended: how it ended is not known. */
const EXIT_UNKNOWN = 125;

export interface RunOptions {
  readonly command: Command;
  readonly agent?: string;
  readonly to: string;
  readonly tenant: string;
  readonly session: string;
  readonly spool: string;
  readonly drainMs: number;
  readonly verbose: boolean;
  /** The only rung of the sensor ladder that may be used. */
  readonly sensor?: RungName;
  /** More files and directories whose reads are told. */
  readonly secrets?: readonly string[];
  /** Whether prompts, answers, arguments and outputs are kept; `full` unless it is said. */
  readonly content?: ContentPolicy;
  /** What is secret beside what the rules know. */
  readonly configured?: Configured;
  /** How brokers are spoken to, where it ships to some. */
  readonly security?: KafkaSecurity;
  /** What may leave, held by a proxy that the command is told of. */
  readonly egress?: Policy;
  /** Where names are looked up under that policy, for a sandbox whose resolv.conf says so. */
  readonly resolver?: ReturnType<typeof resolverOf>;
  /** The output of a privileged sensor of the host, in place of one of our own. */
  readonly feed?: FeedOption;
}

/** Splits at the first `--`: what stands behind it is the command, untouched. */
export function splitCommand(args: readonly string[]): { flags: string[]; argv: string[] } {
  const at = args.indexOf('--');
  if (at < 0 || at === args.length - 1)
    throw new UsageError('say which command to record, behind "--"');
  return { flags: args.slice(0, at), argv: args.slice(at + 1) };
}

/** Records one command with everything that this machine and agent offer. */
export async function recordCommand(options: RunOptions): Promise<Recorded> {
  const clock = createClock();
  const telemetry = await observeCollector(terminalLog(options.verbose), clock);
  const { log, meter, tracer } = telemetry;
  const content = options.content ?? 'full';
  const adapter = findAdapter(options.agent, options.command.argv);
  const identity: StreamIdentity = {
    tenant: options.tenant,
    session_id: options.session,
    stream_id: uuidv7(),
    agent: adapter?.name ?? path.basename(options.command.argv[0] ?? ''),
    host: os.hostname(),
    user: os.userInfo().username,
  };
  const spool = createSpool(
    identity,
    { ...SPOOL_DEFAULTS, dir: options.spool },
    { disk: systemDisk, clock, log },
  );
  const transport = openTransport(options.to, log, options.security);
  const shipper = createShipper({ spool, transport, log, clock, meter, tracer });
  const privateDir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-run-'));
  const channels = await channelsOf(adapter, { dir: privateDir, log, clock, meter });
  const egress = await egressOf(options, { log, clock });
  const sensor = await sensorOf(options, adapter, privateDir, { log, clock });
  try {
    return await record(
      {
        spool,
        shipper,
        clock,
        random: systemRandom,
        log,
        meter,
        sensor,
        redact: createRedactor({
          key: redactionKey(options.spool),
          content,
          ...(options.configured === undefined ? {} : { configured: options.configured }),
        }),
        ...(channels === undefined ? {} : { channels }),
        ...(egress === undefined ? {} : { egress }),
        settings: settingsOf(options, adapter?.name ?? 'none', content),
        drainMsMax: options.drainMs,
      },
      options.command,
    );
  } finally {
    await transport.close();
    await telemetry.stop();
    fs.rmSync(privateDir, { recursive: true, force: true });
  }
}

// Channels, feed and proxy are loaded where they are used: their servers take memory and time.

/** The channels of an agent that is known. */
async function channelsOf(
  adapter: Adapter | undefined,
  ports: { dir: string; log: Log; clock: Clock; meter: Meter },
) {
  if (adapter === undefined) return undefined;
  const { createAgentChannels } = await import('../../collector/agents/channels.ts');
  return (sink: Sink) => createAgentChannels({ adapter, ...ports }, sink);
}

/** The ladder of sensors that this run may use. */
async function sensorOf(
  options: RunOptions,
  adapter: Adapter | undefined,
  privateDir: string,
  ports: { log: Log; clock: Clock },
) {
  const joined = {
    joinKeys: adapter?.joinKeys ?? ['TRACEPARENT'],
    ...(adapter?.toolCallKey === undefined ? {} : { toolCallKey: adapter.toolCallKey }),
  };
  return createLadder({
    ...ports,
    native: nativeHelper(),
    rung: options.sensor ?? 'auto',
    secrets: secretPaths(os.homedir(), options.command.cwd, options.secrets),
    ownPaths: [privateDir],
    ...joined,
    ...(await feedSensorOf(options.feed, { ...ports, random: systemRandom, ...joined })),
  });
}

async function feedSensorOf(feed: FeedOption | undefined, deps: Omit<FeedDeps, keyof FeedOption>) {
  if (feed === undefined) return {};
  const { createFeed } = await import('../../collector/feeds/feed.ts');
  return { feed: createFeed({ ...deps, ...feed }) };
}

/** What session.open says of how this run was set up. */
function settingsOf({ to, egress }: RunOptions, agent: string, content: string) {
  const policy = egress && { egress: egress.name, egress_version: egress.version };
  return { agent, to, content, ...policy };
}

/** The egress policy of this run; through the proxy of this machine, where it has one. */
async function egressOf(
  { egress: policy, resolver, command }: RunOptions,
  ports: { log: Log; clock: Clock },
) {
  if (policy === undefined) return undefined;
  const upstream = upstreamOf(command.env);
  const deps = {
    ...{ ...ports, policy, resolve: resolveName },
    ...(upstream === undefined ? {} : { upstream }),
    ...(resolver === undefined ? {} : { resolver }),
  };
  const { createEgress } = await import('../../collector/egress/egress.ts');
  return (sink: Sink) => createEgress(deps, sink);
}

/** What the command inherits; the right to read what was recorded is none of its business. */
function environment(): Record<string, string> {
  const { TELLTALE_TOKEN: _token, ...env } = process.env;
  return env as Record<string, string>;
}

function rungOf(name: string): RungName {
  const rung = RUNGS.find((one) => one === name);
  if (rung === undefined) throw new UsageError(`--sensor: one of ${RUNGS.join(', ')}`);
  return rung;
}

/** `telltale run`: exits with the command's own code. */
export async function run(args: string[]): Promise<number> {
  const { flags, argv } = splitCommand(args);
  const { values } = parseArgs({
    args: flags,
    options: {
      agent: { type: 'string' },
      to: { type: 'string' },
      tenant: { type: 'string' },
      session: { type: 'string' },
      spool: { type: 'string' },
      'drain-ms': { type: 'string' },
      sensor: { type: 'string', default: 'auto' },
      secret: { type: 'string', multiple: true, default: [] },
      content: { type: 'string', default: 'full' },
      redact: { type: 'string' },
      egress: { type: 'string' },
      resolver: { type: 'string' },
      feed: { type: 'string' },
      verbose: { type: 'boolean', default: false },
      ...KAFKA_FLAGS,
    },
  });
  const security = kafkaSecurity(values);
  const options: RunOptions = {
    security,
    command: { argv, env: environment(), cwd: process.cwd() },
    to: values.to ?? destination(),
    tenant: values.tenant ?? tenant(),
    session: values.session ?? uuidv7(),
    spool: values.spool ?? spoolDir(),
    drainMs: integerOf('drain-ms', values['drain-ms'], DRAIN_MS, MILLISECONDS_MAX),
    verbose: values.verbose,
    sensor: rungOf(values.sensor),
    secrets: values.secret,
    content: contentPolicyOf(values.content),
    ...(values.redact === undefined ? {} : { configured: configuredRedaction(values.redact) }),
    ...(values.egress === undefined ? {} : { egress: egressPolicy(values.egress) }),
    ...(values.feed === undefined ? {} : { feed: feedOf(values.feed) }),
    ...(values.resolver === undefined ? {} : { resolver: resolverOf(values.resolver) }),
    ...(values.agent === undefined ? {} : { agent: values.agent }),
  };
  const log = terminalLog(options.verbose);
  const recorded = await recordCommand(options).catch((error: NodeJS.ErrnoException) => {
    if (error instanceof UnknownAgentError) throw new UsageError(`--agent: ${error.message}`);
    const [code, what] = NOT_STARTED[error.code ?? ''] ?? [];
    if (code === undefined) throw error;
    process.stderr.write(`telltale: ${JSON.stringify(argv[0])}: ${what}\n`);
    return code;
  });
  const leftover = await shipLeftovers(options.spool, options.to, LEFTOVER_WAIT_MS, {
    log,
    clock: createClock(),
    meter: createMeter(),
    security,
  });
  if (typeof recorded === 'number') return recorded;
  report(recorded, options, leftover.waiting);
  const { code, signal } = recorded.exit;
  return signal === null
    ? (code ?? EXIT_UNKNOWN)
    : 128 + (os.constants.signals[signal as NodeJS.Signals] ?? 0);
}

function report(recorded: Recorded, options: RunOptions, waiting: number): void {
  const where = recorded.shipped
    ? `see: telltale timeline ${options.session}`
    : `not all is shipped: it waits in ${options.spool}; "telltale collect --to ${options.to}" sends it`;
  process.stderr.write(
    `telltale: ${recorded.events} events, session ${options.session}; ${where}\n`,
  );
  if (recorded.shipped && waiting > 0)
    process.stderr.write(
      `telltale: ${waiting} events of earlier runs still wait in ${options.spool}\n`,
    );
}
