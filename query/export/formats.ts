/** The formats that a timeline is exported in, and the bytes of each, in pieces. */
import { canonical, REGISTRY, type TelltaleEvent } from '#schemas';
import type { FlatEvent } from '../timeline/view.ts';
import { withhold } from '../withhold.ts';
import { csvHeader, csvLine } from './csv.ts';
import { ocsfOf } from './ocsf.ts';
import { parquetOf } from './parquet.ts';

type Pages = AsyncIterable<readonly FlatEvent[]>;

export interface Format {
  readonly mediaType: string;
  readonly extension: string;
  readonly bytes: (pages: Pages) => AsyncIterable<Uint8Array>;
}

/** One line a text, a piece a page. */
const lines = (line: (event: FlatEvent) => string, header = '') =>
  async function* (pages: Pages): AsyncGenerator<Uint8Array> {
    if (header !== '') yield Buffer.from(header);
    for await (const events of pages) yield Buffer.from(events.map(line).join(''));
  };

/** The canonical form; of a kind that this version does not know, its envelope. */
const canonicalLine = (event: FlatEvent): string => {
  const known = REGISTRY.has(event.kind);
  return `${known ? canonical(event as unknown as TelltaleEvent) : JSON.stringify(event)}\n`;
};

export const FORMATS = {
  ndjson: {
    mediaType: 'application/x-ndjson; charset=utf-8',
    extension: 'ndjson',
    bytes: lines(canonicalLine),
  },
  csv: {
    mediaType: 'text/csv; charset=utf-8; header=present',
    extension: 'csv',
    bytes: lines(csvLine, csvHeader()),
  },
  parquet: {
    mediaType: 'application/vnd.apache.parquet',
    extension: 'parquet',
    bytes: parquetOf,
  },
  ocsf: {
    mediaType: 'application/x-ndjson; charset=utf-8',
    extension: 'ocsf.ndjson',
    bytes: lines((event) => `${JSON.stringify(ocsfOf(event))}\n`),
  },
} as const satisfies Readonly<Record<string, Format>>;

export type FormatName = keyof typeof FORMATS;

/** The events with commitments in place of their content. */
export async function* withheld(pages: Pages): AsyncGenerator<readonly FlatEvent[]> {
  for await (const events of pages)
    yield events.map((event) =>
      REGISTRY.has(event.kind)
        ? (withhold(event as unknown as TelltaleEvent).event as unknown as FlatEvent)
        : event,
    );
}
