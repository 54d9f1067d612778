/** How telemetry is switched on for one run, beside whatever its user has configured. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { type Adapter, findAdapter } from '../../../collector/agents/index.ts';
import { CALL_KEY } from '../../../collector/agents/opencode/plugin.ts';

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-prepare-'));
afterAll(() => fs.rmSync(dir, { recursive: true, force: true }));

const URL = 'http://127.0.0.1:1/token';
function prepare(name: string, argv: readonly string[], env: Record<string, string> = {}) {
  const adapter = findAdapter(name, []) as Adapter;
  return adapter.prepare({ argv, env, cwd: dir }, { url: URL, startNs: 0n, dir });
}

describe('Claude Code', () => {
  const settingsOf = (argv: readonly string[]) => {
    const at = argv.indexOf('--settings');
    expect(argv.lastIndexOf('--settings')).toBe(at);
    return JSON.parse(fs.readFileSync(String(argv[at + 1]), 'utf8'));
  };
  const ours = { type: 'http', url: `${URL}/hook/claude`, timeout: 10 };

  it('gets HTTP hooks behind its name, and telemetry for logs and traces alone', () => {
    for (const head of [['claude'], ['npx', '-y', '@anthropic-ai/claude-code@2.1.197']]) {
      const { command, hooks, warning } = prepare('claude', [...head, '-p', 'hi'], {
        OTEL_EXPORTER_OTLP_ENDPOINT: 'http://mine',
        OTEL_METRICS_EXPORTER: 'otlp',
      });
      expect({ hooks, warning }).toEqual({ hooks: true, warning: undefined });
      expect(command.argv.slice(0, head.length)).toEqual(head);
      expect(command.argv.slice(-2)).toEqual(['-p', 'hi']);
      expect(settingsOf(command.argv).hooks.PreToolUse).toEqual([{ hooks: [ours] }]);
      expect(command.env).toMatchObject({
        OTEL_EXPORTER_OTLP_ENDPOINT: 'http://mine',
        OTEL_METRICS_EXPORTER: 'otlp',
        OTEL_EXPORTER_OTLP_LOGS_ENDPOINT: `${URL}/v1/logs`,
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${URL}/v1/traces`,
        CLAUDE_CODE_PROPAGATE_TRACEPARENT: '1',
      });
    }
  });

  it('keeps the settings that its user gave on the command line, as a file or as JSON', () => {
    const mine = { hooks: { PreToolUse: [{ matcher: 'Bash' }] }, model: 'x' };
    const file = path.join(dir, 'mine.json');
    fs.writeFileSync(file, JSON.stringify(mine));
    for (const given of [
      ['--settings', 'mine.json'],
      [`--settings=${file}`],
      ['--settings', JSON.stringify(mine)],
    ]) {
      const { argv } = prepare('claude', ['claude', '-p', ...given, 'hi']).command;
      expect(settingsOf(argv)).toMatchObject({
        model: 'x',
        hooks: { PreToolUse: [{ matcher: 'Bash' }, { hooks: [ours] }] },
      });
      expect(argv).not.toContain('mine.json');
      expect(argv.slice(-1)).toEqual(['hi']);
    }
    expect(JSON.parse(fs.readFileSync(file, 'utf8'))).toEqual(mine);
  });

  it('leaves the command as it is, and says so, where hooks can’t be added', () => {
    for (const argv of [
      ['make', 'fix'],
      ['claude', '--settings', 'nowhere.json'],
      ['claude', '--settings', '{broken'],
    ]) {
      const prepared = prepare('claude', argv);
      expect(prepared.command.argv).toEqual(argv);
      expect(prepared.warning).toMatch(/no hooks are installed/);
      expect(prepared.command.env.CLAUDE_CODE_ENABLE_TELEMETRY).toBe('1');
    }
  });
});

describe('Gemini CLI', () => {
  it('is switched on by its environment alone', () => {
    const { command, files } = prepare('gemini', ['gemini', '-p', 'hi'], {
      HOME: '/home/a',
      GEMINI_TELEMETRY_OUTFILE: '/tmp/x',
    });
    expect(command.argv).toEqual(['gemini', '-p', 'hi']);
    expect(command.env).toMatchObject({
      GEMINI_TELEMETRY_ENABLED: 'true',
      GEMINI_TELEMETRY_OTLP_ENDPOINT: URL,
      GEMINI_TELEMETRY_OTLP_PROTOCOL: 'http',
    });
    expect(command.env).not.toHaveProperty('GEMINI_TELEMETRY_OUTFILE');
    expect(files?.root).toBe('/home/a/.gemini/tmp');
    expect(files?.suffix('dce76151-ce8c-4edd')).toBe('-dce76151.jsonl');
  });
});

describe('opencode', () => {
  it('gets a plugin beside those of its user', () => {
    const mine = JSON.stringify({ plugin: ['mine'], model: 'x' });
    const { command, file } = prepare('opencode', ['opencode', 'run', 'hi'], {
      OPENCODE_CONFIG_CONTENT: mine,
    });
    expect(command.argv).toEqual(['opencode', 'run', 'hi']);
    expect(JSON.parse(String(command.env.OPENCODE_CONFIG_CONTENT))).toEqual({
      model: 'x',
      plugin: ['mine', pathToFileURL(path.join(dir, 'telltale.js')).href],
    });
    expect(fs.readFileSync(String(file), 'utf8')).toBe('');
    const broken = prepare('opencode', ['opencode'], { OPENCODE_CONFIG_CONTENT: '[]' });
    expect(broken.warning).toMatch(/OPENCODE_CONFIG_CONTENT is no JSON object/);
    expect(broken.command.env.OPENCODE_CONFIG_CONTENT).toBe('[]');
  });

  it('has a plugin that writes what it is told, and gives each command its call', async () => {
    const { command, file } = prepare('opencode', ['opencode', 'run', 'hi']);
    const [url] = JSON.parse(String(command.env.OPENCODE_CONFIG_CONTENT)).plugin;
    const { Telltale } = await import(url);
    const client = { mcp: { status: async () => ({ data: { lab: {} } }) } };
    const plugin = await Telltale({ client });
    await plugin.event({ event: { type: 'message.part.delta', properties: {} } });
    await plugin.event({ event: { type: 'session.error', properties: { sessionID: 's' } } });
    const output = { env: {} };
    await plugin['shell.env']({ callID: 'call_1' }, output);
    expect(output.env).toEqual({ [CALL_KEY]: 'call_1' });
    await new Promise((resolve) => setTimeout(resolve, 5));
    const lines = fs.readFileSync(String(file), 'utf8').trim().split('\n');
    expect(lines.map((line) => Object.keys(JSON.parse(line))[1])).toEqual(['argv', 'event', 'mcp']);
    const mapper = (findAdapter('opencode', []) as Adapter).mapper(0n);
    for (const line of lines) expect(mapper.line?.(line, 'x')).toBeDefined();
  });
});
