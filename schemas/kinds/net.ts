import { defineKind } from '../define.ts';
import { words } from '../words.ts';

export const net = defineKind({
  kind: 'net',
  doc: 'A name was looked up, or a connection made or accepted.',
  role: 'effect',
  required: ['net_op'],
  optional: [
    'net_transport',
    'net_host',
    'net_ip',
    'net_port',
    'net_path',
    'http_method',
    'url',
    'net_bytes_in',
    'net_bytes_out',
    'duration_ns',
    'outcome',
    'error',
    'attrs',
  ],
  summary: (e) =>
    `net ${words(e.net_op)} ${words(e.net_host) || words(e.net_path)} ${words(e.net_ip)}${e.net_port === undefined ? '' : `:${words(e.net_port)}`}`,
  samples: [
    {
      net_op: 'connect',
      net_transport: 'tcp',
      net_ip: '127.0.0.1',
      net_port: 8080,
      net_host: 'localhost',
    },
    {
      net_op: 'dns',
      net_transport: 'udp',
      net_host: 'evil.example.com',
    },
  ],
});
