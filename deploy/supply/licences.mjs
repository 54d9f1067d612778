// Under which licences the packages of the lock file may come. What is shipped may ask for its text to
// be kept and for nothing more; what only builds and tests may also be under the MPL, which is not passed on.
import fs from 'node:fs';

const SHIPPED = new Set(['MIT', 'Apache-2.0', 'ISC', 'BSD-2-Clause', 'BSD-3-Clause', '0BSD']);
const DEVELOPMENT = new Set([...SHIPPED, 'MPL-2.0', 'CC0-1.0', 'BlueOak-1.0.0']);

/** Packages that name their licence in a way that npm does not take into the lock file. */
const READ_BY_HAND = new Map([
  // `licenses` of its package.json, and the text beside it.
  ['node_modules/read-tls-client-hello', 'Apache-2.0'],
]);

/** An SPDX expression of words, OR, AND and parentheses: one of an OR is enough, of an AND all are needed. */
export function isAllowed(expression, allowed) {
  const text = expression.replace(/[()]/g, ' ').trim();
  return text
    .split(/\s+OR\s+/)
    .some((any) => any.split(/\s+AND\s+/).every((word) => allowed.has(word.trim())));
}

/** What a lock file holds that may not be used: a line each, empty when all is well. */
export function licenceFaults(lock) {
  return Object.entries(lock.packages)
    .filter(([where]) => where !== '')
    .flatMap(([where, { license = READ_BY_HAND.get(where) ?? 'none', dev = false }]) => {
      const allowed = dev ? DEVELOPMENT : SHIPPED;
      return isAllowed(license, allowed) ? [] : [`${where}: ${license}`];
    });
}

/** The lock file, parsed. */
export const readLock = (file) => JSON.parse(fs.readFileSync(file, 'utf8'));
