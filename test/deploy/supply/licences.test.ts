import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { isAllowed, licenceFaults, readLock } from '../../../deploy/supply/licences.mjs';

const lock = readLock(path.resolve(import.meta.dirname, '../../../package-lock.json'));

describe('licences', () => {
  it('of all packages are allowed', () => {
    expect(Object.keys(lock.packages).length).toBeGreaterThan(200);
    expect(licenceFaults(lock)).toEqual([]);
  });

  it('that are not on the list are told, and more is allowed of tools than of what is shipped', () => {
    const packages = {
      '': { license: 'Apache-2.0' },
      'node_modules/a': { license: 'GPL-3.0-only' },
      'node_modules/b': { license: 'MPL-2.0' },
      'node_modules/c': { license: 'MPL-2.0', dev: true },
      'node_modules/d': { license: '(MIT OR GPL-3.0-only)' },
      'node_modules/e': {},
    };
    expect(licenceFaults({ packages })).toEqual([
      'node_modules/a: GPL-3.0-only',
      'node_modules/b: MPL-2.0',
      'node_modules/e: none',
    ]);
    expect(isAllowed('MIT AND GPL-3.0-only', new Set(['MIT']))).toBe(false);
  });
});
