import { defineKind } from '../define.ts';
import { words } from '../words.ts';

export const policyDecision = defineKind({
  kind: 'policy.decision',
  doc: 'A network, filesystem or command rule decided; or the sandbox refused.',
  role: 'policy',
  required: ['decision', 'policy_type'],
  optional: [
    'decided_by',
    'rule',
    'policy',
    'policy_version',
    'scope',
    'reason',
    'tool',
    'net_host',
    'net_ip',
    'net_port',
    'http_method',
    'url',
    'file_path',
    'command',
    'attrs',
  ],
  summary: (e) =>
    `policy ${words(e.decision)} ${words(e.policy_type)} ${words(e.net_host) || words(e.file_path) || words(e.command)}${e.net_port === undefined ? '' : `:${words(e.net_port)}`}`,
  samples: [
    {
      decision: 'deny',
      policy_type: 'network',
      decided_by: 'policy',
      net_host: 'evil.example.com',
      net_port: 80,
      http_method: 'POST',
      reason: 'denied',
    },
    {
      decision: 'deny',
      policy_type: 'filesystem',
      decided_by: 'sandbox',
      file_path: '/etc/x',
    },
  ],
});
