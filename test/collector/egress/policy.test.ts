import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  addressOf,
  hostOf,
  readCidr,
  specialPurpose,
} from '../../../collector/egress/addresses.ts';
import { decide, PolicyError, readPolicy } from '../../../collector/egress/policy.ts';

const VERSION = 'f'.repeat(64);
const policyOf = (parts: object) => readPolicy({ default: 'deny', ...parts }, VERSION);
/** Decides with names that lead where they are told to. */
const ask = (policy: ReturnType<typeof policyOf>, host: string, port: number, ...ips: string[]) =>
  decide(policy, { host, port }, async () => ips);

describe('one form of hosts', () => {
  it.each([
    ['Example.COM.', 'example.com'],
    ['bücher.de', 'xn--bcher-kva.de'],
    ['evil。com', 'evil.com'],
    ['[::1]', '::1'],
    ['[::FFFF:127.0.0.1]', '127.0.0.1'],
    ['_dmarc.example.org', '_dmarc.example.org'],
  ])('%s is %s', (text, host) => expect(hostOf(text)).toBe(host));

  it.each([
    ...[
      '',
      '.',
      '..',
      'a..b',
      'a b',
      'a\u0000b',
      'a%00b',
      'user@host',
      'a/b',
      '*.x',
      '[::1',
      '::1%lo',
    ],
    ...['0x7f.1', '2130706433', '127.1', '１２７.0.0.1', '1.2.3.4.5', `${'a'.repeat(64)}.de`],
    ...[`${'a.'.repeat(130)}de`, '[fe80::1%25eth0]', '[example.com]'],
  ])('%j is none', (text) => expect(hostOf(text)).toBeUndefined());

  it('gives what it gave when asked again, and only harmless characters', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.domain(), fc.ipV6()), (text) => {
        const host = hostOf(text);
        if (host === undefined) return;
        expect(hostOf(host)).toBe(host);
        expect(host).toMatch(/^[a-z0-9._:-]{1,253}$/);
      }),
      { numRuns: 40 },
    );
  });
});

describe('addresses of special purpose', () => {
  it.each([
    ...['127.0.0.1', '10.1.2.3', '172.16.0.1', '192.168.1.1', '169.254.169.254', '100.100.100.200'],
    ...['0.0.0.0', '::', '::1', 'fe80::1', 'fd00:ec2::254', '::ffff:10.0.0.1', '64:ff9b::a00:1'],
    ...['2002:a00:1::', '224.0.0.1', '255.255.255.255', '168.63.129.16'],
  ])('%s', (ip) => expect(specialPurpose(addressOf(ip))).toBeDefined());
  it.each(['8.8.8.8', '1.1.1.1', '2606:4700::1111', '172.32.0.1', '100.128.0.1', '::ffff:8.8.8.8'])(
    'not %s',
    (ip) => expect(specialPurpose(addressOf(ip))).toBeUndefined(),
  );
});

describe('a policy', () => {
  const policy = policyOf({
    name: 'agents',
    allow: [
      'registry.example.com:443',
      '*.git.example.com',
      { id: 'mirror', to: '10.1.0.0/16', ports: [443, '8000-8999'] },
      'inside.example.com',
    ],
    deny: ['secret.git.example.com', '203.0.113.7', { to: '10.1.9.0/24' }],
  });
  it.each([
    ['registry.example.com', 443, ['1.2.3.4'], 'allow', 'allow registry.example.com:443'],
    ['registry.example.com', 80, ['1.2.3.4'], 'deny', 'default'],
    ['other.example.com', 443, ['1.2.3.4'], 'deny', 'default'],
    ['a.git.example.com', 22, ['1.2.3.4'], 'allow', 'allow *.git.example.com'],
    ['a.b.git.example.com', 22, ['1.2.3.4'], 'allow', 'allow *.git.example.com'],
    ['git.example.com', 443, ['1.2.3.4'], 'deny', 'default'],
    ['evilgit.example.com', 443, ['1.2.3.4'], 'deny', 'default'],
    ['secret.git.example.com', 443, ['1.2.3.4'], 'deny', 'deny secret.git.example.com'],
    ['registry.example.com', 443, ['169.254.169.254'], 'deny', 'special-purpose'],
    ['registry.example.com', 443, ['127.0.0.1', '::1'], 'deny', 'special-purpose'],
    ['registry.example.com', 443, ['203.0.113.7'], 'deny', 'deny 203.0.113.7'],
    ['inside.example.com', 443, ['10.1.2.3'], 'allow', 'allow inside.example.com'],
    ['inside.example.com', 22, ['10.1.2.3'], 'deny', 'special-purpose'],
    ['inside.example.com', 443, ['10.1.9.3'], 'deny', 'deny 10.1.9.0/24'],
    ['10.1.2.3', 8443, [], 'allow', 'mirror'],
    ['10.1.2.3', 9000, [], 'deny', 'special-purpose'],
    ['10.2.2.3', 443, [], 'deny', 'special-purpose'],
    ['8.8.8.8', 53, [], 'deny', 'default'],
  ] as const)('%s port %i at %j: %s by %s', async (host, port, ips, decision, rule) => {
    expect(await ask(policy, host, port, ...ips)).toMatchObject({ decision, rule });
  });

  it('leads to the allowed addresses only', async () => {
    const { addresses } = await ask(policy, 'registry.example.com', 443, '10.0.0.1', '1.2.3.4');
    expect(addresses).toEqual(['1.2.3.4']);
  });
  it('does not look up a name that it denies', async () => {
    const asked: string[] = [];
    const resolve = async (name: string) => {
      asked.push(name);
      return ['1.2.3.4'];
    };
    await decide(policy, { host: 'c2VjcmV0.evil.example.net', port: 443 }, resolve);
    expect(asked).toEqual([]);
  });
  it('keeps metadata addresses closed where all else is open', async () => {
    const open = policyOf({ default: 'allow' });
    expect(await ask(open, 'x.example.com', 80, '169.254.169.254')).toMatchObject({
      decision: 'deny',
      reason: expect.stringContaining('x.example.com leads to 169.254.169.254'),
    });
    expect(await ask(open, 'x.example.com', 80, '1.2.3.4')).toMatchObject({ decision: 'allow' });
  });
  it('whatever name is asked for: the addresses it leads to are never special', async () => {
    const open = policyOf({ default: 'allow', allow: ['*', '*.example.com'] });
    await fc.assert(
      fc.asyncProperty(fc.domain(), fc.array(fc.oneof(fc.ipV4(), fc.ipV6())), async (name, ips) => {
        const host = hostOf(name);
        if (host === undefined || ips.length === 0) return;
        const { decision, addresses } = await ask(open, host, 443, ...ips);
        if (decision === 'allow')
          for (const ip of addresses) expect(specialPurpose(ip)).toBeUndefined();
        else expect(ips.map(addressOf).every((ip) => specialPurpose(ip) !== undefined)).toBe(true);
      }),
    );
  });
});

describe('faults of a policy file', () => {
  it('are told all at once, each with its place', () => {
    const faulty = () =>
      readPolicy(
        {
          default: 'maybe',
          name: 'a b',
          allow: ['x y', 'h:0', { to: 'h:1', ports: 2 }, 7, { to: 'h', port: 1 }, '10.0.0.0/33'],
          deny: 'x',
          more: 1,
        },
        VERSION,
      );
    expect(faulty).toThrow(PolicyError);
    try {
      faulty();
    } catch (error) {
      const faults = (error as PolicyError).faults.join('\n');
      for (const part of ['default', 'name', 'allow[0]', 'allow[1]', 'allow[2]', 'allow[3]'])
        expect(faults).toContain(part);
      for (const part of ['"port"', 'allow[5]', 'deny', '"more"']) expect(faults).toContain(part);
    }
  });
  it.each([null, [], 'deny', 7])('%j is no policy', (value) =>
    expect(() => readPolicy(value, VERSION)).toThrow(PolicyError),
  );
  it('throws nothing else, whatever the file holds', () => {
    fc.assert(
      fc.property(fc.anything(), fc.anything(), (allow, deny) => {
        try {
          readPolicy({ default: 'deny', allow, deny }, VERSION);
        } catch (error) {
          expect(error).toBeInstanceOf(PolicyError);
        }
      }),
    );
  });
  it('reads CIDRs strictly', () => {
    expect(readCidr('10.0.0.0/8')?.contains('10.255.0.1')).toBe(true);
    for (const text of ['10.0.0.0/', '10.0.0.0/8/8', '10.0.0/8', '::/129', 'x/8', ''])
      expect(readCidr(text)).toBeUndefined();
  });
});
