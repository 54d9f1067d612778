import { parseArgs } from 'node:util';
import { createToken, type TokenRecord } from '../../query/access/token.ts';
import { ROLES, type Role, SCOPES, type Scope } from '../../query/access/viewer.ts';
import { accessDir } from '../access/local.ts';
import { tokensFile } from '../access/open.ts';
import { changeTokens, readTokens, tokenFault } from '../access/token-file.ts';
import { systemRandom } from '../process/clock.ts';
import { UsageError } from '../process/lifecycle.ts';
import { dataDir, tenant } from '../settings.ts';

const DEFAULT_EXPIRES = '90d';
const DEFAULT_OVERLAP = '24h';
const DAYS_MAX = 3650;
const DAY_MS = 86_400_000;
const UNITS: Readonly<Record<string, number>> = { h: 3_600_000, d: DAY_MS };

/** When a token ends that lives so long; undefined for `never`. */
function expiryOf(text: string, nowMs: number): string | undefined {
  if (text === 'never') return undefined;
  const match = /^(\d{1,5})([hd])$/.exec(text);
  const ms = Number(match?.[1]) * (UNITS[match?.[2] ?? ''] ?? Number.NaN);
  if (!(ms > 0 && ms <= DAYS_MAX * DAY_MS))
    throw new UsageError(`--expires ${text}: give hours or days, such as 12h or 90d, or never`);
  return new Date(nowMs + ms).toISOString();
}

function oneOf<T extends string>(flag: string, values: readonly string[], known: readonly T[]) {
  const wrong = values.find((value) => !(known as readonly string[]).includes(value));
  if (wrong !== undefined) throw new UsageError(`--${flag} ${wrong}: one of ${known.join(', ')}`);
  return values as readonly T[];
}

interface CreateFlags {
  readonly name?: string | undefined;
  readonly tenant?: string | undefined;
  readonly role: readonly string[];
  readonly scope: readonly string[];
  readonly expires: string;
}

function create(file: string, flags: CreateFlags): number {
  if (flags.name === undefined)
    throw new UsageError('say with --name whose token it is: it stands in the journal');
  const nowMs = Date.now();
  const expires = expiryOf(flags.expires, nowMs);
  const { token, record } = createToken(systemRandom, {
    name: flags.name,
    tenant: flags.tenant ?? tenant(),
    roles: oneOf<Role>('role', flags.role.length === 0 ? ['viewer'] : flags.role, ROLES),
    scopes: oneOf<Scope>('scope', flags.scope, SCOPES),
    created: new Date(nowMs).toISOString(),
    ...(expires === undefined ? {} : { expires }),
  });
  const fault = tokenFault(record);
  if (fault !== undefined) throw new UsageError(fault);
  changeTokens(file, (records) => [...records, record]);
  process.stdout.write(`${token}\n`);
  process.stderr.write(
    `telltale: token ${record.id} for ${record.name}; it is shown this once and only its hash is kept\n`,
  );
  return 0;
}

function stateOf({ revoked, expires }: TokenRecord, nowMs: number): string {
  if (revoked !== undefined) return `revoked ${revoked}`;
  if (expires === undefined) return 'never expires';
  return Date.parse(expires) > nowMs ? `expires ${expires}` : `expired ${expires}`;
}

function list(file: string, json: boolean): number {
  const records = readTokens(file);
  const shown = records.map(({ sha256: _hash, ...rest }) => rest);
  const nowMs = Date.now();
  const line = (record: TokenRecord) => {
    const { id, name, tenant: of, roles, scopes } = record;
    const may = [...roles, ...scopes].join(' ');
    return `${id}  ${name}  ${of}  ${may}  ${stateOf(record, nowMs)}\n`;
  };
  process.stdout.write(
    json ? `${JSON.stringify(shown)}\n` : records.map(line).join('') || 'no tokens\n',
  );
  return 0;
}

function revoke(file: string, id: string | undefined): number {
  if (id === undefined) throw new UsageError('say which token, by the id that "list" shows');
  changeTokens(file, (records) => {
    if (!records.some((record) => record.id === id))
      throw new UsageError(`there is no token ${JSON.stringify(id)} in ${file}`);
    const revoked = new Date().toISOString();
    return records.map((record) =>
      record.id === id && record.revoked === undefined ? { ...record, revoked } : record,
    );
  });
  process.stdout.write(`${id} is revoked: services see it at the next request\n`);
  return 0;
}

/** A new token in the place of another, which lives on for the overlap. */
function rotate(file: string, id: string | undefined, flags: CreateFlags, overlap: string): number {
  if (id === undefined) throw new UsageError('say which token, by the id that "list" shows');
  const nowMs = Date.now();
  const until = expiryOf(overlap, nowMs);
  if (until === undefined) throw new UsageError('--overlap: give hours or days, such as 24h');
  const old = readTokens(file).find((record) => record.id === id);
  if (old === undefined || stateOf(old, nowMs).startsWith('revoked'))
    throw new UsageError(`there is no token ${JSON.stringify(id)} in ${file}, or it is revoked`);
  const expires = expiryOf(flags.expires, nowMs);
  const { name, tenant: of, roles, scopes } = old;
  const { token, record } = createToken(systemRandom, {
    ...{ name, tenant: of, roles, scopes },
    created: new Date(nowMs).toISOString(),
    ...(expires === undefined ? {} : { expires }),
  });
  const ends = (one: TokenRecord): TokenRecord =>
    one.expires !== undefined && Date.parse(one.expires) < Date.parse(until)
      ? one
      : { ...one, expires: until };
  changeTokens(file, (records) => [
    ...records.map((one) => (one.id === id ? ends(one) : one)),
    record,
  ]);
  process.stdout.write(`${token}\n`);
  process.stderr.write(
    `telltale: token ${record.id} for ${name} is shown this once; ${id} is good until ${until} at the latest\n`,
  );
  return 0;
}

/** `telltale token create|list|rotate|revoke`: API tokens in a file of the data directory. */
export async function token(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      name: { type: 'string' },
      tenant: { type: 'string' },
      role: { type: 'string', multiple: true, default: [] },
      scope: { type: 'string', multiple: true, default: [] },
      expires: { type: 'string', default: DEFAULT_EXPIRES },
      overlap: { type: 'string', default: DEFAULT_OVERLAP },
      data: { type: 'string' },
      file: { type: 'string' },
      json: { type: 'boolean', default: false },
    },
  });
  const [verb, id, ...rest] = positionals;
  const file = values.file ?? tokensFile(accessDir(values.data ?? dataDir()));
  if (rest.length > 0 || (verb !== 'revoke' && verb !== 'rotate' && id !== undefined))
    throw new UsageError('too many words');
  if (verb === 'create') return create(file, values);
  if (verb === 'list') return list(file, values.json);
  if (verb === 'rotate') return rotate(file, id, values, values.overlap);
  if (verb === 'revoke') return revoke(file, id);
  throw new UsageError('create, list, rotate or revoke');
}
