/**
 * `npm run report`: each dashboard as a page with pictures, over a made-up day of a fleet.
 *
 * The panels' own statements are asked of `telltale up --grafana` as Grafana asks them; the answers are
 * drawn as HTML and SVG below `.cache/report`, and looked at in headless Chromium where there is one.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Row } from '#schemas';
import { createUp, type Up } from '../../deploy/commands/up.ts';
import { DASHBOARDS } from '../../deploy/grafana/dashboards.ts';
import { expand, type Picks, type Range } from '../../deploy/grafana/macros.ts';
import type { Dashboard, Panel } from '../../deploy/grafana/panel.ts';
import { migrate } from '../../deploy/migrate.ts';
import { openStore } from '../../deploy/stores/open.ts';
import { fakeLog } from '../fakes/ports.ts';
import { findChromium, look } from './chromium.ts';
import { BAD_SESSION, DAY_END_MS, DAY_MS, FLEET_TENANT, insertFleet } from './fleet.ts';
import { heightOf, marksOf, type Page, pageOf } from './page.ts';

const OUT = path.resolve('.cache/report');
/** As many bars as a panel of Grafana's has with `maxDataPoints` 96. */
const DAY: Range = {
  fromSeconds: (DAY_END_MS - DAY_MS) / 1000,
  toSeconds: DAY_END_MS / 1000,
  intervalSeconds: 900,
};

/** Asks as Grafana's data source does; JSON instead of Native. */
async function ask(up: Up, sql: string, range: Range, picks: Picks): Promise<readonly Row[]> {
  const password = Buffer.from(`grafana:${up.token}`).toString('base64');
  const response = await fetch(`${up.grafanaUrl}/?default_format=JSON`, {
    method: 'POST',
    headers: { authorization: `Basic ${password}`, 'x-grafana-user': 'report' },
    body: expand(sql, range, picks),
  });
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}\n${sql}`);
  return ((await response.json()) as { readonly data: readonly Row[] }).data;
}

/** The minutes of the session that is looked at: its first and last event, of the fleet's table. */
async function rangeOfSession(up: Up): Promise<Range> {
  const table = DASHBOARDS[0]?.panels.find(({ kind, links }) => kind === 'table' && links) as Panel;
  const rows = await ask(up, table.sql, DAY, {});
  const row = rows.find(({ session }) => session === BAD_SESSION);
  const seconds = (time: unknown) =>
    Math.floor(Date.parse(`${String(time).slice(0, 19).replace(' ', 'T')}Z`) / 1000);
  const [from, to] = [seconds(row?.began) - 5, seconds(row?.ended) + 5];
  return { fromSeconds: from, toSeconds: to, intervalSeconds: Math.ceil((to - from) / 96) };
}

async function draw(up: Up, dashboard: Dashboard): Promise<string> {
  const one = dashboard.uid === 'telltale-session';
  const range = one ? await rangeOfSession(up) : DAY;
  const picks: Picks = one ? { session: BAD_SESSION } : {};
  const panels: { panel: Panel; rows: readonly Row[] }[] = [];
  for (const panel of dashboard.panels)
    panels.push({ panel, rows: await ask(up, panel.sql, range, picks) });
  const marks: number[] = [];
  for (const { sql } of dashboard.marks) marks.push(...marksOf(await ask(up, sql, range, picks)));
  const page: Page = {
    dashboard,
    panels,
    marks,
    span: {
      fromMs: range.fromSeconds * 1000,
      toMs: range.toSeconds * 1000,
      stepMs: range.intervalSeconds * 1000,
    },
    scope: one ? `session ${BAD_SESSION}` : 'all tenants, agents and hosts of the token',
    others: DASHBOARDS.map(({ uid, title }) => ({ uid, title })),
  };
  const file = path.join(OUT, `${dashboard.uid}.html`);
  fs.writeFileSync(file, pageOf(page));
  const empty = panels.filter(({ rows }) => rows.length === 0).map(({ panel }) => panel.title);
  process.stdout.write(
    `${dashboard.title}: ${panels.length} panels${empty.length === 0 ? '' : `, empty: ${empty.join(', ')}`}\n`,
  );
  return file;
}

async function main(): Promise<number> {
  const data = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-report-'));
  fs.rmSync(OUT, { recursive: true, force: true });
  fs.mkdirSync(OUT, { recursive: true });
  const store = await openStore(`chdb:${data}`, { log: fakeLog() });
  await migrate(store, { log: fakeLog() });
  await insertFleet(store);
  await store.close();
  const grafana = { host: '127.0.0.1', port: 0 };
  const up = createUp({ data, port: 0, tenant: FLEET_TENANT, grafana, log: fakeLog() });
  await up.start();
  const files: { readonly file: string; readonly height: number }[] = [];
  try {
    for (const dashboard of DASHBOARDS)
      files.push({ file: await draw(up, dashboard), height: heightOf(dashboard) });
  } finally {
    await up.stop();
    fs.rmSync(data, { recursive: true, force: true });
  }
  const chromium = findChromium();
  if (chromium === undefined)
    process.stdout.write('NOT LOOKED AT: no chromium here (apt-get install chromium)\n');
  const faults =
    chromium === undefined ? [] : files.flatMap(({ file, height }) => look(chromium, file, height));
  for (const fault of faults) process.stdout.write(`FAULT ${fault}\n`);
  process.stdout.write(`${OUT}/${DASHBOARDS[0]?.uid}.html\n`);
  return faults.length === 0 ? 0 : 1;
}

process.exitCode = await main();
