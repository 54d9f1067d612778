/** Tool calls of ours in the fields of Falco's plugin for coding agents. */
import { describe, expect, it } from 'vitest';
import { recordView } from '#schemas';
import { toolCalls } from '../../../../schemas/rules/falco/taxonomy.ts';

const told = (fields: Parameters<typeof recordView>[0]) =>
  toolCalls(recordView({ kind: 'tool.call', cwd: '/home/dev/app', ...fields }));
const json = JSON.stringify;
const path = (file_path: string, cwd = '/home/dev/app') =>
  told({ tool: 'Read', arguments: json({ file_path }), cwd })[0]?.['tool.real_file_path'];

describe('a tool call', () => {
  it('is told in the words of the plugin', () => {
    const shared = { agent: 'claude', session_id: 's', tool_call_id: 'c' };
    const given = '{ "file_path": "src/../a.ts", "content": "x" }';
    expect(told({ ...shared, tool: 'Write', arguments: given })).toEqual([
      {
        'agent.name': 'claude_code',
        'agent.os': 'linux',
        'agent.session_id': 's',
        'agent.cwd': '/home/dev/app',
        'agent.real_cwd': '/home/dev/app',
        'agent.real_cwd_prefix': '/home/dev/app/',
        'tool.use_id': 'c',
        'tool.name': 'Write',
        'tool.input': '{"file_path":"src/../a.ts","content":"x"}',
        'tool.input_command': '',
        'tool.file_path': 'src/../a.ts',
        'tool.real_file_path': '/home/dev/app/a.ts',
        'tool.patch_op': '',
      },
    ]);
  });

  it('of each shell is one of Bash', () => {
    const codex = { agent: 'codex', command: 'ls', arguments: '{"cmd":"ls","workdir":"/"}' };
    for (const tool of [{ tool: 'exec_command' }, {}])
      expect(told({ ...codex, ...tool })[0]).toMatchObject({
        'agent.name': 'codex',
        'tool.name': 'Bash',
        'tool.input': '{"command":"ls"}',
        'tool.input_command': 'ls',
      });
    const editor = { tool: 'str_replace_editor', command: 'view', arguments: '{"command":"view"}' };
    expect(told(editor)[0]).toMatchObject({
      'tool.name': 'str_replace_editor',
      'tool.input_command': '',
    });
  });

  it('of a server has its name', () => {
    expect(told({ tool: 'x', mcp_server: 'lab' })[0]?.['tool.name']).toBe('mcp__lab__x');
    expect(told({ tool: 'mcp__lab__x', mcp_server: 'lab' })[0]?.['tool.name']).toBe('mcp__lab__x');
  });

  it('has paths that are put straight', () => {
    expect(path('../../../../../etc/./passwd')).toBe('/etc/passwd');
    expect(path('/a//b/')).toBe('/a/b');
    expect(path('')).toBe('');
    expect(path('../a', '')).toBe('a');
    expect(told({ cwd: '/' })[0]).toMatchObject({ 'agent.real_cwd_prefix': '/' });
    expect(told({ cwd: '' })[0]).toMatchObject({ 'agent.real_cwd_prefix': '' });
  });

  it('is empty where nothing is known, and other events are none', () => {
    expect(told({})[0]).toMatchObject({ 'tool.name': '', 'tool.input': '{}' });
    const cut = '{"file_path":"/etc/passw';
    expect(told({ tool: 'Read', arguments: cut })[0]).toMatchObject({
      'tool.input': cut,
      'tool.file_path': '',
    });
    expect(told({ tool: 'Read', arguments: '{"file_path":7}' })[0]?.['tool.file_path']).toBe('');
    expect(toolCalls(recordView({ kind: 'tool.result', tool: 'Bash' }))).toEqual([]);
  });
});

describe('a patch', () => {
  const patch = [
    'before',
    '*** Begin Patch',
    '*** Add File: a b.txt',
    '+*** Add File: no',
    '*** Update File: ../old.rs',
    '*** Move to: /srv/new.rs',
    '@@',
    '-SECRET',
    '*** Delete File: c',
    '*** End Patch',
    '*** Add File: after',
  ].join('\r\n');

  it.each([
    ['as it is', patch],
    ['in JSON', json({ input: patch })],
    ['as the hook has it', json({ command: patch })],
  ])('%s is a call for each file', (_how, given) => {
    const files = told({ tool: 'apply_patch', arguments: given });
    const rows = files.map((one) => [
      one['tool.patch_op'],
      one['tool.real_file_path'],
      one['tool.input'].includes('SECRET'),
    ]);
    expect(rows).toEqual([
      ['Add', '/home/dev/app/a b.txt', false],
      ['Update', '/home/dev/old.rs', true],
      ['Move', '/srv/new.rs', true],
      ['Delete', '/home/dev/app/c', false],
    ]);
  });

  it('without an end is one call without a path', () => {
    const cut = patch.slice(0, -60);
    expect(told({ tool: 'apply_patch', arguments: cut })).toMatchObject([
      { 'tool.name': 'apply_patch', 'tool.patch_op': '', 'tool.input': cut },
    ]);
  });
});
