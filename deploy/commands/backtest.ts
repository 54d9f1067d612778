import fs from 'node:fs';
import { parseArgs } from 'node:util';
import { type Alert, createViews } from '#schemas';
import { hunt } from '../../query/hunt.ts';
import type { Span } from '../../query/hunt-plan.ts';
import { parseTime, timeText } from '../../query/render.ts';
import { escapeText } from '../../query/timeline/escape.ts';
import { authorizationFor, NO_TOKEN } from '../access/credentials.ts';
import { withAccess } from '../access/direct.ts';
import { createClock } from '../process/clock.ts';
import { UsageError } from '../process/lifecycle.ts';
import { terminalLog } from '../process/log.ts';
import { readRules, SHIPPED_RULES } from '../rules/detection.ts';
import { rulePaths } from '../rules/folder.ts';
import { DEFAULT_URL, destination, tenant } from '../settings.ts';
import { openServing } from '../stores/serving.ts';
import { writeOut } from './timeline.ts';

const DAY_NS = 86_400_000_000_000n;
const ANSWER_MS_MAX = 15 * 60_000;
const LEVEL_COLUMNS = 13;

interface Found {
  readonly fingerprint: string;
  readonly ruleId: string;
  readonly title: string;
  readonly level: string;
  readonly sessionId: string;
  readonly events: readonly { readonly id: string; readonly ts: string }[];
}
interface Answer {
  readonly alerts: readonly Found[];
  readonly alertCount: number;
  readonly sessions: number;
  readonly events: number;
}

const QUERY = `query($rules: String!, $from: Time!, $to: Time!) {
  backtest(rules: $rules, from: $from, to: $to) {
    alertCount sessions events
    alerts { fingerprint ruleId title level sessionId events { id ts } }
  }
}`;

function timeOf(flag: string, text: string | undefined, fallback: bigint): string {
  if (text === undefined) return fallback.toString();
  const ns = parseTime(text);
  if (ns === undefined) throw new UsageError(`--${flag} ${text}: give an RFC 3339 time in UTC`);
  return ns;
}

const foundOf = ({ fingerprint, rule, session_id, events }: Alert): Found => ({
  fingerprint,
  ruleId: rule.id,
  title: rule.title,
  level: rule.level,
  sessionId: session_id,
  events: events.map(({ id, ts }) => ({ id, ts: timeText(ts) })),
});

/** Over a store that is opened here. */
async function overStore(url: string, folders: readonly string[], span: Span, ofTenant: string) {
  const log = terminalLog(false);
  const rules = readRules(folders);
  const store = await openServing(url, log);
  try {
    const asked = { operation: 'rules backtest', details: { from: span.from, to: span.to } };
    const progress = ({ events }: { events: number }) =>
      process.stderr.isTTY && process.stderr.write(`\r${events} events read `);
    const views = () => createViews().views;
    const found = await withAccess({ store, log, tenant: ofTenant }, asked, (run) =>
      hunt(run, { rules, views, span, progress }),
    );
    const alerts = found.alerts.map(foundOf);
    const { sessions, events } = found.stats;
    return { alerts, alertCount: alerts.length, sessions, events };
  } finally {
    await store.close();
  }
}

/** Asked of a query service, which has the store open. */
async function overService(base: string, folders: readonly string[], span: Span): Promise<Answer> {
  readRules(folders);
  const texts = folders.flatMap(rulePaths).map((file) => fs.readFileSync(file, 'utf8'));
  const variables = { rules: texts.join('\n---\n'), ...span };
  const response = await fetch(new URL('/graphql', base), {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...authorizationFor(new URL(base)) },
    body: JSON.stringify({ query: QUERY, variables }),
    signal: AbortSignal.timeout(ANSWER_MS_MAX),
  }).catch((cause) => {
    throw new Error(`no telltale answers at ${base}: say --to URL or --store URL`, { cause });
  });
  if (response.status === 401) throw new Error(`${base} does not know you: ${NO_TOKEN}`);
  const body = (await response.json()) as {
    data?: { backtest: Answer };
    errors?: readonly { message: string }[];
  };
  if (body.data === undefined)
    throw new Error(`${base} answered: ${body.errors?.[0]?.message ?? response.status}`);
  return body.data.backtest;
}

function line({ level, ruleId, title, sessionId, events }: Found): string {
  const ids = events.map(({ id }) => id).join(' ');
  const at = events.at(-1)?.ts ?? '';
  return `${at}  ${level.padEnd(LEVEL_COLUMNS)} ${ruleId}  ${title}  session ${sessionId}  ${ids}`;
}

/** `telltale rules backtest`: what rules say of what is stored. */
export async function backtest(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      rules: { type: 'string', multiple: true, default: [] },
      to: { type: 'string' },
      store: { type: 'string' },
      tenant: { type: 'string' },
      from: { type: 'string' },
      until: { type: 'string' },
      json: { type: 'boolean', default: false },
    },
  });
  if (values.to !== undefined && values.store !== undefined)
    throw new UsageError(`give --to URL (such as ${DEFAULT_URL}) or --store URL, not both`);
  const now = createClock().wallNs();
  const span = {
    from: timeOf('from', values.from, now - DAY_NS),
    to: timeOf('until', values.until, now),
  };
  const folders = values.rules.length > 0 ? values.rules : SHIPPED_RULES;
  const found =
    values.store === undefined
      ? await overService(values.to ?? destination(), folders, span)
      : await overStore(values.store, folders, span, values.tenant ?? tenant());
  if (values.json)
    await writeOut(found.alerts.map((alert) => `${JSON.stringify(alert)}\n`).join(''));
  else await writeOut(found.alerts.map((alert) => `${escapeText(line(alert))}\n`).join(''));
  process.stderr.write(
    `${found.alertCount} alerts; ${found.events} events of ${found.sessions} sessions were read\n`,
  );
  return 0;
}
