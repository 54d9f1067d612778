/**
 * opencode's database, whose table `event` is an append-only log. It is read with Node's own SQLite
 * where Node has one (from 22.5 on); a reader for older ones would be a large dependency for what
 * `opencode export` gives as well.
 */
import { createRequire } from 'node:module';
import { isObject, uintOf } from '../../collector/agents/draft.ts';
import { ImportError } from '../../collector/agents/import/native.ts';
import { EVENT_TYPES } from '../../collector/agents/opencode/plugin.ts';

interface Database {
  prepare(sql: string): { iterate(): Iterable<Record<string, unknown>> };
  close(): void;
}
type Open = new (file: string, options: { readOnly: boolean }) => Database;

const NO_SQLITE =
  'is a database, and this Node has no SQLite (22.5 or newer has): ' +
  'run "opencode export SESSION > session.json" and import that';

/** In the order in which they were written: sessions of sub-agents lie between their parent’s. */
const EVENTS = 'SELECT type, data FROM event ORDER BY rowid';
const KNOWN: ReadonlySet<string> = new Set(EVENT_TYPES);

function openDatabase(file: string): Database {
  let opened: { DatabaseSync: Open };
  try {
    opened = createRequire(import.meta.url)('node:sqlite');
  } catch {
    throw new ImportError(`${JSON.stringify(file)} ${NO_SQLITE}`);
  }
  return new opened.DatabaseSync(file, { readOnly: true });
}

/** When an event of the log was: its own time, or that of what it tells of. */
function timeOf(data: Readonly<Record<string, unknown>>): number | undefined {
  const info = isObject(data.info) && isObject(data.info.time) ? data.info.time : {};
  return uintOf(data.time) ?? uintOf(info.updated) ?? uintOf(info.created);
}

/** The events of the database, as the lines that our plugin would have written. */
export async function opencodeLines(file: string): Promise<readonly string[]> {
  const database = openDatabase(file);
  try {
    const lines: string[] = [];
    let at = 0;
    for (const { type, data } of database.prepare(EVENTS).iterate()) {
      const properties: unknown = JSON.parse(String(data));
      if (!isObject(properties)) continue;
      // Types carry the version of their shape: `message.updated.1`.
      const name = String(type).replace(/\.\d+$/, '');
      if (!KNOWN.has(name)) continue;
      // What has no time of its own was written after what stands before it.
      at = timeOf(properties) ?? at;
      lines.push(JSON.stringify({ at, event: { type: name, properties } }));
    }
    return lines;
  } catch (error) {
    if (error instanceof ImportError) throw error;
    throw new ImportError(
      `${JSON.stringify(file)} is no database of opencode: ${(error as Error).message}`,
    );
  } finally {
    database.close();
  }
}
