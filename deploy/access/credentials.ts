/** The command line's own right to ask: a token out of the environment, or of this machine's service. */
import path from 'node:path';
import { dataDir } from '../settings.ts';
import { localTokenFor } from './local.ts';

/** Names for this machine: a service on it is known by any. */
const LOOPBACK = ['127.0.0.1', 'localhost', '[::1]'];

/** Headers for a request to `base`. The local token is never sent to another machine. */
export function authorizationFor(base: URL): Readonly<Record<string, string>> {
  const given = process.env.TELLTALE_TOKEN;
  if (given !== undefined && given !== '') return { authorization: `Bearer ${given}` };
  if (!LOOPBACK.includes(base.hostname)) return {};
  const port = base.port === '' ? '' : `:${base.port}`;
  const token = localTokenFor(dataDir(), new URL(`${base.protocol}//127.0.0.1${port}`));
  return token === undefined ? {} : { authorization: `Bearer ${token}` };
}

/** A token as a service prints it, with what commands on this machine need to find it. */
export function tokenLine(token: string, data: string): string {
  const there = path.resolve(data) === path.resolve(dataDir());
  const how = there ? 'commands here find it' : `commands here find it with TELLTALE_DATA=${data}`;
  return `token: ${token}  (while this runs; ${how})\n`;
}

/** What to do about a 401, for a person. */
export const NO_TOKEN =
  'set TELLTALE_TOKEN to a token: the one that "telltale up" prints, or one of "telltale token create"';
