/**
 * `npm run report`: each dashboard as a page with pictures, over a made-up day of a fleet.
 *
 * The panels' own statements are asked of `telltale up --grafana` as Grafana asks them; the answers are
 * drawn as HTML and SVG below `.cache/report`, and looked at in headless Chromium where there is one.
 */
import fs from 'node:fs';
import path from 'node:path';
import type { Row } from '#schemas';
import type { Up } from '../../deploy/commands/up.ts';
import { DASHBOARDS } from '../../deploy/grafana/dashboards.ts';
import type { Picks, Range } from '../../deploy/grafana/macros.ts';
import type { Dashboard, Panel } from '../../deploy/grafana/panel.ts';
import { findChromium, look } from './chromium.ts';
import { ask, DAY, withDay } from './day.ts';
import { BAD_SESSION } from './fleet.ts';
import { heightOf, marksOf, type Page, pageOf } from './page.ts';

const OUT = path.resolve('.cache/report');
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
  fs.rmSync(OUT, { recursive: true, force: true });
  fs.mkdirSync(OUT, { recursive: true });
  const files: { readonly file: string; readonly height: number }[] = [];
  await withDay(async (up) => {
    for (const dashboard of DASHBOARDS)
      files.push({ file: await draw(up, dashboard), height: heightOf(dashboard) });
  });
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
