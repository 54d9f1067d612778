import { afterEach, describe, expect, it, vi } from 'vitest';
import { tokenLine } from '../../../deploy/access/credentials.ts';

afterEach(() => vi.unstubAllEnvs());

describe('the line that shows a token', () => {
  it('says what a command needs to find it', () => {
    vi.stubEnv('TELLTALE_DATA', '/srv/data');
    expect(tokenLine('T', '/srv/data/')).toBe(
      'token: T  (while this runs; commands here find it)\n',
    );
    expect(tokenLine('T', '/srv/other')).toContain('with TELLTALE_DATA=/srv/other)');
  });
});
