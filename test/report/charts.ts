/** Plots as SVG text, made without a browser: ECharts draws, nothing of it runs in the page. */
import { BarChart, LineChart } from 'echarts/charts';
import { GridComponent, LegendComponent, MarkLineComponent } from 'echarts/components';
import { init, use } from 'echarts/core';
import { SVGRenderer } from 'echarts/renderers';
import type { Row } from '#schemas';
import { colorOf } from '../../deploy/grafana/colors.ts';
import type { Panel } from '../../deploy/grafana/panel.ts';
import { msOf, shown } from './values.ts';

use([BarChart, LineChart, GridComponent, LegendComponent, MarkLineComponent, SVGRenderer]);

export interface Size {
  readonly width: number;
  readonly height: number;
}

export interface Span {
  readonly fromMs: number;
  readonly toMs: number;
  readonly stepMs: number;
}

/** Grafana's palette, as its dark theme has it. */
export const HEX: Readonly<Record<string, string>> = {
  green: '#73bf69',
  'dark-green': '#37872d',
  yellow: '#fade2a',
  orange: '#ff9830',
  red: '#f2495c',
  'dark-red': '#c4162a',
  blue: '#5794f2',
  purple: '#b877d9',
  gray: '#8e8e99',
};
const SERIES = [
  ...['#5794f2', '#73bf69', '#b877d9', '#ff9830', '#8ab8ff', '#fade2a', '#56d9cc', '#ff7383'],
  ...['#96d98d', '#ca95e5', '#ffcb7d', '#3274d9', '#e0b400', '#a352cc', '#fa6400', '#c0d8ff'],
];
const TEXT = '#9a9ba6';
const GRID = '#2a2d33';
/** ECharts puts it into an attribute as it is. */
const FONT = "Inter, 'DejaVu Sans', Arial, sans-serif";

/** Long names keep their beginning: what follows stands in the table. */
const NAME_CHARACTERS_MAX = 36;
const shortened = (name: string): string =>
  name.length > NAME_CHARACTERS_MAX ? `${name.slice(0, NAME_CHARACTERS_MAX)}…` : name;

const isNumber = (type: string): boolean => /^(Nullable\()?(U?Int|Float)/.test(type);

/** The long form (time, words, number) as one line of points for each series, in order of name. */
export function seriesOf(panel: Panel, rows: readonly Row[], span: Span) {
  const names = Object.entries(panel.columns);
  const labels = names.filter(([, type]) => type === 'String').map(([name]) => name);
  const numbers = names.filter(([, type]) => isNumber(type)).map(([name]) => name);
  const found = new Map<string, Map<number, number>>();
  for (const row of rows)
    for (const number of numbers) {
      const label = labels.map((name) => String(row[name])).join(' ');
      const name = label === '' ? number : label;
      const points = found.get(name) ?? new Map<number, number>();
      points.set(msOf(row.time), Number(row[number] ?? Number.NaN));
      found.set(name, points);
    }
  const steps: number[] = [];
  const first = Math.floor(span.fromMs / span.stepMs) * span.stepMs;
  for (let at = first; at <= span.toMs; at += span.stepMs) steps.push(at);
  return [...found].map(([name, points]) => ({
    name,
    // Bars that are stacked need a point in each step; a line has a hole where nothing was.
    points: steps.map((at) => [at, points.get(at) ?? (panel.stacked ? 0 : null)] as const),
  }));
}

function draw(size: Size, option: object): string {
  const chart = init(null, null, { renderer: 'svg', ssr: true, ...size });
  try {
    chart.setOption({ animation: false, textStyle: { fontFamily: FONT }, ...option });
    return chart.renderToSVGString();
  } finally {
    chart.dispose();
  }
}

const axis = (unit: string | undefined) => ({
  type: 'value' as const,
  axisLabel: { color: TEXT, fontSize: 11, formatter: (value: number) => shown(value, unit) },
  splitLine: { lineStyle: { color: GRID } },
  splitNumber: 4,
  minInterval: unit === 'short' ? 1 : 0,
});

const LEGEND_PIXELS = 20;
/** About what a letter and an icon of the legend take. */
const LETTER_PIXELS = 6.6;
const ICON_PIXELS = 38;

/** How many rows the legend has: the plot ends above them. */
function legendRows(all: readonly { readonly name: string }[], { width }: Size): number {
  const widths = all.map(({ name }) => shortened(name).length * LETTER_PIXELS + ICON_PIXELS);
  return Math.max(1, Math.ceil(widths.reduce((sum, one) => sum + one, 0) / (width - 20)));
}

/** Seconds where an hour or less is looked at. */
const clockDigits = ({ fromMs, toMs }: Span): number => (toMs - fromMs > 3_600_000 ? 16 : 19);

/** A plot over time; `marks` are times that are drawn through it. */
export function timePlot(
  panel: Panel,
  rows: readonly Row[],
  span: Span,
  size: Size,
  marks: readonly number[],
): string {
  const all = seriesOf(panel, rows, span);
  const marked = {
    symbol: 'none',
    label: { show: false },
    lineStyle: { color: HEX.red, width: 1, type: 'dashed' as const, opacity: 0.55 },
    data: marks.map((at) => ({ xAxis: at })),
  };
  return draw(size, {
    grid: {
      ...{ left: 8, right: 14, top: 12, bottom: 12 + LEGEND_PIXELS * legendRows(all, size) },
      ...{ outerBoundsMode: 'same', outerBoundsContain: 'axisLabel' },
    },
    legend: {
      type: 'plain',
      bottom: 0,
      left: 4,
      icon: 'roundRect',
      itemWidth: 12,
      itemHeight: 4,
      itemGap: 18,
      textStyle: { color: TEXT, fontSize: 11 },
      formatter: shortened,
    },
    xAxis: {
      type: 'time',
      min: span.fromMs,
      max: span.toMs,
      axisLine: { lineStyle: { color: GRID } },
      axisTick: { show: false },
      axisLabel: {
        color: TEXT,
        fontSize: 11,
        hideOverlap: true,
        formatter: (at: number) => new Date(at).toISOString().slice(11, clockDigits(span)),
      },
    },
    yAxis: axis(panel.unit ?? 'short'),
    series: all.map(({ name, points }, i) => ({
      name,
      type: panel.stacked ? 'bar' : 'line',
      ...(panel.stacked ? { stack: 'all', barCategoryGap: '15%', large: false } : {}),
      ...(panel.stacked ? {} : { showSymbol: true }),
      connectNulls: false,
      symbol: 'circle',
      symbolSize: 5,
      lineStyle: { width: 1.6 },
      itemStyle: { color: HEX[colorOf(name) ?? ''] ?? SERIES[i % SERIES.length] },
      data: points,
      ...(i === 0 && marks.length > 0 ? { markLine: marked } : {}),
    })),
  });
}

/** Bars that lie, the longest on top, with their numbers. */
export function barPlot(panel: Panel, rows: readonly Row[], size: Size): string {
  const [label = '', number = ''] = Object.keys(panel.columns);
  const given = rows.toReversed();
  return draw(size, {
    grid: {
      left: 8,
      right: 60,
      top: 6,
      bottom: 6,
      outerBoundsMode: 'same',
      outerBoundsContain: 'axisLabel',
    },
    xAxis: { type: 'value', show: false },
    yAxis: {
      type: 'category',
      data: given.map((row) => shortened(String(row[label]))),
      axisLine: { show: false },
      axisTick: { show: false },
      axisLabel: { color: '#ccccdc', fontSize: 12 },
    },
    series: [
      {
        type: 'bar',
        barMaxWidth: 26,
        label: {
          show: true,
          position: 'right',
          color: '#ccccdc',
          formatter: ({ value }: { value: unknown }) => shown(Number(value), panel.unit),
        },
        data: given.map((row, i) => ({
          value: Number(row[number]),
          itemStyle: {
            color:
              HEX[colorOf(String(row[label])) ?? ''] ??
              SERIES[(given.length - 1 - i) % SERIES.length],
            borderRadius: 2,
          },
        })),
      },
    ],
  });
}
