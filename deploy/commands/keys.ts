import fs from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { SIGNATURE_COSIGNATURE_V1, SIGNATURE_ED25519, type SignatureType } from '#schemas';
import { openLogFiles } from '../../ingest/seal/files.ts';
import { openKeys, retireKeys, rotateKey } from '../../ingest/seal/key.ts';
import { systemRandom } from '../process/clock.ts';
import { UsageError } from '../process/lifecycle.ts';
import { lockDir } from '../process/lock.ts';
import { rotateRedactionKey } from '../redaction.ts';
import { dataDir, spoolDir } from '../settings.ts';
import { LOG_KEY_FILE } from './seal.ts';
import { WITNESS_KEY_FILE } from './witness.ts';

interface Kind {
  readonly file: string;
  readonly type: SignatureType;
  /** What verifiers and others must be told of the new key. */
  readonly next: string;
}

const KINDS: Readonly<Record<string, Kind>> = {
  log: {
    file: LOG_KEY_FILE,
    type: SIGNATURE_ED25519,
    next: 'The log signs with both keys from its next start. Give verifiers --log-key with the new key beside the old, and witnesses --log; bundles of before need the old one for ever. Then: telltale keys retire log',
  },
  witness: {
    file: WITNESS_KEY_FILE,
    type: SIGNATURE_COSIGNATURE_V1,
    next: 'The witness cosigns with both keys from its next start. Give logs and verifiers --witness with the new key. Then: telltale keys retire witness',
  },
};

/** The keys of a directory, newest first; none is made. */
async function keysIn(dir: string, { file, type }: Kind) {
  const files = await openLogFiles(dir);
  if ((await files.read(file)) === undefined) return [];
  return openKeys(files, systemRandom, { file, type, name: undefined, nameOfNew: '' });
}

async function list(dirs: readonly string[], spool: string): Promise<void> {
  for (const [name, kind] of Object.entries(KINDS))
    for (const dir of dirs) {
      if (!fs.existsSync(path.join(dir, kind.file))) continue;
      const keys = await keysIn(dir, kind);
      for (const [at, { verifier }] of keys.entries())
        process.stdout.write(
          `${name}  ${at === 0 ? 'current ' : 'previous'}  ${verifier.text}  ${path.join(dir, kind.file)}\n`,
        );
    }
  const redaction = path.join(spool, 'redaction.key');
  if (fs.existsSync(redaction))
    process.stdout.write(
      `redaction  current  made ${fs.statSync(redaction).mtime.toISOString().slice(0, 10)}  ${redaction}\n`,
    );
}

async function change(verb: string, name: string, dir: string): Promise<void> {
  const kind = KINDS[name] as Kind;
  if (!fs.existsSync(path.join(dir, kind.file)))
    throw new UsageError(
      `${path.join(dir, kind.file)}: there is no such key; say where, with --dir`,
    );
  const unlock = lockDir(dir);
  try {
    const files = await openLogFiles(dir);
    if (verb === 'rotate') {
      const key = await rotateKey(files, systemRandom, kind);
      process.stdout.write(`new ${name} key: ${key.verifier.text}\n${kind.next}\n`);
      return;
    }
    const count = await retireKeys(files, kind);
    process.stdout.write(`${count} previous ${name} keys sign no more\n`);
  } finally {
    unlock();
  }
}

/** `telltale keys list|rotate|retire`: the keys of this installation; what has them open must be stopped. */
export async function keys(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { dir: { type: 'string' }, data: { type: 'string' }, spool: { type: 'string' } },
  });
  const [verb = '', name = '', ...rest] = positionals;
  const dir = path.resolve(values.dir ?? path.join(values.data ?? dataDir(), 'tlog'));
  const spool = path.resolve(values.spool ?? spoolDir());
  if (rest.length > 0) throw new UsageError('too many words');
  if (verb === 'list' && name === '') await list([dir], spool);
  else if (verb === 'rotate' && name === 'redaction') {
    const kept = rotateRedactionKey(spool);
    process.stdout.write(
      `a new redaction key is made by the next run; the old one is kept as ${kept}. Marks of before and after do not join: equal secrets have other marks from now on.\n`,
    );
  } else if ((verb === 'rotate' || verb === 'retire') && Object.hasOwn(KINDS, name))
    await change(verb, name, dir);
  else throw new UsageError('list, rotate log|witness|redaction, or retire log|witness');
  return 0;
}
