import { describe, expect, it } from 'vitest';
import type { TelltaleEvent } from '#schemas';
import { analyse } from '../../../query/timeline/analyse.ts';
import { assess } from '../../../query/timeline/assess.ts';
import { networkOf } from '../../../query/timeline/network.ts';
import { buildStory } from '../../../query/timeline/story.ts';
import { callOf, createEvents, sessionOf } from './events.ts';

function findingsIn(events: readonly TelltaleEvent[]) {
  const data = sessionOf(events);
  return buildStory(data, assess(events, data.streams)).findings;
}

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

  describe('of a session with an egress proxy', () => {
    const PROXY = { net_ip: '127.0.0.1', net_port: 40_001 };
    const started = (e: ReturnType<typeof createEvents>) =>
      e.make(0, 'egress', {
        kind: 'sensor',
        assurance: 'verified',
        sensor_name: 'egress',
        coverage: 'complete',
        attrs: { proxy: '127.0.0.1:40001' },
      });
    const decided = (
      e: ReturnType<typeof createEvents>,
      ms: number,
      pid: number | undefined,
      decision: string,
      connection: string,
      more: object = {},
    ) =>
      e.make(ms, 'egress', {
        kind: 'policy.decision',
        assurance: 'verified',
        policy_type: 'network',
        net_host: 'a.example',
        net_port: 443,
        ...(pid === undefined ? {} : { pid }),
        decision,
        rule: 'r',
        attrs: { connection, enforced: 'yes' },
        ...more,
      });
    const ended = (
      e: ReturnType<typeof createEvents>,
      ms: number,
      pid: number,
      connection: string,
    ) =>
      e.make(ms, 'egress', {
        kind: 'net',
        assurance: 'observed',
        net_op: 'connect',
        net_transport: 'tcp',
        net_host: 'a.example',
        net_port: 443,
        net_ip: '192.0.2.1',
        net_bytes_in: 7,
        pid,
        outcome: 'success',
        attrs: { connection, via: 'egress_proxy' },
      });

    it('makes one row of a connect to the proxy, its decision and its end', () => {
      const e = createEvents();
      const events = [
        started(e),
        net(e, 10, { ...PROXY, tool_call_id: 'c', attribution: 'env_key' }),
        decided(e, 11, 5, 'allow', '1'),
        ended(e, 90, 5, '1'),
        // Refused: no end is told.
        net(e, 100, { ...PROXY, pid: 6 }),
        decided(e, 101, 6, 'deny', '2'),
        // Open still: let through, and no end yet.
        net(e, 110, { ...PROXY, pid: 7 }),
        decided(e, 111, 7, 'allow', '3', { net_host: 'b.example' }),
        // A second request over the connect of pid 7, and one of a process that nobody knows.
        decided(e, 120, 7, 'allow', '4', { net_host: 'b.example' }),
        decided(e, 130, undefined, 'allow', '5', { net_host: 'b.example' }),
        // It connected and asked for nothing.
        net(e, 140, { ...PROXY, pid: 8 }),
      ];
      const lines = networkOf(analyse(events));
      const of = (host: string) => lines.find((line) => line.host === host);
      expect(of('a.example')).toMatchObject({
        proxied: 2,
        folded: 2,
        connects: 1,
        bytesIn: 7,
        denied: 1,
        bypasses: 0,
        madeThoughDenied: false,
        seen: true,
        ips: ['192.0.2.1'],
        callIds: ['c'],
        eventCount: 5,
      });
      expect(of('b.example')).toMatchObject({ proxied: 3, folded: 1, connects: 3, ips: [] });
      const own = lines.filter(({ port }) => port === PROXY.net_port);
      expect(own).toMatchObject([{ connects: 1, eventCount: 1 }]);
      expect(lines).toHaveLength(3);
    });

    it('folds nothing without the proxy’s own word on where it listens', () => {
      const e = createEvents();
      const lines = networkOf(analyse([net(e, 10, PROXY), decided(e, 11, 5, 'allow', '1')]));
      expect(lines).toHaveLength(2);
      const said = createEvents();
      const claimed = [
        said.say(0, {
          kind: 'sensor',
          sensor_name: 'egress',
          coverage: 'complete',
          attrs: { proxy: '192.0.2.7:443' },
        }),
        net(said, 10, { net_ip: '192.0.2.7', net_port: 443 }),
        decided(said, 11, 5, 'allow', '1'),
      ];
      expect(networkOf(analyse(claimed)).map(({ folded }) => folded)).toEqual([0, 0]);
    });

    it('tells who went round it, which is no attempt that somebody denied', () => {
      const e = createEvents();
      const peer = { net_host: 'evil.example', net_ip: '192.0.2.66', net_port: 443 };
      const round = (ms: number, decision: string, transport: string) =>
        e.make(ms, 'egress', {
          kind: 'policy.decision',
          assurance: 'observed',
          policy_type: 'network',
          ...peer,
          pid: 5,
          decision,
          rule: 'only-github',
          tool_call_id: 'c',
          attribution: 'env_key',
          attrs: { bypass: 'direct', enforced: 'no', transport },
        });
      const events = [
        started(e),
        ...callOf(e, 'c', 1, 90, {}),
        net(e, 10, { ...peer, tool_call_id: 'c', attribution: 'env_key' }),
        round(10, 'deny', 'tcp'),
      ];
      const [line] = networkOf(analyse(events)).filter(({ host }) => host === peer.net_host);
      expect(line).toMatchObject({ bypasses: 1, denied: 0, madeThoughDenied: true, connects: 1 });
      const findings = (list: readonly TelltaleEvent[]) =>
        findingsIn(list).filter(({ kind }) => kind !== 'unattributed');
      expect(findings(events)).toMatchObject([
        {
          kind: 'bypass',
          severity: 'high',
          callId: 'c',
          text: 'call c: 1 connection went round the egress proxy, to evil.example; the policy would deny (only-github), and nobody enforced it',
        },
      ]);
      expect(findings([started(e), round(10, 'deny', 'udp')])[0]?.severity).toBe('medium');
      expect(findings([started(e), round(10, 'allow', 'udp')])[0]?.severity).toBe('info');
      // An agent's own word of the same form is no bypass.
      const { attrs } = round(0, 'deny', 'tcp') as { attrs?: object };
      const lie = e.say(10, {
        kind: 'policy.decision',
        policy_type: 'network',
        decision: 'deny',
        ...peer,
        attrs,
      });
      expect(findings([lie])).toEqual([]);
    });
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
