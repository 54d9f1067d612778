/** What redaction needs from this machine: the installation's key, and the flag's meaning. */
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
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

/** The meaning of `--content`. */
export function contentPolicyOf(text: string): ContentPolicy {
  const policy = CONTENT_POLICIES.find((one) => one === text);
  if (policy !== undefined) return policy;
  throw new UsageError(`--content ${text}: one of ${CONTENT_POLICIES.join(', ')}`);
}
