/**
 * The pictures of README.md, made anew: what `npm run demo` prints, and the dashboard *Fleet overview* over the
 * made-up day of `npm run report`. Both are SVG, text that a change shows in.
 *
 *   node --conditions=telltale-source --import tsx test/report/pictures.ts
 */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import type { Row } from '#schemas';
import type { Up } from '../../deploy/commands/up.ts';
import { DASHBOARDS } from '../../deploy/grafana/dashboards.ts';
import type { Panel } from '../../deploy/grafana/panel.ts';
import { barPlot, HEX, type Size, timePlot } from './charts.ts';
import { ask, DAY as QUARTERS, withDay } from './day.ts';
import { escaped, shown } from './values.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const SOURCE = ['--conditions=telltale-source', '--import', 'tsx'];
/** Half hours: enough for a look, and half as much text. */
const DAY = { ...QUARTERS, intervalSeconds: 1800 };
const CHARACTER = { width: 8, height: 18 };
const MARGIN = 20;
const CELL = { width: 50, height: 30 };
const GAP = 8;
const TITLE_HEIGHT = 28;

const svg = (width: number, height: number, back: string, body: string) =>
  `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">
<rect width="${width}" height="${height}" rx="8" fill="${back}"/>
${body}
</svg>
`;

/** The colour of a line of the story, by the sign that it begins with. */
function colorOf(line: string): string {
  if (/^\s*(?:\+[\d.]+ )?[✗⊘!]/.test(line)) return '#ff7b72';
  if (/^\s*(?:\+[\d.]+ )?✓/.test(line)) return '#7ee787';
  if (/^\s*(?:\+[\d.]+ )?[▸»]/.test(line)) return '#e6edf3';
  if (/COMPLETE|INTACT|FULL COVER/.test(line)) return '#7ee787';
  return /^\s*──/.test(line) ? '#79c0ff' : '#9aa4b2';
}

/** Lines of a terminal as a picture. */
export function terminal(text: string): string {
  const lines = text.trimEnd().split('\n');
  const columns = Math.max(...lines.map((line) => line.length));
  const spans = lines.map((line, n) => {
    const y = MARGIN + (n + 1) * CHARACTER.height - 4;
    return `<text x="${MARGIN}" y="${y}" fill="${colorOf(line)}" xml:space="preserve">${escaped(line)}</text>`;
  });
  const body = `<g font-family="ui-monospace, 'DejaVu Sans Mono', Menlo, monospace" font-size="13">\n${spans.join('\n')}\n</g>`;
  const [width, height] = [columns * CHARACTER.width, lines.length * CHARACTER.height];
  return svg(width + 2 * MARGIN, height + 2 * MARGIN, '#0d1117', body);
}

/** What the demo printed, with paths of any machine. */
function demo(): string {
  const out = execFileSync(process.execPath, [...SOURCE, 'deploy/demo/demo.ts'], {
    cwd: ROOT,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    env: { ...process.env, COLUMNS: '100', NO_COLOR: '1' },
  });
  return (
    out
      .replaceAll(process.execPath, '/usr/bin/node')
      .replaceAll(ROOT, '/srv/telltale')
      .replace(/^agent: .*\n/gm, '')
      // The recorded command is run from its source here, and its line is cut off.
      .replace(/--conditions=telltale-source .*$/m, '/srv/telltale/dist/deploy/demo/agent.js …')
  );
}

function drawn(panel: Panel, rows: readonly Row[], size: Size): string {
  if (panel.kind === 'timeseries') {
    const span = {
      fromMs: DAY.fromSeconds * 1000,
      toMs: DAY.toSeconds * 1000,
      stepMs: DAY.intervalSeconds * 1000,
    };
    return plain(timePlot(panel, rows, span, size, []));
  }
  if (panel.kind === 'barchart') return plain(barPlot(panel, rows, size));
  const value = Number(rows[0]?.value ?? 0);
  const alarm = panel.alarmFrom !== undefined && value >= panel.alarmFrom;
  const color = alarm ? HEX.red : HEX.green;
  return `<text x="${size.width / 2}" y="${size.height / 2 + 10}" text-anchor="middle" font-size="32" fill="${color}">${escaped(shown(value, panel.unit))}</text>`;
}

/** Without what only a page with a mouse has use for, and without bars that are nothing high. */
const plain = (plot: string): string =>
  plot
    .replace(/ (?:ecmeta_\w+|class)="[^"]*"/g, '')
    .replace(/<style ?>[\s\S]*?<\/style>/g, '')
    .replace(/<path d="M[\d. ]+l-?[\d.]+ 0l0 0l-?[\d.]+ 0Z"[^>]*><\/path>\n?/g, '');

/** The panels that are a number or a plot, side by side as on the dashboard. */
async function overview(up: Up): Promise<string> {
  const [fleet] = DASHBOARDS;
  const panels = (fleet?.panels ?? []).filter(({ kind }) => kind !== 'table' && kind !== 'logs');
  let [x, y, tallest] = [0, 0, 0];
  const boxes: string[] = [];
  for (const panel of panels) {
    if (x + panel.width > 24) [x, y, tallest] = [0, y + tallest, 0];
    const [width, height] = [panel.width * CELL.width - GAP, panel.height * CELL.height - GAP];
    const rows = await ask(up, panel.sql, DAY, {});
    const size = { width: width - 8, height: height - TITLE_HEIGHT - 4 };
    boxes.push(`<g transform="translate(${x * CELL.width + GAP},${y * CELL.height + GAP + 30})">
<rect width="${width}" height="${height}" rx="3" fill="#181b1f" stroke="#2a2d33"/>
<text x="10" y="19" font-size="13" fill="#ccccdc">${escaped(panel.title)}</text>
<g transform="translate(4,${TITLE_HEIGHT})">${drawn(panel, rows, size)}</g></g>`);
    [x, tallest] = [x + panel.width, Math.max(tallest, panel.height)];
  }
  const head = `<text x="${GAP + 4}" y="25" font-size="16" fill="#ccccdc">${escaped(fleet?.title ?? '')}</text>`;
  const body = `<g font-family="Inter, 'DejaVu Sans', Arial, sans-serif">${head}\n${boxes.join('\n')}</g>`;
  return svg(24 * CELL.width + GAP, (y + tallest) * CELL.height + 30 + GAP, '#111217', body);
}

fs.writeFileSync(path.join(ROOT, 'deploy/demo/demo.svg'), terminal(demo()));
await withDay(async (up) =>
  fs.writeFileSync(path.join(ROOT, 'deploy/grafana/fleet.svg'), await overview(up)),
);
