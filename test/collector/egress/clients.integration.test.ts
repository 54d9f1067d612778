/** Real programs under the real sensor and the real proxy: each by the name of its tool call. */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Draft, DraftOf } from '#schemas';
import { createLadder } from '../../../collector/sensors/ladder.ts';
import { createClock } from '../../../deploy/process/clock.ts';
import { nativeHelper } from '../../../deploy/settings.ts';
import { fakeLog } from '../../fakes/ports.ts';
import { echoServer, egressSite, LOOPBACK } from './site.ts';

const NODE_WITH_PROXY = 24;

/** Programs that read the environment; `$URL` is where they go. */
const CLIENTS: Readonly<Record<string, string>> = {
  curl: 'curl -sS -o /dev/null $URL/curl',
  git: 'git ls-remote $URL/git',
  npm: 'npm view x --registry $URL/npm/ --fetch-retries 0',
  python3: `python3 -c 'import os,urllib.request as u; u.urlopen(os.environ["URL"]+"/python3")'`,
  pip: 'python3 -m pip download --no-cache-dir --retries 0 -i $URL/pip/ --trusted-host a.good.test --no-deps x',
  node: `"${process.execPath}" -e 'fetch(process.env.URL+"/node").then(r=>r.text())'`,
};

const has = (program: string): boolean => {
  try {
    execFileSync('sh', ['-c', `command -v ${program}`]);
    return program !== 'node' || Number(process.versions.node.split('.')[0]) >= NODE_WITH_PROXY;
  } catch {
    return false;
  }
};
const here = Object.keys(CLIENTS).filter(has);
for (const name of Object.keys(CLIENTS).filter((client) => !here.includes(client)))
  console.warn(`SKIPPED: ${name} is not here, or reads no proxy from its environment`);

describe('programs of an agent', () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-egress-'));
  const seen: Draft[] = [];
  let site: Awaited<ReturnType<typeof egressSite>>;
  let echo: Awaited<ReturnType<typeof echoServer>>;

  beforeAll(async () => {
    echo = await echoServer();
    site = await egressSite({ allow: ['a.good.test', LOOPBACK] }, { 'a.good.test': ['127.0.0.1'] });
    const script = [
      ...here.map((name) => `export CALL=${name}; ${CLIENTS[name]} & pids="$pids $!"`),
      `export CALL=denied; curl -sS https://evil.test/ & pids="$pids $!"`,
      `export CALL=direct; curl -sS --noproxy '*' -m 1 http://203.0.113.9:81/ & pids="$pids $!"`,
      'wait $pids',
    ].join('\n');
    const ladder = createLadder({
      ...{ log: fakeLog(), clock: createClock(), native: nativeHelper() },
      ...{ joinKeys: [], toolCallKey: 'CALL' },
    });
    const env = { ...site.env, HOME: dir, URL: `http://a.good.test:${echo.port}` };
    const command = { argv: ['sh', '-c', script], env, cwd: dir };
    const running = await ladder.run(command, (drafts) => {
      site.egress.observe(drafts);
      seen.push(...drafts);
    });
    await running.exited;
    await running.stop();
    await site.egress.stop();
  }, 60_000);
  afterAll(async () => {
    await echo.close();
    fs.rmSync(dir, { recursive: true, force: true });
  });

  it.each(here)('%s: its requests are decided on, under its own call', (name) => {
    // Node's fetch asks for a tunnel even to plain HTTP, so its path is not seen.
    const decisions = site.decisions().filter(({ tool_call_id }) => tool_call_id === name);
    expect(decisions.length).toBeGreaterThan(0);
    for (const decision of decisions)
      expect(decision).toMatchObject({
        decision: 'allow',
        net_host: 'a.good.test',
        attribution_confidence_pct: 100,
        attrs: { peer: 'socket' },
      });
    const pids = new Set(seen.filter(({ kind }) => kind === 'exec').map(({ pid }) => pid));
    for (const { pid } of decisions) expect(pids).toContain(pid);
  });

  it('no request goes to a wrong call', () => {
    for (const { url, tool_call_id } of [...site.decisions(), ...site.passed()])
      if (url !== undefined) expect(url).toContain(`/${tool_call_id}`);
  });

  it('what is denied is, under its call', () => {
    expect(site.decisions().filter(({ net_host }) => net_host === 'evil.test')).toMatchObject([
      { decision: 'deny', rule: 'default', net_port: 443, tool_call_id: 'denied' },
    ]);
  });

  it('who goes round the proxy is found', () => {
    const round = site.decisions().filter(({ attrs }) => attrs?.bypass !== undefined);
    expect(round).toMatchObject([
      {
        decision: 'deny',
        net_ip: '203.0.113.9',
        net_port: 81,
        tool_call_id: 'direct',
        attrs: { enforced: 'no', bypass: 'direct', transport: 'tcp' },
      },
    ]);
  });

  it('each connect to the proxy that the sensor saw has its decision', () => {
    const connects = seen.filter(
      (draft): draft is DraftOf<'net'> & Draft =>
        draft.kind === 'net' && draft.net_op === 'connect' && draft.net_port === site.port,
    );
    const connections = new Set(site.decisions().flatMap(({ attrs }) => attrs?.connection ?? []));
    expect(connections.size).toBe(connects.length);
  });
});
