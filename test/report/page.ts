/** One dashboard as a page that stands alone: HTML and SVG, no script, nothing loaded from anywhere. */
import type { Row } from '#schemas';
import { colorOf } from '../../deploy/grafana/colors.ts';
import { hasWords, isAlarming, labelOf, unitOf } from '../../deploy/grafana/columns.ts';
import type { Dashboard, Panel } from '../../deploy/grafana/panel.ts';
import { barPlot, HEX, type Size, type Span, timePlot } from './charts.ts';
import { STYLE } from './style.ts';
import { escaped, msOf, shown, timeText } from './values.ts';

/** What a panel was answered. */
export interface Answered {
  readonly panel: Panel;
  readonly rows: readonly Row[];
}

export interface Page {
  readonly dashboard: Dashboard;
  readonly panels: readonly Answered[];
  readonly span: Span;
  /** Times that are marked on all plots. */
  readonly marks: readonly number[];
  /** What is picked, in words. */
  readonly scope: string;
  readonly others: readonly { readonly uid: string; readonly title: string }[];
}

/** Of a page of this width, less its margins; Grafana's grid has 24 columns and rows of 30 pixels. */
export const PAGE_WIDTH = 1560;
const COLUMNS = 24;
const ROW_PIXELS = 38;
const GAP_PIXELS = 8;
const HEAD_PIXELS = 170;
const TITLE_PIXELS = 34;
const HEAD_ROW_PIXELS = 29;
const TABLE_ROW_PIXELS = 26.5;
const LOG_ROW_PIXELS = 21.5;
const CELL_CHARACTERS_MAX = 160;

const EMPTY = '<div class="empty">No data in this time</div>';

function sizeOf({ width, height }: Panel): Size {
  const column = (PAGE_WIDTH + GAP_PIXELS) / COLUMNS;
  return {
    width: Math.floor(column * width - GAP_PIXELS - 18),
    height: height * ROW_PIXELS - GAP_PIXELS - TITLE_PIXELS - 10,
  };
}

/** Rows that there is room for, below a head; the last one says how many more there are. */
function fitting(answered: Answered, headPixels: number, rowPixels: number) {
  const { panel, rows } = answered;
  const room = sizeOf(panel).height - headPixels;
  const most = Math.max(1, Math.floor(room / rowPixels));
  const first = rows.length > most ? rows.slice(0, most - 1) : rows;
  return { first, more: rows.length - first.length };
}

const isTime = (type: string | undefined): boolean => type?.startsWith('DateTime') ?? false;
const isNumber = (type: string | undefined): boolean =>
  /^(Nullable\()?(U?Int|Float)/.test(type ?? '');

function stat({ panel, rows }: Answered): string {
  const value = Number(rows[0]?.value ?? Number.NaN);
  if (Number.isNaN(value)) return EMPTY;
  const alarm = panel.alarmFrom !== undefined && value >= panel.alarmFrom;
  const color = alarm ? HEX.red : panel.alarmFrom === undefined ? '#ccccdc' : HEX.green;
  return `<div class="stat" style="color:${color}">${escaped(shown(value, panel.unit))}</div>`;
}

function cell(panel: Panel, name: string, value: unknown): string {
  const type = panel.columns[name];
  if (isTime(type)) return `<td class="time">${escaped(timeText(value))}</td>`;
  if (isNumber(type)) {
    const number = Number(value);
    const alarm = isAlarming(name) && number > 0;
    const text = shown(number, unitOf(name));
    return `<td class="number${alarm ? ' alarm' : number === 0 ? ' zero' : ''}">${escaped(text)}</td>`;
  }
  const text = String(value);
  const short = text.length > CELL_CHARACTERS_MAX ? `${text.slice(0, CELL_CHARACTERS_MAX)}…` : text;
  if (panel.links?.some(({ column }) => column === name))
    return `<td><span class="link">${escaped(short.slice(-12))}</span></td>`;
  const color = hasWords(name) ? HEX[colorOf(text) ?? ''] : undefined;
  return color === undefined
    ? `<td>${escaped(short)}</td>`
    : `<td><span class="word" style="color:${color}">${escaped(short)}</span></td>`;
}

function table(answered: Answered): string {
  const { panel, rows } = answered;
  if (rows.length === 0) return EMPTY;
  const names = Object.keys(panel.columns);
  const heads = names.map((name) => {
    const kind = isNumber(panel.columns[name]) ? ' class="number"' : '';
    return `<th${kind}>${escaped(labelOf(name))}</th>`;
  });
  const { first, more } = fitting(answered, HEAD_ROW_PIXELS, TABLE_ROW_PIXELS);
  const lines = first.map(
    (row) => `<tr>${names.map((name) => cell(panel, name, row[name])).join('')}</tr>`,
  );
  if (more > 0) lines.push(`<tr><td class="more" colspan="${names.length}">${more} more</td></tr>`);
  return `<div class="scroll"><table><thead><tr>${heads.join('')}</tr></thead><tbody>${lines.join('')}</tbody></table></div>`;
}

function logs(answered: Answered): string {
  if (answered.rows.length === 0) return EMPTY;
  const { first, more } = fitting(answered, 0, LOG_ROW_PIXELS);
  const lines = first.map((row) => {
    const labels = row.labels as Readonly<Record<string, string>>;
    const level = row.level === 'warning' ? 'warning' : 'info';
    const kind = `<span class="kind">${escaped(labels.kind ?? '')}</span>`;
    const call = `<span class="call">${escaped(labels.call ?? '')}</span>`;
    return `<div class="line ${level}"><span class="time">${escaped(String(row.timestamp).slice(11, 23))}</span>${kind}<span class="body">${escaped(String(row.body).slice(0, CELL_CHARACTERS_MAX))}</span>${call}</div>`;
  });
  if (more > 0) lines.push(`<div class="more">${more} more</div>`);
  return `<div class="scroll logs">${lines.join('')}</div>`;
}

function drawn(answered: Answered, page: Page): string {
  const { panel, rows } = answered;
  switch (panel.kind) {
    case 'stat':
      return stat(answered);
    case 'table':
      return table(answered);
    case 'logs':
      return logs(answered);
    case 'barchart':
      return rows.length === 0 ? EMPTY : barPlot(panel, rows, sizeOf(panel));
    case 'timeseries':
      return rows.length === 0
        ? EMPTY
        : timePlot(panel, rows, page.span, sizeOf(panel), page.marks);
  }
}

function section(answered: Answered, page: Page): string {
  const { title, description, width, height, kind } = answered.panel;
  const pixels = height * ROW_PIXELS - GAP_PIXELS;
  return `<section class="${kind}" style="grid-column:span ${width};height:${pixels}px">
<h2 title="${escaped(description)}">${escaped(title)}</h2>
${drawn(answered, page)}
</section>`;
}

const clock = (ms: number) => new Date(ms).toISOString().slice(0, 16).replace('T', ' ');

/** How high the page is, in pixels: rows of the grid with what is around them. */
export function heightOf({ panels }: Dashboard): number {
  let [x, tallest, rows] = [0, 0, 0];
  for (const { width, height } of panels) {
    if (x + width > COLUMNS) [x, tallest, rows] = [0, 0, rows + tallest];
    [x, tallest] = [x + width, Math.max(tallest, height)];
  }
  return (rows + tallest) * ROW_PIXELS + HEAD_PIXELS;
}

/** The page. Every text in it that is not ours has gone through `escaped`, or through the plots' own. */
export function pageOf(page: Page): string {
  const { dashboard, span } = page;
  const links = page.others.map(({ uid, title }) =>
    uid === dashboard.uid
      ? `<b>${escaped(title)}</b>`
      : `<a href="${escaped(uid)}.html">${escaped(title)}</a>`,
  );
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${escaped(dashboard.title)} · Telltale</title>
<style>${STYLE}</style></head>
<body><header><nav>${links.join('')}</nav>
<h1>${escaped(dashboard.title)}</h1><p>${escaped(dashboard.description)}</p>
<p class="scope">${escaped(page.scope)} · ${clock(span.fromMs)} to ${clock(span.toMs)} UTC</p></header>
<main>
${page.panels.map((answered) => section(answered, page)).join('\n')}
</main></body></html>
`;
}

/** Times of marks, of their rows. */
export const marksOf = (rows: readonly Row[]): number[] => rows.map(({ time }) => msOf(time));
