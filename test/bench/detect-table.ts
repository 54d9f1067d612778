/** The figures of `bench:detect` as a table: what was wanted, what was measured, whether it is met. */
import type { Agreed, linuxRules } from './detect-conformance.ts';
import type { measureLatency } from './detect-latency.ts';
import type { measureState } from './detect-state.ts';

type Measured<F extends (...args: never[]) => unknown> = Awaited<ReturnType<F>>;

interface Cost {
  readonly rules: number;
  readonly micros_an_event: number;
}

export interface Figures {
  readonly sigma: Readonly<Record<string, Agreed | undefined>>;
  readonly correlations: Agreed;
  readonly eql: Agreed;
  readonly linux: Measured<typeof linuxRules>;
  readonly shipped: Cost;
  readonly all: Cost;
  readonly state: readonly (Measured<typeof measureState> & { readonly approvals?: boolean })[];
  readonly latency: readonly Measured<typeof measureLatency>[];
  readonly baseline: { readonly auc: number } | undefined;
}

type Row = readonly [figure: string, wanted: string, measured: string, verdict: string];

const CPU_MICROS_MAX = 50;
const STATE_MB_MAX = 256;
const ALERT_MS_MAX = 2_000;
const AUC_MIN = 0.83;

const verdict = (met: boolean): string => (met ? 'met' : 'MISSED');
const SKIPPED = 'SKIPPED';
/** Rows of what was left out: without them a table would look whole. */
const skipped = (figure: string, wanted: string, why: string): Row => [
  figure,
  wanted,
  why,
  SKIPPED,
];

const agreedRow = (figure: string, one: Agreed | undefined): Row =>
  one === undefined
    ? skipped(figure, 'all', 'there is no ../shared/detection')
    : [figure, 'all', `${one.agreed} of ${one.of}`, verdict(one.agreed === one.of)];

function linuxRows({ linux }: Figures): readonly Row[] {
  if (linux === undefined)
    return [skipped('Linux rules of SigmaHQ', 'all 255', 'there is no ../shared/detection')];
  const whole = linux.compiled + linux.refused.length === linux.files;
  const counts = `${linux.compiled} compile, ${linux.refused.length} refused of ${linux.files}`;
  return [
    ['Linux rules of SigmaHQ', 'parsed or refused', counts, verdict(whole)],
    ...linux.refused.map((why): Row => ['  refused', '', why, '']),
  ];
}

const costRow = (figure: string, { rules, micros_an_event }: Cost): Row => [
  `${figure} (${rules} rules), CPU an event`,
  `<= ${CPU_MICROS_MAX} us`,
  `${micros_an_event} us`,
  verdict(micros_an_event <= CPU_MICROS_MAX),
];

const stateRows = ({ state }: Figures): readonly Row[] =>
  state.length === 0
    ? [skipped('state of live sessions', `<= ${STATE_MB_MAX} MB`, '--live 0')]
    : state.map(({ sessions, state_mb, micros_an_event, evicted, approvals }) => [
        `state at ${sessions} sessions${approvals ? ', each call approved' : ''}`,
        `<= ${STATE_MB_MAX} MB`,
        `${state_mb} MB, ${evicted} let go, ${micros_an_event} us an event`,
        verdict(state_mb <= STATE_MB_MAX),
      ]);

const latencyRows = ({ latency }: Figures): readonly Row[] =>
  latency.length === 0
    ? [skipped('event to alert, p99', `<= ${ALERT_MS_MAX} ms`, '--rates 0')]
    : latency.map(({ rate, alerts }) => [
        `event to alert at ${rate} events/s, p99`,
        `<= ${ALERT_MS_MAX} ms`,
        `${alerts.all.p99Ms} ms with the start, ${alerts.steady.p99Ms} ms steady`,
        verdict(alerts.all.p99Ms <= ALERT_MS_MAX),
      ]);

function baselineRow({ baseline }: Figures): Row {
  const figure = 'learned baseline on ADFA-LD, AUC';
  if (baseline === undefined)
    return skipped(figure, `>= ${AUC_MIN}`, 'no data: --adfa DIR says where it is');
  return [figure, `>= ${AUC_MIN}`, String(baseline.auc), verdict(baseline.auc >= AUC_MIN)];
}

/** The table, a line a figure, columns aligned. */
export function table(figures: Figures): string {
  const rows: readonly Row[] = [
    ['figure', 'wanted', 'measured', ''],
    agreedRow('Sigma, pairs by fields', figures.sigma.fields),
    agreedRow('Sigma, pairs by keywords and records', figures.sigma.keywords),
    agreedRow('Sigma, pairs of the full set', figures.sigma.full),
    agreedRow('Sigma, correlation cases', figures.correlations),
    agreedRow('EQL cases', figures.eql),
    ...linuxRows(figures),
    costRow('those that ship', figures.shipped),
    costRow('all languages', figures.all),
    ...stateRows(figures),
    ...latencyRows(figures),
    skipped(
      'backtest of the default rules, 20 M events',
      '<= 60 s',
      'needs a store: detect-hunt.ts',
    ),
    baselineRow(figures),
  ];
  const widths = [0, 1, 2].map((at) => Math.max(...rows.map((row) => (row[at] as string).length)));
  const cut = Math.min(widths[2] as number, 72);
  return rows
    .map(([figure, wanted, measured, last]) =>
      [
        figure.padEnd(widths[0] as number),
        wanted.padEnd(widths[1] as number),
        measured.padEnd(cut),
        last,
      ]
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
