/**
 * What a dashboard is made of, as plain data: the one description from which Grafana's JSON, the
 * contract tests and the shapes that the embedded endpoint accepts are all made.
 */

/** How the data source frames an answer (its `format`): 0 time series, 1 table, 2 logs. */
export type Frame = 'timeseries' | 'table' | 'logs';

export type PanelKind = 'timeseries' | 'stat' | 'table' | 'barchart' | 'logs';

/** Where the values of a column lead, as a path below Grafana’s root; `ID` is the value itself. */
export interface ColumnLink {
  readonly column: string;
  readonly title: string;
  readonly dashboard: string;
  readonly variable: string;
}

export interface Panel {
  readonly title: string;
  /** One sentence: what it tells, and what to make of it. */
  readonly description: string;
  readonly kind: PanelKind;
  /** With the data source’s macros and our variables; sorted by time where it is a time series. */
  readonly sql: string;
  /** What it answers: column -> ClickHouse type, in order. */
  readonly columns: Readonly<Record<string, string>>;
  /** Grafana’s unit id, for numbers. */
  readonly unit?: string;
  /** Of 24. */
  readonly width: number;
  /** In grid units of 30 pixels. */
  readonly height: number;
  /** Stat panels: from this value on the number is red. */
  readonly alarmFrom?: number;
  /** Over time: counts, so that none is none; else measurements, so that none is a hole. */
  readonly stacked?: boolean;
  readonly links?: readonly ColumnLink[];
}

/** A drop-down. Its query answers (value, text) when values are telemetry, or the value alone. */
export interface Variable {
  readonly name: string;
  readonly label: string;
  readonly sql: string;
  /** Several may be picked, and all; one alone otherwise. */
  readonly multiple: boolean;
}

/** Marks on the time axis of all panels: columns time, text, tags. */
export interface Marks {
  readonly name: string;
  readonly color: string;
  readonly sql: string;
}

export interface Dashboard {
  readonly uid: string;
  readonly title: string;
  readonly description: string;
  readonly variables: readonly Variable[];
  readonly marks: readonly Marks[];
  readonly panels: readonly Panel[];
}

/** The frame that a panel of this kind is drawn from. */
export function frameOf(kind: PanelKind): Frame {
  if (kind === 'timeseries') return 'timeseries';
  return kind === 'logs' ? 'logs' : 'table';
}
