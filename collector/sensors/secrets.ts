/**
 * Where secrets lie that an agent has little reason to read: keys, cloud credentials, tokens, the
 * agents' own logins. Reads of them are `file` events with op `read`.
 */
import fs from 'node:fs';
import path from 'node:path';

/** Below the home directory; of a directory, the files in it. */
const OF_HOME = [
  '.ssh',
  '.aws',
  '.azure',
  '.config/gcloud',
  '.config/gh',
  '.kube',
  '.docker/config.json',
  '.gnupg',
  '.gnupg/private-keys-v1.d',
  '.netrc',
  '.npmrc',
  '.pypirc',
  '.git-credentials',
  '.codex/auth.json',
  '.claude/.credentials.json',
  '.gemini/oauth_creds.json',
  '.local/share/opencode/auth.json',
];
const OF_MACHINE = ['/etc/shadow', '/etc/gshadow'];
/** In the working directory: `.env` and its kin, with values in them; not the example. */
const ENV_FILE = /^\.env(\.(?!example$|sample$|template$).*)?$/;

/** The paths that are there now; `more` are the user's own. */
export function secretPaths(home: string, cwd: string, more: readonly string[] = []): string[] {
  const named = [...OF_HOME.map((name) => path.join(home, name)), ...OF_MACHINE];
  const own = more.map((name) => path.resolve(cwd, name));
  return [...new Set([...named, ...envFiles(cwd), ...own])].filter((name) => fs.existsSync(name));
}

function envFiles(cwd: string): string[] {
  try {
    return fs
      .readdirSync(cwd)
      .filter((name) => ENV_FILE.test(name))
      .map((name) => path.join(cwd, name));
  } catch {
    return [];
  }
}
