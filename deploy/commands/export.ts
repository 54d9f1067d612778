import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { stageSession } from '../evidence/stage.ts';
import { writeBundle } from '../evidence/tar.ts';
import { TOOL } from '../evidence/tool.ts';
import { UsageError } from '../process/lifecycle.ts';
import { destination } from '../settings.ts';
import { exportEvents, NARROWING } from './export-events.ts';

/** The server that `--to` names. */
export function serverOf(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol))
    throw new UsageError(`--to ${text}: give the URL of a server, such as http://127.0.0.1:4560`);
  return url;
}

/** A directory for the parts of a bundle, on the disk where the bundle will lie. */
export async function withStageDir<T>(near: string, use: (dir: string) => Promise<T>): Promise<T> {
  const dir = fs.mkdtempSync(path.join(near, '.telltale-export-'));
  try {
    return await use(dir);
  } finally {
    fs.rmSync(dir, { recursive: true, force: true });
  }
}

const NARROWING_FLAGS = Object.fromEntries(
  Object.keys(NARROWING).map((flag) => [flag, { type: 'string', multiple: true } as const]),
);

/** `telltale export`: one session as one evidence bundle, or its timeline in another format. */
export async function exportSession(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      to: { type: 'string' },
      output: { type: 'string', short: 'o' },
      content: { type: 'string', default: 'full' },
      reason: { type: 'string', default: '' },
      by: { type: 'string' },
      format: { type: 'string', default: 'bundle' },
      ...NARROWING_FLAGS,
    },
  });
  const [session, ...rest] = positionals;
  if (session === undefined || rest.length > 0)
    throw new UsageError('say which session, by its id or "latest"');
  const { content } = values;
  if (content !== 'full' && content !== 'none')
    throw new UsageError(`--content ${content}: full or none`);
  const base = serverOf(values.to ?? destination());
  const narrowing = Object.fromEntries(
    Object.keys(NARROWING).flatMap((flag) => {
      const given = (values as Record<string, unknown>)[flag];
      return given === undefined ? [] : [[flag, given as string[]]];
    }),
  );
  const { format, output } = values;
  if (format !== 'bundle') {
    await exportEvents({ base, session, format, content, output, narrowing });
    return 0;
  }
  if (Object.keys(narrowing).length > 0)
    throw new UsageError('a bundle is whole: say --format to narrow what is exported');
  const near = path.dirname(path.resolve(values.output ?? '.bundle'));
  await withStageDir(near, async (dir) => {
    const by = {
      at_ms: Date.now(),
      by: values.by ?? `${os.userInfo().username}@${os.hostname()}`,
      reason: values.reason,
    };
    const staged = await stageSession({ base, session, content, tool: TOOL, by, dir });
    const to = values.output ?? `telltale-${staged.session_id}.tar`;
    const sha256 = await writeBundle(staged.files, to).finally(staged.files.close);
    process.stdout.write(`${to}: ${staged.events} events, SHA-256 ${sha256}\n`);
    if (staged.log === undefined)
      process.stderr.write('telltale: the server has no transparency log: no proofs are in it\n');
    else if (!staged.sealed)
      process.stderr.write('telltale: the log does not vouch for all of the session yet\n');
    if (staged.unknown > 0)
      process.stderr.write(
        `telltale: ${staged.unknown} events are of kinds that this version does not know\n`,
      );
  });
  return 0;
}
