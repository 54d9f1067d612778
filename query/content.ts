/**
 * Content (prompts, arguments, outputs) of events: read in batches and only when it is asked for,
 * so that a page of a timeline never reads the wide columns.
 */
import { type QueryLimits, REGISTRY, type Row } from '#schemas';
import { QueryError } from './errors.ts';
import { CONTENT } from './plan.ts';
import { idOf } from './render.ts';
import { PAGE_LIMITS, type Runner } from './run.ts';
import type { FlatEvent } from './timeline/view.ts';
import { contentPlan } from './timeline-plan.ts';

/** The longest line that `summary` gives. */
export const SUMMARY_CHARACTERS_MAX = 400;
/** The most characters of one content field that are read for one page. */
export const CONTENT_CHARACTERS_MAX = 64 * 1024 ** 2;
const CONTENT_LIMITS: QueryLimits = { ...PAGE_LIMITS, timeMs: 10_000 };

const whole = new WeakSet<object>();
/** Notes that an event was read with its content: a content field that it lacks is absent. */
export const markWhole = (event: object): void => void whole.add(event);

const fieldOf = (event: FlatEvent, name: string): unknown =>
  (event as unknown as Readonly<Record<string, unknown>>)[name];

const contentOf = (event: FlatEvent): readonly string[] =>
  REGISTRY.get(event.kind)?.own.filter((name) => CONTENT.includes(name)) ?? [];

function bySession(events: readonly FlatEvent[]): FlatEvent[][] {
  const out = new Map<string, FlatEvent[]>();
  for (const event of events) {
    const list = out.get(event.session_id);
    if (list === undefined) out.set(event.session_id, [event]);
    else list.push(event);
  }
  return [...out.values()];
}

async function read(
  run: Runner,
  events: readonly FlatEvent[],
  names: readonly string[],
  charactersMax?: number,
): Promise<Map<string, Row>> {
  const found = new Map<string, Row>();
  let characters = 0;
  for (const group of bySession(events)) {
    const times = group.map(({ ts }) => ts).sort();
    const keys = {
      session: (group[0] as FlatEvent).session_id,
      from: times[0] as string,
      to: times.at(-1) as string,
      streams: [...new Set(group.map(({ stream_id }) => stream_id))],
      seqs: [...new Set(group.map(({ seq }) => seq))],
    };
    const plan = contentPlan(run.tenant, keys, names, charactersMax);
    for await (const rows of run.stream<Row>(plan, CONTENT_LIMITS))
      for (const row of rows) {
        for (const name of names) characters += String(row[name] ?? '').length;
        if (characters > CONTENT_CHARACTERS_MAX)
          throw new QueryError(
            'REQUEST_TOO_LARGE',
            `the content asked for has more than ${CONTENT_CHARACTERS_MAX} characters: ask for fewer events`,
          );
        found.set(`${String(row.stream)}-${String(row.seq)}`, row);
      }
  }
  return found;
}

const known = (event: FlatEvent, name: string): boolean =>
  whole.has(event) || fieldOf(event, name) !== undefined;

/** One content field of each event, in order; null where it has none. */
export async function loadContent(
  run: Runner,
  events: readonly FlatEvent[],
  name: string,
): Promise<(string | null)[]> {
  const missing = events.filter((event) => !known(event, name));
  const rows = missing.length === 0 ? new Map() : await read(run, missing, [name]);
  return events.map((event) => {
    const value = fieldOf(event, name) ?? rows.get(idOf(event))?.[name];
    return value === undefined || value === '' ? null : String(value);
  });
}

function summaryOf(event: FlatEvent, row: Row | undefined): string {
  const spec = REGISTRY.get(event.kind);
  if (spec === undefined) return event.kind;
  const cut = CONTENT.map((name) => [name, row?.[`cut_${name}`]] as const);
  const read = cut.filter(([, value]) => value !== undefined && value !== '');
  return spec
    .summary({ ...Object.fromEntries(read), ...event })
    .slice(0, SUMMARY_CHARACTERS_MAX)
    .toWellFormed();
}

/** One line for each event, in order; content in it is cut in the store already. */
export async function loadSummaries(run: Runner, events: readonly FlatEvent[]): Promise<string[]> {
  const missing = events.filter((event) => contentOf(event).some((name) => !known(event, name)));
  const names = CONTENT.filter((name) => missing.some((event) => contentOf(event).includes(name)));
  const rows =
    missing.length === 0 ? new Map() : await read(run, missing, names, SUMMARY_CHARACTERS_MAX);
  return events.map((event) => summaryOf(event, rows.get(idOf(event))));
}
