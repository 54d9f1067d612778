/** The command line's own right to ask: a token out of the environment, or of this machine's service. */
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

/** What to do about a 401, for a person. */
export const NO_TOKEN =
  'set TELLTALE_TOKEN to a token: the one that "telltale up" prints, or one of "telltale token create"';
