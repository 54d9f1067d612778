/** Dashboards as plain data -> Grafana's JSON, by Grafana's own typed builders. */
import { PanelBuilder as BarChart } from '@grafana/grafana-foundation-sdk/barchart';
import type { Builder, Dataquery } from '@grafana/grafana-foundation-sdk/cog';
import {
  type DataSourceRef,
  GraphDrawStyle,
  LegendDisplayMode,
  LegendPlacement,
  LogsSortOrder,
  SortOrder,
  StackingMode,
  TooltipDisplayMode,
  VisibilityMode,
  VizOrientation,
} from '@grafana/grafana-foundation-sdk/common';
import {
  AnnotationQueryBuilder,
  DashboardBuilder,
  DashboardCursorSync,
  type Dashboard as GrafanaDashboard,
  type Panel as GrafanaPanel,
  QueryVariableBuilder,
  ThresholdsConfigBuilder,
  ThresholdsMode,
  VariableRefresh,
  VariableSort,
} from '@grafana/grafana-foundation-sdk/dashboard';
import { PanelBuilder as Logs } from '@grafana/grafana-foundation-sdk/logs';
import { PanelBuilder as Stat } from '@grafana/grafana-foundation-sdk/stat';
import { PanelBuilder as Table } from '@grafana/grafana-foundation-sdk/table';
import { PanelBuilder as TimeSeries } from '@grafana/grafana-foundation-sdk/timeseries';
import { COLORS, patternOf } from './colors.ts';
import { hasWords, isAlarming, labelOf, unitOf } from './columns.ts';
import { DATASOURCE_TYPE, DATASOURCE_UID, targetOf } from './datasource.ts';
import { type ColumnLink, type Dashboard, frameOf, type Panel, type PanelKind } from './panel.ts';
import { ALL_VALUE } from './scope.ts';

const DATASOURCE: DataSourceRef = { type: DATASOURCE_TYPE, uid: DATASOURCE_UID };
/** Grafana's grid. */
const GRID_COLUMNS = 24;
const TAG = 'telltale';

/** Small parts of the library's are plain objects: a builder that gives one. */
const plain = <T>(value: T): Builder<T> => ({ build: () => value });

/** The library knows no query of this data source; any object that says what it is will do. */
const query = (refId: string, sql: string, kind: PanelKind): Builder<Dataquery> =>
  plain({ ...targetOf(refId, sql, frameOf(kind)), _implementsDataqueryVariant() {} });

interface Property {
  readonly id: string;
  readonly value: unknown;
}

const linkProperty = (link: ColumnLink): Property => ({
  id: 'links',
  value: [
    {
      title: link.title,
      url: `/d/${link.dashboard}?var-${link.variable}=\${__value.raw:percentencode}&\${__url_time_range}`,
    },
  ],
});

const COLORED: Property = { id: 'custom.cellOptions', value: { type: 'color-text' } };
const ALARM: Property = {
  id: 'thresholds',
  value: {
    mode: 'absolute',
    steps: [
      { value: null, color: 'text' },
      { value: 1, color: 'red' },
    ],
  },
};
/** Words to colours, as a table's cells have them. */
const WORDS: Property = {
  id: 'mappings',
  value: COLORS.map(([words, color]) => ({
    type: 'value',
    options: Object.fromEntries(words.map((word, index) => [word, { color, index }])),
  })),
};

/** All that is said of one column of a table. */
function columnProperties(panel: Panel, column: string): Property[] {
  const number = /^(Nullable\()?(U?Int|Float)/.test(panel.columns[column] ?? '');
  const link = panel.links?.find((one) => one.column === column);
  return [
    { id: 'displayName', value: labelOf(column) },
    ...(number ? [{ id: 'unit', value: unitOf(column) }] : []),
    ...(isAlarming(column) ? [ALARM, COLORED] : []),
    ...(hasWords(column) ? [WORDS, COLORED] : []),
    ...(link === undefined ? [] : [linkProperty(link)]),
  ];
}

function thresholds(panel: Panel): ThresholdsConfigBuilder {
  const steps = [{ value: null, color: 'green' }];
  const alarm = panel.alarmFrom === undefined ? [] : [{ value: panel.alarmFrom, color: 'red' }];
  return new ThresholdsConfigBuilder()
    .mode(ThresholdsMode.Absolute)
    .steps([...steps, ...alarm] as Parameters<ThresholdsConfigBuilder['steps']>[0]);
}

/** Bars that can be told apart, whatever time is looked at. */
const POINTS_MAX = 96;
/** A measurement is joined to the next one where that is not further away: a night is a hole. */
const JOINED_MS_MAX = 3_600_000;

function timeSeries(panel: Panel): TimeSeries {
  const series = new TimeSeries()
    .maxDataPoints(POINTS_MAX)
    .drawStyle(panel.stacked ? GraphDrawStyle.Bars : GraphDrawStyle.Line)
    .fillOpacity(panel.stacked ? 80 : 0)
    .showPoints(panel.stacked ? VisibilityMode.Never : VisibilityMode.Always)
    .insertNulls(JOINED_MS_MAX)
    .stacking(plain({ mode: panel.stacked ? StackingMode.Normal : StackingMode.None, group: 'A' }))
    .tooltip(plain({ mode: TooltipDisplayMode.Multi, sort: SortOrder.Descending }))
    .legend(
      plain({
        displayMode: LegendDisplayMode.List,
        placement: LegendPlacement.Bottom,
        showLegend: true,
        calcs: [],
      }),
    );
  for (const [words, color] of COLORS)
    series.overrideByRegexp(patternOf(words), [
      { id: 'color', value: { mode: 'fixed', fixedColor: color } },
    ]);
  return series;
}

function drawn(panel: Panel) {
  switch (panel.kind) {
    case 'timeseries':
      return timeSeries(panel);
    case 'stat':
      return new Stat()
        .thresholds(thresholds(panel))
        .reduceOptions(plain({ calcs: ['lastNotNull'], values: false, fields: '' }));
    case 'barchart':
      return new BarChart().orientation(VizOrientation.Horizontal);
    case 'logs':
      return new Logs().showTime(true).enableLogDetails(true).sortOrder(LogsSortOrder.Ascending);
    case 'table': {
      const table = new Table().filterable(true);
      for (const column of Object.keys(panel.columns))
        table.overrideByName(column, columnProperties(panel, column));
      return table;
    }
  }
}

/** Counts: all digits where one is read, rounded on an axis. */
const DEFAULT_UNITS: Readonly<Record<Exclude<PanelKind, 'logs'>, string>> = {
  stat: 'locale',
  table: 'locale',
  barchart: 'locale',
  timeseries: 'short',
};

interface Place {
  readonly x: number;
  readonly y: number;
  /** Height of the tallest in this row so far. */
  readonly tallest: number;
}

/** Where a panel goes: beside the last one when there is room, else in a new row. */
function placeAfter(place: Place, panel: Panel): Place {
  if (place.x + panel.width <= GRID_COLUMNS)
    return { ...place, tallest: Math.max(place.tallest, panel.height) };
  return { x: 0, y: place.y + place.tallest, tallest: panel.height };
}

function panels(dashboard: Dashboard): Builder<GrafanaPanel>[] {
  let place: Place = { x: 0, y: 0, tallest: 0 };
  return dashboard.panels.map((panel, index) => {
    place = placeAfter(place, panel);
    const builder = drawn(panel)
      .id(index + 1)
      .title(panel.title)
      .description(panel.description)
      .datasource(DATASOURCE)
      .withTarget(query('A', panel.sql, panel.kind))
      .gridPos({ x: place.x, y: place.y, w: panel.width, h: panel.height });
    if (panel.kind !== 'logs') (builder as Stat).unit(panel.unit ?? DEFAULT_UNITS[panel.kind]);
    place = { ...place, x: place.x + panel.width };
    return builder as Builder<GrafanaPanel>;
  });
}

/** One dashboard as Grafana's provisioning reads it. */
export function grafanaDashboard(dashboard: Dashboard): GrafanaDashboard {
  const builder = new DashboardBuilder(dashboard.title)
    .uid(dashboard.uid)
    .description(dashboard.description)
    .tags([TAG])
    .timezone('utc')
    .time({ from: 'now-24h', to: 'now' })
    .tooltip(DashboardCursorSync.Crosshair)
    .readonly();
  for (const { name, label, sql, multiple } of dashboard.variables) {
    const variable = new QueryVariableBuilder(name)
      .label(label)
      .datasource(DATASOURCE)
      .query(sql)
      .refresh(VariableRefresh.OnTimeRangeChanged)
      .sort(VariableSort.Disabled)
      .allowCustomValue(false)
      .multi(multiple);
    if (multiple)
      variable
        .includeAll(true)
        .allValue(ALL_VALUE)
        .current({ selected: true, text: ['All'], value: ['$__all'] });
    builder.withVariable(variable);
  }
  for (const { name, color, sql } of dashboard.marks)
    builder.annotation(
      new AnnotationQueryBuilder()
        .name(name)
        .datasource(DATASOURCE)
        .enable(true)
        .iconColor(color)
        .target(query('Marks', sql, 'table')),
    );
  for (const panel of panels(dashboard)) builder.withPanel(panel);
  // As JSON has it: builders leave undefined values and a mark of their own.
  return JSON.parse(JSON.stringify(builder.build()));
}
