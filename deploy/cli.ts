#!/usr/bin/env node
/** The `telltale` command: finds the subcommand, gives clear errors, sets the exit code. */
import { KAFKA_USAGE } from './kafka/usage.ts';
import { keepHeapYoung } from './process/heap.ts';
import { UsageError } from './process/lifecycle.ts';

interface Command {
  readonly summary: string;
  readonly usage: string;
  /** Loaded only when used: `telltale run` must start fast. Resolves to the exit code. */
  readonly load: () => Promise<(args: string[]) => Promise<number>>;
}

const COMMANDS: Readonly<Record<string, Command>> = {
  up: {
    summary: 'everything on this machine: embedded store, ingest and query, no broker',
    usage:
      'up [--data DIR] [--port N] [--grafana HOST:PORT] [--retention POLICY] [--witness URL=VKEY]… [--rules DIR]… [--no-rules] ' +
      '[--alertmanager URL] [--webhook URL] [--health HOST:PORT]',
    load: async () => (await import('./commands/up.ts')).up,
  },
  run: {
    summary: 'record a session; exits with the command’s code',
    usage:
      'run [--agent NAME] [--sensor auto|seccomp|ptrace|feed|none] [--feed falco|tetragon|gvisor:FILE|unix:SOCKET|-] [--secret PATH] [--redact FILE] [--content full|hash|none] [--egress FILE [--resolver IP:PORT]] [--to URL|kafka://HOST:PORT,…] [--tenant NAME] -- COMMAND …',
    load: async () => {
      keepHeapYoung();
      return (await import('./commands/run.ts')).run;
    },
  },
  timeline: {
    summary: 'print a session as a story',
    usage: 'timeline [SESSION|latest] [--from URL | --data DIR] [--json] [--verbose] [--triage]',
    load: async () => (await import('./commands/timeline.ts')).timeline,
  },
  sessions: {
    summary: 'list the recorded sessions, newest first',
    usage: 'sessions [--from URL | --data DIR] [--first N] [--json]',
    load: async () => (await import('./commands/timeline.ts')).sessions,
  },
  import: {
    summary: 'native files of an agent (session files, transcripts, OTLP dumps) as a session',
    usage:
      'import FILE|DIR… [--agent NAME] [--to URL|kafka://…] [--tenant NAME] [--host NAME] [--user NAME]',
    load: async () => (await import('./commands/import.ts')).importCommand,
  },
  rules: {
    summary: 'compile rules, run their examples, match them against a file or against the store',
    usage:
      'rules check DIR | test DIR | match --rules DIR --events FILE | ' +
      'backtest [--rules DIR]… [--from TIME] [--until TIME] [--to URL | --store URL] [--json]',
    load: async () => (await import('./commands/rules.ts')).rules,
  },
  export: {
    summary: 'a session as one evidence bundle, or its timeline in another format',
    usage:
      'export SESSION|latest [--to URL] [-o FILE] [--content full|none] [--reason TEXT] [--by NAME] | ' +
      'export SESSION --format ndjson|csv|parquet|ocsf [-o FILE|-] [--kind K]… [--text T] [--path P] ' +
      '[--host H] [--process ID] [--pid N] [--call ID] [--turn ID] [--verdict V]… [--since TIME]',
    load: async () => (await import('./commands/export.ts')).exportSession,
  },
  verify: {
    summary: 'integrity, completeness and assurance of a bundle (offline), a session, or all',
    usage:
      'verify BUNDLE|SESSION|--all [--log-key VKEY]… [--witness [URL=]VKEY]… [--known NOTE] [--sha256 HEX] [--to URL] [--json]',
    load: async () => (await import('./commands/verify.ts')).verify,
  },
  collect: {
    summary: 'ship what earlier runs left in the spool',
    usage: 'collect [--to URL|kafka://…] [--spool DIR] [--wait-ms N]',
    load: async () => (await import('./commands/collect.ts')).collect,
  },
  ingest: {
    summary: 'the ingest worker: Kafka to ClickHouse',
    usage:
      'ingest --kafka HOST:PORT,… --store http://…|chdb:DIR [--group NAME] [--fleet-rules] [--health HOST:PORT] | ' +
      'ingest replay-dead --store URL [--kafka …] [--reason R] [--session S] [--dry-run]',
    load: async () => (await import('./commands/ingest.ts')).ingest,
  },
  query: {
    summary: 'the query service: ClickHouse to GraphQL',
    usage:
      'query --store http://…|chdb:DIR [--tlog URL] [--host H] [--port N] [--tls-cert FILE --tls-key FILE] [--tokens FILE] [--health HOST:PORT] ' +
      '[--oidc-issuer URL --oidc-audience NAME --oidc-tenant NAME|--oidc-tenant-claim CLAIM ' +
      '[--oidc-role ROLE=GROUP]… [--oidc-content GROUP]…] [--no-introspection] [--explorer]',
    load: async () => (await import('./commands/query.ts')).query,
  },
  token: {
    summary: 'API tokens: who may ask the query service, and for what',
    usage:
      'token create --name WHO [--tenant NAME] [--role viewer|investigator|admin]… [--scope content] ' +
      '[--expires 90d|never] | list [--json] | rotate ID [--overlap 24h] [--expires 90d|never] | ' +
      'revoke ID  [--data DIR | --file FILE]',
    load: async () => (await import('./commands/token.ts')).token,
  },
  seal: {
    summary: 'the transparency log over a cluster’s store, served as C2SP tlog-tiles',
    usage:
      'seal --store http://… --dir DIR [--host H] [--port N] [--tls-cert FILE --tls-key FILE] [--origin NAME] [--witness URL=VKEY]… [--health HOST:PORT]',
    load: async () => (await import('./commands/seal.ts')).seal,
  },
  keys: {
    summary: 'signing and redaction keys: which there are, a new one, the end of an overlap',
    usage:
      'keys list | rotate log|witness|redaction | retire log|witness  [--dir DIR | --data DIR | --spool DIR]',
    load: async () => (await import('./commands/keys.ts')).keys,
  },
  witness: {
    summary: 'an independent witness that cosigns transparency logs',
    usage:
      'witness --dir DIR [--host H] [--port N] [--name NAME] [--log VKEY]… [--health HOST:PORT]',
    load: async () => (await import('./commands/witness.ts')).witness,
  },
  erase: {
    summary: 'take content of a session out of the store; every proof stays valid',
    usage:
      'erase SESSION [--event ID]… [--fields A,B] --reason TEXT [--by NAME] [--data DIR | --store URL] [--dry-run]',
    load: async () => (await import('./commands/erase.ts')).erase,
  },
  retention: {
    summary: 'removes whole sessions, or their content, by a policy; never a held one',
    usage:
      'retention run --policy FILE [--dry-run] [--data DIR | --store URL [--access DIR]] [--by NAME]',
    load: async () => (await import('./commands/retention.ts')).retention,
  },
  hold: {
    summary: 'legal hold: keeps a session from being removed',
    usage:
      'hold place|release SESSION --reason TEXT | list  [--tenant NAME] [--by NAME] ' +
      '[--data DIR | --store URL [--access DIR]]',
    load: async () => (await import('./commands/hold.ts')).hold,
  },
  backup: {
    summary: 'the store, its log and its tokens into a folder that says what it holds',
    usage:
      'backup DIR [--data DIR | --store URL [--to disk:NAME|s3:COLLECTION] [--tlog DIR] [--access DIR]] ' +
      '[--base DIR] [--reason TEXT] [--by NAME]',
    load: async () => (await import('./commands/backup.ts')).backup,
  },
  restore: {
    summary: 'a backup put back where nothing is yet, and held to what it says',
    usage:
      'restore DIR [--data DIR | --store URL [--tlog DIR] [--access DIR]] [--base DIR] [--sha256 HEX] ' +
      '[--check] [--reason TEXT] [--by NAME]',
    load: async () => (await import('./commands/restore.ts')).restore,
  },
  migrate: {
    summary: 'bring the store, and with --kafka the topic, to this version’s schema',
    usage:
      'migrate --store http://…|chdb:DIR [--cluster NAME] [--kafka HOST:PORT,…] [--partitions N] [--dry-run]',
    load: async () => (await import('./commands/migrate.ts')).migrateCommand,
  },
  doctor: {
    summary: 'what works here and what to do next: kernel, sensor, disks, keys, store, brokers',
    usage:
      'doctor [--store URL] [--kafka HOST:PORT,…] [--data DIR] [--feed falco|tetragon|gvisor:PLACE] [--json]',
    load: async () => (await import('./commands/doctor.ts')).doctor,
  },
};

function help(): string {
  const rows = Object.entries(COMMANDS).map(
    ([name, { summary, usage }]) => `  ${name.padEnd(9)} ${summary}\n            telltale ${usage}`,
  );
  const brokers = `  What speaks to brokers takes ${KAFKA_USAGE}.\n`;
  return `telltale: the flight recorder and forensic search for AI agents\n\n${rows.join('\n')}\n\n${brokers}`;
}

async function main(): Promise<number> {
  const [name, ...args] = process.argv.slice(2);
  if (name === undefined || name === 'help' || name === '--help' || name === '-h') {
    process.stdout.write(help());
    return name === undefined ? 2 : 0;
  }
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined)
    throw new UsageError(`there is no command ${JSON.stringify(name)}: see "telltale help"`);
  try {
    return await (await command.load())(args);
  } catch (error) {
    if (!isUsage(error)) throw error;
    throw new UsageError(`${error.message}\nusage: telltale ${command.usage}`);
  }
}

/** Our own usage errors, and those of node:util's parseArgs, which are told by their code. */
function isUsage(error: unknown): error is Error {
  const code = (error as NodeJS.ErrnoException).code;
  return error instanceof UsageError || (code?.startsWith('ERR_PARSE_ARGS') ?? false);
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    const message = error instanceof Error ? error.message : String(error);
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : '';
    process.stderr.write(`telltale: ${message}${cause === '' ? '' : `\n  because: ${cause}`}\n`);
    if (process.env.TELLTALE_LOG === 'debug' && error instanceof Error)
      process.stderr.write(`${error.stack}\n`);
    process.exit(isUsage(error) ? 2 : 1);
  },
);
