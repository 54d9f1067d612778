/** Flags of accounts: what they become, and that all faults of a line are told together. */
import { parseArgs } from 'node:util';
import { describe, expect, it } from 'vitest';
import { ACCESS_FLAGS, accessSettings } from '../../../deploy/access/settings.ts';

const settings = (...args: string[]) =>
  accessSettings(parseArgs({ args, options: ACCESS_FLAGS }).values);

describe('flags of accounts', () => {
  it('are off where nothing is said', () => {
    expect(settings()).toEqual({ introspection: true, explorer: false, arguments: 'plain' });
  });

  it('name an issuer, and how its claims are read', () => {
    const { oidc, requestsPerMinute, tokens } = settings(
      ...['--oidc-issuer', 'https://idp.example', '--oidc-audience', 'telltale'],
      ...[
        '--oidc-tenant-claim',
        'org',
        '--oidc-role',
        'admin=sec=ops',
        '--oidc-content',
        'readers',
      ],
      ...['--requests-per-minute', '50', '--tokens', '/etc/tokens.json'],
    );
    expect(oidc).toMatchObject({
      issuer: 'https://idp.example',
      audience: 'telltale',
      claims: {
        nameClaim: 'sub',
        tenant: { claim: 'org' },
        rolesClaim: 'roles',
        roles: new Map([['sec=ops', 'admin']]),
        content: new Set(['readers']),
      },
    });
    expect([requestsPerMinute, tokens]).toEqual([50, '/etc/tokens.json']);
  });

  it('tell all that is wrong at once', () => {
    const wrong = () =>
      settings(
        ...['--oidc-issuer', 'http://idp.example', '--oidc-role', 'root=x'],
        ...['--journal-arguments', 'some'],
      );
    for (const message of [
      /--oidc-issuer http:\/\/idp.example: give an https/,
      /--oidc-audience NAME is missing/,
      /--oidc-tenant NAME or --oidc-tenant-claim/,
      /--oidc-role root=x/,
      /--journal-arguments: one of plain, full/,
    ])
      expect(wrong).toThrow(message);
    expect(() => settings('--oidc-audience', 'x')).toThrow('--oidc-issuer URL is missing');
    const both = ['--oidc-tenant', 'a', '--oidc-tenant-claim', 'b'];
    expect(() => settings('--oidc-issuer', 'https://i', '--oidc-audience', 'x', ...both)).toThrow(
      'one of them',
    );
    expect(() =>
      settings('--oidc-issuer', 'http://localhost:1', '--oidc-audience', 'x', '--oidc-tenant', 'a'),
    ).not.toThrow();
  });
});
