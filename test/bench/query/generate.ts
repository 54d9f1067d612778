/**
 * A store as large as a fleet's, made by the engine itself: INSERT … SELECT over a list of sessions.
 * All follows from the seed (cityHash64 of session, number and purpose). Session sizes are
 * log-normal, with one session of 10,000 events and one of a twentieth of all; hosts, paths, packages and
 * words are log-uniform by rank, so that a few are everywhere and most are rare; texts are cut from
 * the checkout's own sources, so that they compress as text does.
 *
 * Chain fields are only plausible: salts, heads and signatures have their shapes, not their values.
 */
import fs from 'node:fs';
import path from 'node:path';
import type { Store } from '#schemas';
import { dice } from '../workload.ts';

export const BENCH_TENANT = 'acme';
export const SMALL_TENANT = 'globex';
/** Events of the session of a known size. */
export const LONG_EVENTS = 10_000;
/** One session has this share of all events: a million of 20 million. */
const GIANT_SHARE = 1 / 20;

const SEED = 7;
const DAYS = 14;
const START_MS = Date.UTC(2026, 9, 1);
/** Of the logarithm of a session's size: half of the events are in a ninth of the sessions. */
const SIZE_SIGMA = 1.2;
/** Events of one INSERT; the giant session is cut by it as well. */
const PIECE_EVENTS = 500_000;
/** One session in so many is another tenant's, so that the tenant's predicate has work to do. */
const SMALL_TENANT_SHARE = 50;
const ROOT = path.resolve(import.meta.dirname, '../../..');
const TEXT_BYTES_MAX = 400_000;

export interface MadeSession {
  readonly n: number;
  readonly id: string;
  readonly tenant: string;
  readonly events: number;
}

const hex = (value: number, digits: number) => value.toString(16).padStart(digits, '0');

/** A UUIDv7 of a time, as the collector makes them. */
function uuidAt(ms: number, random: () => number): string {
  const time = hex(ms, 12);
  const word = () => hex(Math.floor(random() * 65_536), 4);
  return `${time.slice(0, 8)}-${time.slice(8)}-7${word().slice(1)}-9${word().slice(1)}-${word()}${word()}${word()}`;
}

/** Sizes that add up to about `events`; the first two are the known ones. */
function sizesOf(sessions: number, events: number, random: () => number): number[] {
  const giant = Math.round(events * GIANT_SHARE);
  const rest = events - giant - LONG_EVENTS;
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  const raw = Array.from({ length: sessions - 2 }, () => Math.exp(SIZE_SIGMA * normal()));
  const unit = rest / raw.reduce((sum, one) => sum + one, 0);
  return [LONG_EVENTS, giant, ...raw.map((one) => Math.max(12, Math.round(one * unit)))];
}

interface Planned extends MadeSession {
  readonly stream: string;
  readonly startMs: number;
  readonly from: number;
  readonly to: number;
}

function plannedSessions(sessions: number, events: number): Planned[] {
  const random = dice(SEED);
  return sizesOf(sessions, events, random).map((size, n) => {
    const startMs = START_MS + Math.floor(random() * (DAYS - 2) * 86_400_000);
    return {
      n,
      id: uuidAt(startMs, random),
      stream: uuidAt(startMs + 1, random),
      tenant: n > 1 && n % SMALL_TENANT_SHARE === 0 ? SMALL_TENANT : BENCH_TENANT,
      startMs,
      events: size,
      from: 0,
      to: size,
    };
  });
}

/** The sessions in pieces of one INSERT each; a session larger than a piece is cut. */
function* pieces(sessions: readonly Planned[]): Generator<Planned[]> {
  let piece: Planned[] = [];
  let held = 0;
  for (const session of sessions)
    for (let from = 0; from < session.events; from += PIECE_EVENTS) {
      const to = Math.min(session.events, from + PIECE_EVENTS);
      piece.push({ ...session, from, to });
      held += to - from;
      if (held < PIECE_EVENTS) continue;
      yield piece;
      piece = [];
      held = 0;
    }
  if (piece.length > 0) yield piece;
}

/** Sources of the checkout as one text, without what a literal would have to escape. */
function corpus(): string {
  const names = ['README.md', 'schemas/README.md', 'query/README.md', 'ingest/README.md'];
  const folders = ['schemas', 'query', 'ingest', 'collector'].flatMap((folder) =>
    fs
      .readdirSync(path.join(ROOT, folder))
      .filter((name) => name.endsWith('.ts'))
      .map((name) => `${folder}/${name}`),
  );
  const all = [...names, ...folders.sort()].map((name) =>
    fs.readFileSync(path.join(ROOT, name), 'utf8'),
  );
  return all
    .join('\n')
    .replace(/[^\x20-\x7e\n]/g, '')
    .slice(0, TEXT_BYTES_MAX);
}

const list = (words: readonly string[]) => `[${words.map((word) => `'${word}'`).join(', ')}]`;
const EXES = list(
  'bash rg git node cat ls sed grep python3 npm find head tail sh wc sort mkdir rm cp mv touch diff curl make tsc jq awk xargs tee chmod pip cargo go docker ssh tar gzip openssl base64'.split(
    ' ',
  ),
);
const TOOLS = list(
  'exec_command apply_patch read_file update_plan lookup web_fetch view_image list_issues'.split(
    ' ',
  ),
);
const SERVERS = list(['', '', '', '', 'github', 'linear', 'browser', 'postgres']);
const DOMAINS = list(
  'npmjs.org github.com openai.com crates.io pypi.org debian.org googleapis.com cloudfront.net co.uk example.com'.split(
    ' ',
  ),
);
const COMMANDS = list(
  'rg -n|sed -n 1,200p|npx vitest run|git diff --stat --|cat|ls -la|node --test|wc -l|git log --oneline --|npx tsc -p'.split(
    '|',
  ),
);

/**
 * One row an event. `k` is its place in a call's cycle of eleven:
 * 0 message, 1 call, 2 approval or policy or exec, 3 exec, 4 5 files, 6 connection or file,
 * 7 exec, 8 9 exits, 10 result.
 */
function rowsSql(): string {
  const roll = (what: string) => `cityHash64(n, seq, '${what}', ${SEED})`;
  const unit = (what: string) => `((${roll(what)} % 1000000007) / 1000000007)`;
  /** A rank from 0 up to `most`, log-uniform. */
  const rank = (what: string, most: number) =>
    `(toUInt64(floor(exp(${unit(what)} * log(${most})))) - 1)`;
  const pick = (words: string, what: string) =>
    `arrayElement(${words}, ${rank(what, 40)} % length(${words}) + 1)`;
  const hexOf = (what: string, digits: number) =>
    `substring(concat(lower(hex(sipHash128(n, seq, '${what}'))), lower(hex(sipHash128(n, seq, '${what}2')))), 1, ${digits})`;
  const cut = (what: string, least: number, most: number) =>
    `substring(body, ${roll(what)} % (length(body) - ${most}) + 1, ${least} + toUInt64(floor(${most - least} * pow(${unit(`${what}l`)}, 3))))`;
  const when = (condition: string, value: string, other = "''") =>
    `if(${condition}, ${value}, ${other})`;
  const file = `concat(dir, '/src/', ${pick(list(['query', 'ingest', 'schemas', 'collector']), 'dir')}, '/module_', toString(${rank('file', 400_000)}), '.ts')`;
  return `SELECT tenant, session_id, stream_id, seq,
  multiIf(seq = 0, 'session.open', seq = size - 1, 'session.close', seq % 1000 = 999, 'session.heartbeat', seq % 66 = 1, 'prompt',
    k = 0, 'model.turn', k = 1, 'tool.call', k = 2 AND odd < 120, 'approval', k = 2 AND odd < 180, 'policy.decision',
    k IN (2, 3, 7), 'exec', k IN (4, 5) OR k = 6 AND odd < 200, 'file', k = 6, 'net', k IN (8, 9), 'exit', 'tool.result') AS kind,
  toDateTime64(start_s, 9, 'UTC') + toIntervalNanosecond(toUInt64(seq) * gap_ns + ${roll('ts')} % gap_ns) AS ts,
  ts + toIntervalNanosecond(1000000 + ${roll('lag')} % 40000000) AS observed_ts,
  multiIf(kind IN ('exec', 'exit', 'file', 'net'), 'seccomp', kind LIKE 'session.%', 'collector', 'otlp') AS source,
  multiIf(source = 'seccomp', 'observed', source = 'collector', 'verified', 'reported') AS assurance,
  arrayElement(['codex', 'codex', 'claude', 'gemini', 'opencode'], n % 5 + 1) AS agent,
  concat('runner-', toString(n % 400)) AS host, concat('user-', toString(cityHash64(n, 'user') % 150)) AS user,
  concat('conversation-', toString(n)) AS conversation_id,
  if(kind LIKE 'session.%', '', concat('turn-', toString(n), '-', toString(intDiv(seq, 66)))) AS turn_id,
  if(kind LIKE 'session.%' OR k = 0, '', concat('call_', substring(lower(hex(sipHash128(n, call))), 1, 24))) AS tool_call_id,
  ${when("source = 'seccomp'", "'env_key'")} AS attribution, if(source = 'seccomp', 100, NULL) AS attribution_confidence_pct,
  if(source = 'seccomp', 1000 + (call * 3 + intDiv(k, 4)) % 60000, 0) AS pid, if(source = 'seccomp', 900, 0) AS ppid,
  ${when("kind NOT IN ('session.heartbeat', 'exit', 'file')", hexOf('salt', 32))} AS content_salt,
  ${when("kind = 'session.open'", "'2'")} AS schema_version,
  if(kind = 'session.open', [agent, 'exec', 'go on'], []) AS command_args,
  ${when("kind IN ('exec', 'tool.call', 'session.open')", 'dir')} AS cwd,
  ${when("kind = 'session.open'", "base64Encode(unhex(concat(lower(hex(sipHash128(n, 'key'))), lower(hex(sipHash128(n, 'key2'))))))")} AS public_key,
  if(kind IN ('session.heartbeat', 'session.close'), toUInt64(seq), NULL) AS chain_count,
  ${when('chain_count IS NOT NULL', hexOf('head', 64))} AS chain_head,
  ${when('chain_count IS NOT NULL', `base64Encode(unhex(concat(${hexOf('sig', 64)}, ${hexOf('sig3', 64)})))`)} AS signature,
  ${when("kind = 'session.close'", "'exited'")} AS close_reason,
  ${when("kind = 'prompt'", cut('prompt', 30, 4000))} AS prompt,
  if(kind = 'prompt', toUInt64(length(prompt)), NULL) AS prompt_bytes,
  ${when("kind = 'model.turn'", `concat('model-', toString(${rank('model', 12)}))`)} AS model,
  if(kind = 'model.turn', 900 + ${roll('in')} % 90000, NULL) AS input_tokens,
  if(kind = 'model.turn', ${roll('out')} % 1800, NULL) AS output_tokens,
  ${when("kind = 'model.turn'", cut('text', 40, 2400))} AS text,
  ${when("kind = 'tool.call'", pick(TOOLS, 'tool'))} AS tool,
  ${when("kind = 'tool.call'", `arrayElement(${SERVERS}, ${roll('mcp')} % 8 + 1)`)} AS mcp_server,
  concat('needle', toString(${rank('needle', 20_000_000)})) AS needle,
  concat(${pick(COMMANDS, 'command')}, ' ', ${file}) AS line,
  ${when("kind = 'tool.call'", `concat(line, if(${roll('n')} % 10 = 0, concat(' | grep ', needle), ''))`)} AS command,
  ${when("kind = 'tool.call'", `concat('{"cmd":"', command, '","justification":"', ${cut('args', 20, 300)}, '"}')`)} AS arguments,
  ${when("kind = 'tool.result'", cut('output', 20, 6000))} AS output,
  if(kind = 'tool.result', toUInt64(length(output)), NULL) AS output_bytes,
  multiIf(kind = 'tool.result', if(odd < 80, 'failure', 'success'), kind IN ('exec', 'file', 'net'), 'success', '') AS outcome,
  if(kind IN ('exit', 'tool.result'), toInt64(if(odd < 80, 1, 0)), NULL) AS exit_code,
  if(kind IN ('exit', 'tool.result', 'model.turn'), ${roll('took')} % 9000000000, NULL) AS duration_ns,
  multiIf(kind = 'approval', if(odd % 10 = 0, 'denied', 'approved'), kind = 'policy.decision', if(odd % 3 = 0, 'deny', 'allow'), '') AS decision,
  multiIf(kind = 'approval', if(odd % 4 = 0, 'user', 'config'), kind = 'policy.decision', 'policy', '') AS decided_by,
  ${when("kind = 'policy.decision'", "'network'")} AS policy_type,
  ${when("kind = 'exec'", pick(EXES, 'exe'))} AS exe_name,
  ${when("exe_name != ''", "concat('/usr/bin/', exe_name)")} AS exe,
  multiIf(exe_name = '', [], exe_name IN ('npm', 'pip', 'cargo', 'go'), [exe_name, 'install', concat('pkg-', toString(${rank('package', 200_000)}))],
    exe_name = 'git' AND odd < 100, ['git', 'clone', concat('https://github.com/org-', toString(${rank('org', 3000)}), '/repo-', toString(${rank('repo', 20_000)}), '.git')],
    exe_name IN ('bash', 'sh'), [exe_name, '-lc', line], ${roll('n')} % 10 = 0, [exe_name, needle, line], arrayConcat([exe_name], splitByChar(' ', line))) AS argv,
  ${when("kind = 'file'", "multiIf(k = 4, 'write', odd < 500, 'create', 'read')")} AS file_op,
  ${when("kind = 'file'", file)} AS file_path,
  if(kind = 'file', 40 + ${roll('bytes')} % 60000, NULL) AS file_bytes,
  ${when("file_op = 'write'", `lower(hex(concat(sipHash128(${rank('content', 3_000_000)}), sipHash128(${rank('content', 3_000_000)}, 'b'))))`)} AS file_sha256,
  ${when("kind = 'net'", "if(odd < 300, 'dns', 'connect')")} AS net_op,
  ${when("kind = 'net'", `concat('host-', toString(${rank('host', 50_000)}), '.', arrayElement(${DOMAINS}, ${rank('host', 50_000)} % 10 + 1))`)} AS net_host,
  ${when("net_op = 'connect'", `concat('203.', toString(${rank('host', 50_000)} % 256), '.', toString(intDiv(${rank('host', 50_000)}, 256)), '.7')`)} AS net_ip,
  if(net_op = 'connect', toUInt64(443), NULL) AS net_port,
  ts + toIntervalMillisecond(800) AS ingested_at
FROM (
  SELECT n, tenant, session_id, stream_id, start_s, gap_ns, size, seq, seq % 11 AS k, intDiv(seq, 11) AS call,
    cityHash64(n, seq, 'odd', ${SEED}) % 1000 AS odd,
    concat('/home/agent/work/project-', toString(cityHash64(n, 'project') % 600)) AS dir, (SELECT text FROM bench.corpus) AS body
  FROM bench.pieces ARRAY JOIN range(from_seq, to_seq) AS seq WHERE piece = {piece}
)`;
}

const COLUMNS =
  'tenant, session_id, stream_id, seq, kind, ts, observed_ts, source, assurance, agent, host, user, conversation_id, turn_id, tool_call_id, attribution, attribution_confidence_pct, pid, ppid, content_salt, schema_version, command_args, cwd, public_key, chain_count, chain_head, signature, close_reason, prompt, prompt_bytes, model, input_tokens, output_tokens, text, tool, mcp_server, command, arguments, output, output_bytes, outcome, exit_code, duration_ns, decision, decided_by, policy_type, exe, argv, file_op, file_path, file_bytes, file_sha256, net_op, net_host, net_ip, net_port, ingested_at'.split(
    ', ',
  );

/** Makes the helper tables and fills `telltale.events`; `said` is told after each piece. */
export async function generate(
  store: Store,
  sessions: number,
  events: number,
  said: (stored: number) => void,
): Promise<void> {
  await store.command('CREATE DATABASE IF NOT EXISTS bench ENGINE = Atomic');
  await store.command(
    'CREATE TABLE bench.corpus (text String) ENGINE = MergeTree ORDER BY tuple()',
  );
  await store.command(
    'CREATE TABLE bench.pieces (piece UInt32, n UInt32, tenant String, session_id UUID, stream_id UUID, start_s UInt32, gap_ns UInt64, size UInt32, from_seq UInt32, to_seq UInt32) ENGINE = MergeTree ORDER BY (piece, n)',
  );
  const put = (table: string, rows: readonly object[]) =>
    store.insert({
      table,
      lines: Buffer.from(rows.map((row) => `${JSON.stringify(row)}\n`).join('')),
      rows: rows.length,
      dedupToken: table,
      timeMs: 60_000,
    });
  await put('bench.corpus', [{ text: corpus() }]);
  const random = dice(SEED + 1);
  const planned = [...pieces(plannedSessions(sessions, events))];
  const rows = planned.flatMap((piece, at) =>
    piece.map((one) => ({
      piece: at,
      n: one.n,
      tenant: one.tenant,
      session_id: one.id,
      stream_id: one.stream,
      start_s: Math.floor(one.startMs / 1000),
      // The giant session lasts a day; others have an event each 0.05 to 2 s.
      gap_ns: one.events >= PIECE_EVENTS ? 86_000_000 : Math.round(5e7 * 40 ** random()),
      size: one.events,
      from_seq: one.from,
      to_seq: one.to,
    })),
  );
  await put('bench.pieces', rows);
  let stored = 0;
  for (const [at, piece] of planned.entries()) {
    const text = rowsSql().replace('{piece}', String(at));
    await store.command(`INSERT INTO telltale.events (${COLUMNS.join(', ')}) SELECT ${COLUMNS.join(', ')} FROM (${text})
SETTINGS max_insert_threads = 2, max_threads = 2, max_partitions_per_insert_block = 100`);
    stored += piece.reduce((sum, { from, to }) => sum + to - from, 0);
    said(stored);
  }
}
