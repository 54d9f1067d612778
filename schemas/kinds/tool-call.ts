import { defineKind } from '../define.ts';
import { words } from '../words.ts';

export const toolCall = defineKind({
  kind: 'tool.call',
  doc: 'The agent calls a tool. Several channels may report one call: each adds what it knows.',
  role: 'call',
  required: [],
  optional: [
    'tool',
    'tool_namespace',
    'mcp_server',
    'arguments',
    'command',
    'cwd',
    'truncated',
    'attrs',
  ],
  summary: (e) => `call ${words(e.tool)}: ${words(e.command) || words(e.arguments)}`,
  samples: [
    {
      tool: 'exec_command',
      tool_namespace: 'functions',
      arguments: '{"cmd":"ls -la"}',
      command: 'ls -la',
      cwd: '/srv/app',
    },
    {
      tool: 'lookup',
      mcp_server: 'lab',
      arguments: '{"key":"alpha"}',
    },
  ],
});
