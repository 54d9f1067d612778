/**
 * The real agent CLIs under an egress policy that allows nothing: they work on, since their model
 * is on loopback here, and each request of theirs to the outside is decided on and told. Some
 * 100 s for all four, so with TELLTALE_LONG only.
 */
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { TelltaleEvent } from '#schemas';
import { expectWhole } from './checks.ts';
import { bypassing } from './claude.ts';
import { codexAgent } from './codex.ts';
import { yolo } from './gemini.ts';
import { neededAgent } from './install.ts';
import { auto } from './opencode.ts';
import { type Agent, type Place, recordAgent, runOf } from './session.ts';

const SESSION_MS_MAX = 180_000;
const POLICY = 'name: closed\ndefault: deny\n';

/** The same agent, each run of it under the policy. */
const underPolicy = (agent: Agent): Agent => ({
  ...agent,
  runs: (place: Place, model) => {
    const file = path.join(place.dir, 'egress.yaml');
    fs.writeFileSync(file, POLICY);
    return agent
      .runs(place, model)
      .map((run) => ({ ...run, flags: [...(run.flags ?? []), '--egress', file] }));
  },
});

const AGENTS = [
  { name: 'claude', agent: bypassing },
  { name: 'codex', agent: codexAgent },
  { name: 'gemini', agent: yolo },
  { name: 'opencode', agent: auto },
] as const;

describe.skipIf(!process.env.TELLTALE_LONG).each(AGENTS)(
  '$name under an egress policy',
  ({ name, agent }) => {
    const found = neededAgent(name);
    it.skipIf('why' in found)(
      'ends well, and what it asks of the outside is decided on',
      async () => {
        const command = 'command' in found ? found.command : '';
        const run = runOf(await recordAgent(underPolicy(agent(command))));
        expect(run.exitCode, run.stderr).toBe(0);
        expectWhole(run);
        const egress = run.events.filter(({ source }) => source === 'egress');
        const proxy = egress.find(({ kind }) => kind === 'sensor') as TelltaleEvent & {
          attrs: Record<string, string>;
        };
        expect(proxy).toMatchObject({ coverage: 'complete', attrs: { policy: 'closed' } });
        expect(egress.filter(({ kind }) => kind === 'gap')).toEqual([]);
        const decisions = egress.flatMap((event) =>
          event.kind === 'policy.decision' ? [event] : [],
        );
        for (const decision of decisions) expect(decision.decision).toBe('deny');
        const port = Number(proxy.attrs.proxy?.split(':')[1]);
        const connects = run.events.filter(
          (event) => event.kind === 'net' && event.net_op === 'connect' && event.net_port === port,
        );
        const asked = decisions.filter(({ attrs }) => attrs?.enforced === 'yes');
        const connections = new Set(asked.map(({ attrs }) => attrs?.connection));
        // A client may connect and then ask nothing; none asks unseen.
        expect(connections.size).toBeLessThanOrEqual(connects.length);
        for (const { attrs } of asked) expect(attrs?.peer).toBe('socket');
        const hosts = [...new Set(decisions.map(({ net_host, net_ip }) => net_host ?? net_ip))];
        console.log(
          `${name}: ${connects.length} connects to the proxy, ${asked.length} refused, ` +
            `${decisions.length - asked.length} round it: ${hosts.join(' ')}`,
        );
      },
      SESSION_MS_MAX,
    );
  },
);
