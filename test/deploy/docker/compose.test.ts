/** The Compose file against its schema, the rules of its services, and the commands that it runs. */
import fs from 'node:fs';
import path from 'node:path';
import { Ajv } from 'ajv';
import addFormats from 'ajv-formats';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { parse } from 'yaml';
import { ingest } from '../../../deploy/commands/ingest.ts';
import { migrateCommand } from '../../../deploy/commands/migrate.ts';
import { query } from '../../../deploy/commands/query.ts';
import { retention } from '../../../deploy/commands/retention.ts';
import { splitCommand } from '../../../deploy/commands/run.ts';
import { seal } from '../../../deploy/commands/seal.ts';

const root = path.resolve(import.meta.dirname, '../../..');
const read = (name: string) => fs.readFileSync(path.join(root, name), 'utf8');

interface Service {
  readonly image: string;
  readonly build?: { readonly target: string; readonly dockerfile: string };
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
  readonly secrets?: readonly string[];
  readonly profiles?: readonly string[];
  readonly [key: string]: unknown;
}

interface Compose {
  readonly services: Readonly<Record<string, Service>>;
  readonly secrets: Readonly<Record<string, { readonly file: string }>>;
  readonly volumes: Readonly<Record<string, null>>;
}

const file = parse(read('deploy/compose.yaml'), { merge: true }) as Compose;
const services = Object.entries(file.services);
const ours = services.filter(
  ([, { build, profiles }]) => build !== undefined && profiles === undefined,
);
const COMMANDS: Readonly<Record<string, (args: string[]) => Promise<number>>> = {
  ingest,
  migrate: migrateCommand,
  query,
  seal,
};
const ONE_SHOT = new Set(['agent', 'migrate', 'retention']);

afterEach(() => {
  vi.unstubAllEnvs();
});

/** Whether the file is valid; the schema's formats of times are Compose's own. */
function schemaFaults(value: unknown) {
  const ajv = new Ajv({ strict: false, validateFormats: true });
  (addFormats as unknown as (ajv: Ajv) => void)(ajv);
  ajv.addFormat('duration', /^(\d+(\.\d+)?(us|ms|s|m|h))+$/);
  ajv.addFormat('subnet_ip_address', true);
  const { $schema: _draft, ...schema } = JSON.parse(
    read('test/fixtures/compose/compose-spec.json'),
  );
  const validate = ajv.compile(schema);
  validate(value);
  return validate.errors ?? [];
}

describe('deploy/compose.yaml', () => {
  it('is valid by the schema of the Compose specification', () => {
    expect(schemaFaults(file)).toEqual([]);
    const wrong = { ...file, services: { ingest: { ...file.services.ingest, read_only: [1] } } };
    expect(schemaFaults(wrong)).not.toEqual([]);
  });

  it('has the whole product', () => {
    expect(Object.keys(file.services).sort()).toEqual(
      'agent alertmanager clickhouse grafana ingest kafka migrate prometheus query retention seal'.split(
        ' ',
      ),
    );
  });

  it.each(services)('%s is guarded, limited and pinned', (name, service) => {
    expect(service.read_only).toBe(true);
    expect(service.cap_drop).toEqual(['ALL']);
    expect(service.security_opt).toContain('no-new-privileges:true');
    expect(service.mem_limit).toMatch(/^\d+[mg]$/);
    expect(service.cpus).toBeGreaterThan(0);
    expect(service.pids_limit).toBeGreaterThan(0);
    expect(service.image).toMatch(/:v?\d+\.\d+(\.\d+)?$/);
    for (const key of ['privileged', 'network_mode', 'pid', 'ipc', 'cap_add', 'devices'])
      expect(service).not.toHaveProperty(key);
    expect(service.healthcheck === undefined).toBe(ONE_SHOT.has(name));
    for (const port of service.ports ?? []) expect(port).toMatch(/^127\.0\.0\.1:\d+:\d+$/);
    expect(service.volumes?.join() ?? '').not.toContain('docker.sock');
  });

  it('mounts what is there: volumes, files and secrets', () => {
    const mounted = services.flatMap(([, { volumes }]) => volumes ?? []);
    for (const mount of mounted) {
      const [from = ''] = mount.split(':');
      if (from.startsWith('./'))
        expect(fs.existsSync(path.join(root, 'deploy', from)), from).toBe(true);
      else expect(Object.keys(file.volumes)).toContain(from);
    }
    const used = services.flatMap(([, { secrets }]) => secrets ?? []);
    expect([...new Set(used)].sort()).toEqual(Object.keys(file.secrets).sort());
  });

  it('holds no password: secrets are files, and no URL has one', () => {
    const password = /password|secret|token/i;
    for (const [, { environment }] of services)
      for (const [name, value] of Object.entries(environment ?? {})) {
        if (password.test(name)) expect(value, name).toMatch(/^\/run\/secrets\/\S+$/);
        expect(value).not.toMatch(/:\/\/[^/@\s]*:[^/@\s]*@/);
      }
  });

  it('gives each secret file that a variable or a flag names', () => {
    for (const [name, { environment, command, secrets }] of services) {
      const texts = [...Object.values(environment ?? {}), ...(command ?? [])].join(' ');
      for (const [, secret] of texts.matchAll(/\/run\/secrets\/(\S+)/g))
        expect(secrets, name).toContain(secret);
    }
  });

  it('sets no variable that nothing reads', () => {
    const settings = new Set(
      ['deploy/settings.ts', 'deploy/telemetry/settings.ts']
        .flatMap((settings) => [...read(settings).matchAll(/env\.([A-Z_]+)/g)])
        .map(([, name]) => name),
    );
    const read_ = (name: string, variable: string): boolean => {
      if (COMMANDS[name] !== undefined || ONE_SHOT.has(name)) return settings.has(variable);
      if (name === 'clickhouse')
        return (
          variable === 'CLICKHOUSE_SKIP_USER_SETUP' ||
          read('deploy/clickhouse/users.xml').includes(`from_env="${variable}"`)
        );
      if (name === 'grafana')
        return (
          /^GF_(SECURITY|PLUGINS|ANALYTICS|USERS)_[A-Z_]+$/.test(variable) ||
          read('deploy/grafana/provisioning/datasources/telltale.yaml').includes(`$${variable}\n`)
        );
      return name === 'kafka' && /^KAFKA_[A-Z_]+$/.test(variable);
    };
    for (const [name, { environment }] of services)
      for (const variable of Object.keys(environment ?? {}))
        expect(read_(name, variable), `${name}: ${variable}`).toBe(true);
  });
});

describe.each(ours)('the command line of %s', (name, service) => {
  const [command = '', ...args] = service.command ?? [];
  const commandOf = COMMANDS[command] ?? (() => Promise.reject(new Error('no such command')));
  const withoutStore = () => {
    for (const variable of ['TELLTALE_STORE', 'KAFKA_BROKERS']) vi.stubEnv(variable, undefined);
  };

  it('is one that the command takes, and lacks but its environment', async () => {
    withoutStore();
    expect(command).toBe(name);
    await expect(commandOf([...args])).rejects.toThrow(/^(give --|say what to migrate)/);
    expect(service.environment).toHaveProperty('TELLTALE_STORE');
  });

  it('would be refused with a flag that the command has not', async () => {
    withoutStore();
    await expect(commandOf([...args, '--no-such-flag'])).rejects.toThrow(/no-such-flag/);
  });

  it('has its target in the Dockerfile', () => {
    const dockerfile = read(service.build?.dockerfile ?? '');
    expect(dockerfile).toMatch(new RegExp(`^FROM base AS ${service.build?.target}$`, 'm'));
  });
});

describe('the command of the profile retention', () => {
  it('is one that `telltale retention` takes, with a policy that it can read', async () => {
    const { profiles, command = [], volumes = [] } = file.services.retention as Service;
    expect(profiles).toEqual(['retention']);
    const [name, ...args] = command;
    expect(name).toBe('retention');
    const [, inside] = /--policy=(\S+)/.exec(args.join(' ')) ?? [];
    expect(volumes).toContain(`./docker/retention.yaml:${inside}:ro`);
    const policy = path.join(root, 'deploy/docker/retention.yaml');
    const own = args.map((arg) => (arg.startsWith('--policy=') ? `--policy=${policy}` : arg));
    await expect(retention([...own, '--data', '/no/such'])).rejects.toThrow('no such directory');
    await expect(retention([...own, '--no-such'])).rejects.toThrow('no-such');
  });
});

describe('the recorded command of the profile demo', () => {
  const { profiles, command = [] } = file.services.agent as Service;

  it('is one that `telltale run` takes, and runs only when it is asked for', () => {
    expect(profiles).toEqual(['demo']);
    const [name, ...args] = command;
    expect(name).toBe('run');
    const { flags, argv } = splitCommand(args);
    expect(flags).toEqual(['--to=kafka://kafka:9092', '--drain-ms=30000']);
    expect(argv.slice(0, 2)).toEqual(['sh', '-c']);
  });
});

describe('deploy/compose.brokers.yaml', () => {
  const more = parse(read('deploy/compose.brokers.yaml'), { merge: true }) as Compose;
  const { kafka } = file.services;
  const brokers = ['kafka-2', 'kafka-3'].map((name) => [name, more.services[name]] as const);

  it('is valid, and adds two brokers that are guarded as the first', () => {
    expect(schemaFaults(more)).toEqual([]);
    for (const [name, broker] of brokers) {
      for (const key of ['image', 'read_only', 'cap_drop', 'security_opt', 'mem_limit', 'cpus'])
        expect(broker?.[key], `${name} ${key}`).toEqual(kafka?.[key]);
      expect(broker?.healthcheck).toBeDefined();
      expect(broker?.volumes).toEqual([`${name}:/var/lib/kafka/data`]);
    }
  });

  it('makes one cluster of the three, with ports and numbers of their own', () => {
    const settings = [
      { ...kafka?.environment, ...more.services.kafka?.environment },
      ...brokers.map(([, broker]) => broker?.environment ?? {}),
    ];
    for (const name of ['KAFKA_NODE_ID', 'KAFKA_ADVERTISED_LISTENERS'])
      expect(new Set(settings.map((one) => one[name])).size).toBe(3);
    for (const name of [
      'CLUSTER_ID',
      'KAFKA_CONTROLLER_QUORUM_VOTERS',
      'KAFKA_MIN_INSYNC_REPLICAS',
    ])
      expect(new Set(settings.map((one) => one[name])).size).toBe(1);
    for (const name of ['migrate', 'ingest'])
      expect(more.services[name]?.environment?.KAFKA_BROKERS?.split(',')).toHaveLength(3);
  });
});

describe('deploy/docker/Dockerfile', () => {
  const lines = read('deploy/docker/Dockerfile').split('\n');

  it('builds from a pinned image, as no root, without install scripts', () => {
    const bases = lines.flatMap((line) => /^FROM (\S+) AS/.exec(line)?.[1] ?? []);
    for (const base of bases) if (base !== 'base') expect(base).toMatch(/^node:\d+\.\d+\.\d+-\S+$/);
    expect(lines).toContain('USER node');
    for (const line of lines.filter((one) => one.includes('npm ci')))
      expect(line).toContain('--ignore-scripts');
  });

  it('copies what is there and lets through what it copies', () => {
    const ignored = read('deploy/docker/Dockerfile.dockerignore').split('\n');
    const copied = lines
      .filter((line) => line.startsWith('COPY ') && !line.includes('--from'))
      .flatMap((line) => line.split(' ').slice(1, -1));
    for (const name of copied) {
      expect(fs.existsSync(path.join(root, name)), name).toBe(true);
      expect(ignored).toContain(`!${name.startsWith('deploy/') ? 'deploy' : name}`);
    }
  });

  it('says for each target how its health is told', () => {
    const targets = lines.filter((line) => line.startsWith('FROM base AS')).length;
    expect(lines.filter((line) => line.startsWith('HEALTHCHECK')).length).toBe(targets);
  });
});
