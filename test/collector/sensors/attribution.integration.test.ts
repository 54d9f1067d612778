/** Real kernel: which tool call an effect belongs to, through whatever the process does. */
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { BASE_ENV, here, RUNGS, scratchDir } from './recorder.ts';

const KEY = 'CODEX_TOOL_CALL_ID';

describe.skipIf(!here).each(RUNGS)('attribution, %s', (_form, recordRun) => {
  const dir = here ? scratchDir() : '';
  afterAll(() => dir !== '' && fs.rmSync(dir, { recursive: true, force: true }));
  const deps = { joinKeys: [KEY, 'TRACEPARENT'], toolCallKey: KEY, cwd: dir };
  it('follows the environment key down the tree, and nothing leads out of it', async () => {
    const script = [
      'echo 0 > none',
      `${KEY}=call_1 TRACEPARENT=00-a SECRET=x sh -c 'echo 1 > one; /bin/sh -c "echo 2 > two"; env -i /bin/sh -c "echo 3 > three"'`,
      `${KEY}=call_2 sh -c 'echo 4 > four'`,
      'echo 5 > five',
    ].join('; ');
    const got = await recordRun(['sh', '-c', script], deps);
    const of = (name: string) => {
      const { tool_call_id, attribution, attribution_confidence_pct } =
        got.of('file').find((e) => e.file_path === path.join(dir, name)) ?? {};
      return { tool_call_id, attribution, attribution_confidence_pct };
    };
    const exact = { attribution: 'env_key', attribution_confidence_pct: 100 };
    const none = {
      tool_call_id: undefined,
      attribution: undefined,
      attribution_confidence_pct: undefined,
    };
    expect(of('none')).toEqual(none);
    expect(of('one')).toEqual({ tool_call_id: 'call_1', ...exact });
    expect(of('two')).toEqual({ tool_call_id: 'call_1', ...exact });
    expect(of('three')).toEqual({ tool_call_id: 'call_1', ...exact, attribution: 'ancestry' });
    expect(of('four')).toEqual({ tool_call_id: 'call_2', ...exact });
    expect(of('five')).toEqual(none);
    const tool = got.of('exec').find((e) => e.tool_call_id === 'call_1');
    expect(tool?.join_keys).toEqual({ [KEY]: 'call_1', TRACEPARENT: '00-a' });
    expect(JSON.stringify(got.drafts)).not.toContain('"SECRET');
    const pids = (kind: 'exec' | 'exit') =>
      new Set(got.of(kind).flatMap((e) => (e.tool_call_id === 'call_1' ? [e.pid] : [])));
    expect(pids('exec').size).toBe(3);
    expect(pids('exit')).toEqual(pids('exec'));
  });

  it('keeps a daemon that forked twice in its call', async () => {
    const daemon = '(setsid sh -c "sleep 0.3; echo late > late; /bin/true marker" &) &';
    const script = `${KEY}=call_d sh -c '${daemon} exit 0'; sleep 0.8`;
    const got = await recordRun(['sh', '-c', script], deps);
    const late = got.of('file').find((e) => e.file_path === path.join(dir, 'late'));
    expect(late?.tool_call_id).toBe('call_d');
    const marker = got.of('exec').find((e) => e.argv?.[1] === 'marker');
    expect(marker).toMatchObject({ tool_call_id: 'call_d', ppid: late?.pid });
    expect(got.of('exit').find((e) => e.pid === late?.pid)).toMatchObject({ exit_code: 0 });
  });

  it('marks the own programs of the collector, and leaves nothing out', async () => {
    const own = path.join(dir, 'own');
    fs.mkdirSync(own, { recursive: true });
    const hook = path.join(own, 'hook.sh');
    fs.writeFileSync(hook, '#!/bin/sh\n/bin/sh -c "echo h > hooked"\n', { mode: 0o755 });
    // The last one only names the path; it does not run what lies there.
    const script = `cd .; ${hook}; /bin/sh -c 'echo n > named; true ${hook}'; true`;
    const got = await recordRun(['sh', '-c', script], { ...deps, ownPaths: [own] });
    const file = (name: string) =>
      got.of('file').find((e) => path.basename(e.file_path) === name)?.attrs?.own;
    expect(file('hooked')).toBe('path');
    expect(file('named')).toBeUndefined();
    expect(got.of('file').map((e) => path.basename(e.file_path))).toContain('named');
    const marked = got.of('exec').filter((e) => e.attrs?.own === 'path');
    expect(marked.map((e) => e.argv?.[1])).toEqual([hook, '-c']);
    expect(got.of('exit').filter((e) => e.attrs?.own === 'path').length).toBe(2);
  });

  it('says nothing of the environment but the join keys', async () => {
    const env = { ...BASE_ENV, [KEY]: 'call_e', AWS_SECRET_ACCESS_KEY: 'do-not-leak' };
    const got = await recordRun(['/bin/true'], { ...deps, env });
    expect(got.of('exec')[0]).toMatchObject({ tool_call_id: 'call_e' });
    expect(JSON.stringify(got.drafts)).not.toContain('do-not-leak');
  });
});
