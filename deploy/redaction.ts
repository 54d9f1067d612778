/** What redaction needs from this machine: the installation's key, and the flag's meaning. */
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { parse } from 'yaml';
import { ALL_FIELDS, compileRegex } from '#schemas';
import type { Configured } from '../collector/redact/configured.ts';
import { CONTENT_POLICIES, type ContentPolicy } from '../collector/redact.ts';
import { UsageError } from './process/lifecycle.ts';

export type { ContentPolicy };

const KEY_BYTES = 32;

/**
 * The key of this installation's marks, from `redaction.key` in the spool's directory; made once,
 * readable by its owner only. It never leaves: whoever has it can try guessed secrets on marks.
 */
export function redactionKey(spoolDir: string): Buffer {
  const file = path.join(spoolDir, 'redaction.key');
  fs.mkdirSync(spoolDir, { recursive: true, mode: 0o700 });
  if (!fs.existsSync(file)) {
    // Written beside and linked into place, so that two runs that begin at once agree on one key.
    const draft = `${file}.${process.pid}.${randomBytes(4).toString('hex')}`;
    fs.writeFileSync(draft, randomBytes(KEY_BYTES), { mode: 0o600, flag: 'wx' });
    try {
      fs.linkSync(draft, file);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    } finally {
      fs.rmSync(draft);
    }
  }
  const key = fs.readFileSync(file);
  if (key.length === KEY_BYTES) return key;
  throw new UsageError(`${file} is not a key of ${KEY_BYTES} bytes: remove it to have a new one`);
}

/** Moves the key aside, so that the next run makes another; gives where the old one is kept. */
export function rotateRedactionKey(spoolDir: string): string {
  const file = path.join(spoolDir, 'redaction.key');
  if (!fs.existsSync(file)) throw new UsageError(`${file}: there is no such key yet`);
  const stamp = new Date().toISOString().replace(/\D/g, '').slice(0, 14);
  const kept = `${file}.${stamp}`;
  if (fs.existsSync(kept)) throw new UsageError(`${kept} is there already: try again`);
  fs.renameSync(file, kept);
  return kept;
}

/** The meaning of `--content`. */
export function contentPolicyOf(text: string): ContentPolicy {
  const policy = CONTENT_POLICIES.find((one) => one === text);
  if (policy !== undefined) return policy;
  throw new UsageError(`--content ${text}: one of ${CONTENT_POLICIES.join(', ')}`);
}

const ID = /^[a-z0-9-]{1,64}$/;
const texts = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((item) => typeof item === 'string' && item !== '');

/** What is wrong with the parts of a `--redact` file, in words. */
function faultsOf(parts: Record<string, unknown>): string[] {
  const { fields = [], paths = [], expressions = [], ...others } = parts;
  const faults = Object.keys(others).map(
    (name) => `${name}: not known; it has fields, paths and expressions`,
  );
  if (!texts(fields)) faults.push('fields: give a list of names');
  else
    for (const name of fields)
      if (!Object.hasOwn(ALL_FIELDS, name.split('.')[0] as string))
        faults.push(`fields: no field ${JSON.stringify(name)}; EVENTS.md has all`);
  if (!texts(paths)) faults.push('paths: give a list of paths such as "headers.*.value"');
  if (!Array.isArray(expressions)) return [...faults, 'expressions: give a list of {id, regex}'];
  for (const one of expressions as { id?: unknown; regex?: unknown }[]) {
    const regex = compileRegex(String(one?.regex ?? ''));
    if (typeof one?.id !== 'string' || !ID.test(one.id) || typeof one.regex !== 'string')
      faults.push('expressions: each has an id of a-z, 0-9 and "-", and a regex');
    else if (!regex.ok) faults.push(`expressions: ${one.id}: ${regex.reason}`);
  }
  return faults;
}

/** Reads a `--redact` file (YAML). Throws UsageError that names the file and all faults. */
export function configuredRedaction(file: string): Configured {
  let parts: unknown;
  try {
    parts = parse(fs.readFileSync(file, 'utf8')) ?? {};
  } catch (error) {
    throw new UsageError(`--redact ${file}: ${(error as Error).message}`);
  }
  if (typeof parts !== 'object' || parts === null || Array.isArray(parts))
    throw new UsageError(`--redact ${file}: give fields, paths and expressions`);
  const faults = faultsOf(parts as Record<string, unknown>);
  if (faults.length > 0) throw new UsageError(`--redact ${file}: ${faults.join('; ')}`);
  return { fields: [], paths: [], expressions: [], ...parts };
}
