/** `telltale export --format …`: the timeline of a session as a file, written as it comes. */
import fs from 'node:fs';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { authorizationFor, NO_TOKEN } from '../access/credentials.ts';
import { UsageError } from '../process/lifecycle.ts';

/** Formats of the server's route, with how their files end. */
const EXTENSIONS: Readonly<Record<string, string>> = {
  ndjson: 'ndjson',
  csv: 'csv',
  parquet: 'parquet',
  ocsf: 'ocsf.ndjson',
};

/** Flags that narrow the timeline, each with the parameter that it becomes. */
export const NARROWING = {
  kind: 'kinds',
  turn: 'turnId',
  call: 'toolCallId',
  stream: 'streamId',
  process: 'processOf',
  pid: 'pid',
  text: 'text',
  path: 'path',
  host: 'host',
  verdict: 'verdicts',
  assurance: 'assurances',
  since: 'from',
  until: 'before',
} as const;
type Flag = keyof typeof NARROWING;

export interface EventExport {
  readonly base: URL;
  readonly session: string;
  readonly format: string;
  readonly content: 'full' | 'none';
  /** Where to; `-` is standard output. */
  readonly output: string | undefined;
  readonly narrowing: Readonly<Partial<Record<Flag, readonly string[]>>>;
}

const DETAIL_CHARACTERS_MAX = 500;

async function open({ base, session, format, content, narrowing }: EventExport) {
  const url = new URL(`/v1/sessions/${encodeURIComponent(session)}/events`, base);
  url.searchParams.set('format', format);
  url.searchParams.set('content', content);
  for (const [flag, values] of Object.entries(narrowing))
    if (values.length > 0) url.searchParams.set(NARROWING[flag as Flag], values.join(','));
  const response = await fetch(url, {
    redirect: 'error',
    headers: authorizationFor(base),
  }).catch((error: Error) => {
    throw new Error(`no telltale answers at ${base.origin}: say --to URL`, { cause: error.cause });
  });
  if (response.status === 200 && response.body !== null) return response;
  const text = (await response.text()).slice(0, DETAIL_CHARACTERS_MAX).toWellFormed();
  if (response.status === 401) throw new Error(`${base.origin} does not know you: ${NO_TOKEN}`);
  if (response.status === 404)
    throw new Error(`there is no session ${JSON.stringify(session)} at ${base.origin}`);
  if (response.status === 400) throw new UsageError(`the server says: ${JSON.stringify(text)}`);
  throw new Error(`${base.origin} answers ${response.status}: ${JSON.stringify(text)}`);
}

/** The name of the file: the session's id is in the answer, since `latest` has none. */
function nameOf(response: Response, format: string): string {
  const disposition = response.headers.get('content-disposition') ?? '';
  const id = /telltale-([0-9a-f-]{36})\./.exec(disposition)?.[1] ?? 'session';
  return `telltale-${id}.${EXTENSIONS[format]}`;
}

/**
 * Writes the file and gives its name and size. A file that broke off does not get its name: what came
 * of it is removed.
 */
export async function exportEvents(options: EventExport): Promise<void> {
  if (!Object.hasOwn(EXTENSIONS, options.format))
    throw new UsageError(
      `--format ${options.format}: bundle, ${Object.keys(EXTENSIONS).join(', ')}`,
    );
  const response = await open(options);
  const body = Readable.fromWeb(response.body as never);
  if (options.output === '-') {
    for await (const piece of body)
      if (!process.stdout.write(piece))
        await new Promise((resolve) => process.stdout.once('drain', resolve));
    return;
  }
  const to = options.output ?? nameOf(response, options.format);
  const part = `${to}.part`;
  let bytes = 0;
  const counting = new Transform({
    transform(piece: Buffer, _encoding, done) {
      bytes += piece.length;
      done(null, piece);
    },
  });
  try {
    await pipeline(body, counting, fs.createWriteStream(part, { mode: 0o600 }));
  } catch (error) {
    fs.rmSync(part, { force: true });
    throw new Error('the export broke off: nothing was kept of it', { cause: error });
  }
  fs.renameSync(part, to);
  process.stdout.write(`${to}: ${bytes} bytes\n`);
}
