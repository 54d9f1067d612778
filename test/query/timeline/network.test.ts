import { describe, expect, it } from 'vitest';
import { analyse } from '../../../query/timeline/analyse.ts';
import { networkOf } from '../../../query/timeline/network.ts';
import { callOf, createEvents } from './events.ts';

const net = (e: ReturnType<typeof createEvents>, ms: number, more: object) =>
  e.see(ms, { kind: 'net', pid: 5, net_op: 'connect', net_transport: 'tcp', ...more });

describe('the network ledger', () => {
  it('has a line for each destination, with the calls and rules that are about it', () => {
    const e = createEvents();
    const peer = { net_host: 'a.example', net_port: 443 };
    const rule = (ms: number, decision: string) =>
      e.say(ms, { kind: 'policy.decision', policy_type: 'network', decision, rule: 'r', ...peer });
    const events = [
      ...callOf(e, 'c', 0, 90, {}),
      rule(5, 'allow'),
      net(e, 10, { ...peer, net_ip: '192.0.2.1', tool_call_id: 'c', attribution: 'env_key' }),
      // Only its address is known here: it is that host's.
      net(e, 20, { net_ip: '192.0.2.1', net_port: 443, outcome: 'failure', error: 'ECONNREFUSED' }),
      net(e, 30, { pid: 6, net_ip: '192.0.2.9', net_port: 443 }),
      e.say(40, {
        kind: 'net',
        net_op: 'http',
        url: 'https://a.example/x',
        ...peer,
        net_bytes_in: 10,
        net_bytes_out: 4,
      }),
    ];
    const lines = networkOf(analyse(events));
    expect(lines).toHaveLength(2);
    expect(lines[0]).toMatchObject({
      host: 'a.example',
      port: 443,
      ips: ['192.0.2.1'],
      connects: 2,
      failed: 1,
      requests: 1,
      bytesIn: 10,
      bytesOut: 4,
      urls: ['https://a.example/x'],
      callIds: ['c'],
      verdicts: [{ decision: 'allow', count: 1, rules: ['r'] }],
      denied: 0,
      madeThoughDenied: false,
      seen: true,
    });
    expect(lines[1]).toMatchObject({ ips: ['192.0.2.9'], connects: 1, unattributed: 1 });
  });

  it('tells denied attempts, and connections that were made all the same', () => {
    const e = createEvents();
    const peer = { net_host: 'evil.example', net_port: 80 };
    const deny = (ms: number) =>
      e.say(ms, { kind: 'policy.decision', policy_type: 'network', decision: 'deny', ...peer });
    const [only] = networkOf(analyse([deny(1), deny(2)]));
    expect(only).toMatchObject({ denied: 2, connects: 0, madeThoughDenied: false, seen: false });
    const [made] = networkOf(analyse([deny(1), net(e, 5, peer)]));
    expect(made).toMatchObject({ denied: 1, madeThoughDenied: true });
  });

  it('gives names that were only looked up a line, and the resolver its questions', () => {
    const e = createEvents();
    const dns = (ms: number, net_host: string) =>
      net(e, ms, { net_op: 'dns', net_host, net_ip: '127.0.0.53', net_port: 53 });
    const events = [
      dns(1, 'x1.evil.example'),
      dns(2, 'a.example'),
      net(e, 3, { net_host: 'a.example', net_ip: '192.0.2.1', net_port: 80 }),
    ];
    const lines = networkOf(analyse(events));
    const of = (host: string) => lines.find((line) => line.host === host);
    expect(lines.find(({ port }) => port === 53)).toMatchObject({
      lookups: 2,
      names: ['x1.evil.example', 'a.example'],
    });
    expect(of('x1.evil.example')).toMatchObject({ lookups: 1, connects: 0 });
    expect(of('a.example')).toMatchObject({ connects: 1, port: 80 });
    expect(lines).toHaveLength(3);
  });
});
