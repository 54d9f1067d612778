import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { splitCommand } from '../../deploy/commands/run.ts';
import { sessions, timeline } from '../../deploy/commands/timeline.ts';
import { UsageError } from '../../deploy/process/lifecycle.ts';
import { sessionOf } from '../query/timeline/events.ts';
import { realisticSession } from '../query/timeline/realistic.ts';

const root = path.resolve(import.meta.dirname, '../..');
const argv = ['--conditions=telltale-source', '--import', 'tsx', path.join(root, 'deploy/cli.ts')];
const env = { PATH: process.env.PATH ?? '', HOME: fs.mkdtempSync(path.join(os.tmpdir(), 'cli-')) };
afterAll(() => fs.rmSync(env.HOME, { recursive: true, force: true }));

const cli = (...args: string[]) =>
  spawnSync(process.execPath, [...argv, ...args], { env, cwd: root, encoding: 'utf8' });

/** What a command of this process writes to standard output, and its exit code. */
async function inProcess(command: (args: string[]) => Promise<number>, ...args: string[]) {
  let stdout = '';
  const write = vi
    .spyOn(process.stdout, 'write')
    .mockImplementation((text: unknown, ...more: unknown[]) => {
      const done = more.at(-1);
      stdout += String(text);
      if (typeof done === 'function') done();
      return true;
    });
  try {
    return { status: await command(args), stdout };
  } finally {
    write.mockRestore();
  }
}

describe('the command line', () => {
  it('helps, and exits with 2 where no command is given', () => {
    expect(cli('help')).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('telltale run'),
    });
    expect(cli()).toMatchObject({ status: 2, stdout: expect.stringContaining('timeline') });
  });

  it('names an unknown command, escaped; also one that every object has', () => {
    const bad = cli('no\u001bsuch');
    expect(bad).toMatchObject({ status: 2, stdout: '' });
    expect(bad.stderr).toContain('there is no command "no\\u001bsuch"');
    expect(cli('constructor').status).toBe(2);
  });

  it('refuses wrong flags with the usage of the command', async () => {
    const { status, stderr } = cli('timeline', '--nope');
    expect([status, stderr]).toEqual([2, expect.stringContaining('usage: telltale timeline')]);
    await expect(timeline(['a', 'b'])).rejects.toThrow(UsageError);
    await expect(timeline(['--from', 'x'])).rejects.toThrow(UsageError);
    await expect(timeline(['--from', 'http://h', '--data', 'd'])).rejects.toThrow(UsageError);
    await expect(sessions(['--first', '1e3'])).rejects.toThrow(UsageError);
  });

  it('takes what stands behind the first "--" as the command, untouched', () => {
    expect(splitCommand(['--agent', 'x', '--', 'sh', '-c', 'a -- b', '--'])).toEqual({
      flags: ['--agent', 'x'],
      argv: ['sh', '-c', 'a -- b', '--'],
    });
    for (const args of [[], ['ls'], ['--'], ['--verbose', '--']])
      expect(() => splitCommand(args)).toThrow(UsageError);
    expect(cli('run', 'ls')).toMatchObject({ status: 2, stderr: expect.stringContaining('"--"') });
  });

  it('says what to start when no server answers', () => {
    const { status, stderr } = cli('timeline', '--from', 'http://127.0.0.1:1');
    expect([status, stderr]).toEqual([1, expect.stringContaining('telltale up')]);
  });

  it('says so where the data directory is not there', async () => {
    await expect(timeline(['--data', '/nonexistent/telltale'])).rejects.toThrow(
      'no such directory',
    );
  });
});

describe('telltale timeline and sessions, of a server', () => {
  let server: http.Server;
  let url = '';
  const data = sessionOf(realisticSession());
  const heads = [
    {
      id: data.id,
      agent: 'a\u001b[2J',
      host: 'h',
      user: 'u',
      startedNs: '1764000000000000000',
      endedNs: '1764000001000000000',
    },
  ];
  beforeAll(async () => {
    server = http.createServer((request, response) => {
      const route = request.url ?? '';
      const story = route === '/v1/sessions/latest/story';
      response.statusCode = story || route === '/v1/sessions?first=20' ? 200 : 404;
      const missing = { error: { code: 'NOT_FOUND', message: 'no such session' } };
      response.end(
        JSON.stringify(story ? data : response.statusCode === 200 ? { sessions: heads } : missing),
      );
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => void server.close());

  it('prints the story without colour into a pipe, and the data as JSON', async () => {
    const text = await inProcess(timeline, '--from', url);
    expect(text).toMatchObject({ status: 0 });
    expect(text.stdout).toContain('COMPLETE');
    expect(text.stdout).not.toContain('\u001b');
    const json = await inProcess(timeline, 'latest', '--from', url, '--json');
    expect(JSON.parse(json.stdout)).toEqual(JSON.parse(JSON.stringify(data)));
  });

  it('tells an unknown session, and how to find the known ones', async () => {
    await expect(timeline(['no/such', '--from', url])).rejects.toThrow('telltale sessions');
  });

  it('lists sessions, escaped', async () => {
    const { status, stdout } = await inProcess(sessions, '--from', url);
    expect([status, stdout]).toEqual([0, expect.stringContaining(`${data.id}  2025-11-24`)]);
    expect(stdout).not.toContain('\u001b');
  });
});
