/**
 * A restore makes the database itself, with a comment that says so, before it puts anything there. What it
 * takes away again when it fails is a database with its own comment: never one that somebody else made.
 */
import { DATABASE, type QueryLimits, type Store } from '#schemas';
import type { Layout } from '../clickhouse/layout.ts';
import { literal } from '../stores/literal.ts';
import { BackupError } from './manifest.ts';

const LIMITS: QueryLimits = { timeMs: 30_000, memoryBytesMax: 64 * 1024 ** 2, rowsMax: 10_000 };
/** What the comment of a database begins with while a restore fills it. */
export const CLAIM = 'telltale restore ';

export interface Claim {
  /** Ours for good. */
  keep(): Promise<void>;
  /** Takes the database away, if it is the one that was claimed; says whether it was. */
  drop(): Promise<boolean>;
}

/** The comments of our database, one for each server that has it. */
async function commentsOf(store: Store, at: Layout): Promise<string[]> {
  const text = `SELECT comment FROM ${at.system('databases')} WHERE name = {database:String}`;
  const rows = await store.query({ text, params: { database: DATABASE } }, LIMITS);
  return rows.map(({ comment }) => String(comment));
}

/** Makes the database for one restore. Rejects with `BackupError` where there is one already. */
export async function claimDatabase(store: Store, at: Layout, id: string): Promise<Claim> {
  const mark = `${CLAIM}${id}`;
  const taken = () =>
    new BackupError(
      `the store has a database ${DATABASE} already: nothing is overwritten; restore into a server without one`,
    );
  if ((await commentsOf(store, at)).length > 0) throw taken();
  const create = `CREATE DATABASE ${DATABASE}${at.everywhere} ENGINE = Atomic COMMENT ${literal('String', mark)}`;
  const drop = async () => {
    const comments = await commentsOf(store, at);
    if (comments.some((comment) => comment !== mark)) return false;
    await store.command(`DROP DATABASE IF EXISTS ${DATABASE}${at.everywhere} SYNC`);
    return true;
  };
  await store.command(create).catch(async (error) => {
    // Between the look and now somebody made it; on a cluster some servers may have ours all the same.
    throw (await drop()) ? error : taken();
  });
  return {
    keep: () => store.command(`ALTER DATABASE ${DATABASE}${at.everywhere} MODIFY COMMENT ''`),
    drop,
  };
}
