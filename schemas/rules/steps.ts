/**
 * The steps of a session as words out of a small vocabulary, for the learned baseline: what kind of
 * event, which tool or program, which sort of path and of host, how it ended, each by class. Names
 * that an agent makes up become the class they belong to, so the vocabulary stays small.
 */
import type { TelltaleEvent } from '../registry.ts';
import { compileCidr } from './cidr.ts';
import { compileFolded } from './eql/wildcard.ts';

type Classes = readonly (readonly [name: string, patterns: readonly string[]])[];

/** Wildcards over the name of a program, without its folder. */
const PROGRAMS: Classes = [
  ['shell', ['sh', 'bash', 'dash', 'zsh', 'ash', 'ksh', 'fish']],
  [
    'network',
    ['curl', 'wget', 'nc', 'ncat', 'netcat', 'socat', 'ssh', 'scp', 'sftp', 'rsync', 'ftp'],
  ],
  [
    'package',
    ['npm', 'npx', 'pnpm', 'yarn', 'pip*', 'uv', 'cargo', 'apt*', 'dpkg', 'go', 'gem', 'brew'],
  ],
  ['vcs', ['git*', 'gh', 'hg', 'svn']],
  ['privilege', ['sudo', 'su', 'doas', 'pkexec', 'chroot', 'nsenter', 'unshare', 'setpriv']],
  ['container', ['docker', 'podman', 'nerdctl', 'kubectl', 'helm', 'runc']],
  ['cloud', ['aws', 'gcloud', 'gsutil', 'az', 'terraform']],
  ['archive', ['tar', 'gzip', 'gunzip', 'zip', 'unzip', 'xz', 'zstd', 'base64', '7z', 'openssl']],
  [
    'process',
    ['kill', 'pkill', 'killall', 'ps', 'top', 'systemctl', 'service', 'crontab', 'at', 'nohup'],
  ],
  [
    'probe',
    ['id', 'whoami', 'uname', 'hostname', 'mount', 'dmesg', 'env', 'printenv', 'ip', 'ss', 'lsof'],
  ],
  ['remove', ['rm', 'shred', 'truncate', 'unlink', 'rmdir']],
  [
    'read',
    ['cat', 'head', 'tail', 'less', 'more', 'grep', 'rg', 'find', 'fd', 'ls', 'wc', 'stat', 'file'],
  ],
  [
    'edit',
    ['sed', 'awk', 'cp', 'mv', 'mkdir', 'touch', 'tee', 'patch', 'chmod', 'chown', 'ln', 'install'],
  ],
  [
    'build',
    [
      'make',
      'cmake',
      'ninja',
      'gcc',
      'g++',
      'cc',
      'clang*',
      'ld',
      'tsc',
      'javac',
      'mvn',
      'gradle*',
    ],
  ],
  ['test', ['pytest*', 'jest', 'vitest', 'mocha', 'rspec', 'ctest']],
  ['interpreter', ['node*', 'python*', 'perl', 'ruby', 'php', 'deno', 'bun', 'java', 'lua*']],
];
const TOOLS: Classes = [
  ['mcp', ['mcp__*']],
  ['shell', ['bash', 'shell*', 'exec*', 'run*', 'local_shell', 'terminal*']],
  ['web', ['web*', 'fetch*', 'browser*', 'google_web_search']],
  [
    'write',
    ['write*', 'edit*', 'multiedit', 'apply_patch', 'str_replace*', 'notebookedit', 'create*'],
  ],
  ['search', ['grep', 'glob', 'search*', 'find*', 'ls', 'list*']],
  ['read', ['read*', 'view*', 'open*', 'cat']],
  ['agent', ['task', 'agent*', 'spawn*']],
];
const PATHS: Classes = [
  [
    'secret',
    [
      '*/.ssh/*',
      '*/.aws/*',
      '*/.gnupg/*',
      '*/.kube/*',
      '*/.netrc',
      '*/.env*',
      '/etc/shadow',
      '*/.config/gcloud/*',
    ],
  ],
  [
    'agent_config',
    [
      '*/.claude/*',
      '*/.codex/*',
      '*/.gemini/*',
      '*/.cursor/*',
      '*/agents.md',
      '*/claude.md',
      '*/.mcp.json',
    ],
  ],
  [
    'start_up',
    [
      '*/.bashrc',
      '*/.profile',
      '*/.zshrc',
      '/etc/cron*',
      '*/.config/systemd/*',
      '/etc/systemd/*',
      '*/.git/hooks/*',
    ],
  ],
  ['repository', ['*/.git/*']],
  [
    'dependency',
    ['*/node_modules/*', '*/.venv/*', '*/site-packages/*', '*/.cargo/*', '*/.npm/*', '*/.cache/*'],
  ],
  ['temporary', ['/tmp/*', '/var/tmp/*', '/dev/shm/*']],
  [
    'test',
    ['*/test/*', '*/tests/*', '*/__tests__/*', '*.test.*', '*.spec.*', '*/test_*', '*_test.*'],
  ],
  [
    'system',
    ['/etc/*', '/usr/*', '/bin/*', '/sbin/*', '/lib*', '/opt/*', '/var/*', '/boot/*', '/root/*'],
  ],
  ['kernel', ['/proc/*', '/sys/*', '/dev/*']],
];
const HOSTS: Classes = [
  [
    'model',
    ['*.anthropic.com', '*.openai.com', 'chatgpt.com', 'generativelanguage.googleapis.com'],
  ],
  [
    'registry',
    [
      'registry.*',
      'pypi.org',
      'files.pythonhosted.org',
      '*crates.io',
      'proxy.golang.org',
      '*.debian.org',
      '*.ubuntu.com',
    ],
  ],
  ['vcs', ['github.com', '*.github.com', '*.githubusercontent.com', 'gitlab.com', 'bitbucket.org']],
  ['metadata', ['169.254.169.254', 'metadata.google.internal']],
  ['local', ['localhost', '*.local', '*.internal', '127.*', '::1']],
];

const compile = (classes: Classes) =>
  classes.map(([name, patterns]) => ({ name, matches: compileFolded(patterns) }));
const [programs, tools, paths, hosts] = [PROGRAMS, TOOLS, PATHS, HOSTS].map(compile) as [
  ReturnType<typeof compile>,
  ReturnType<typeof compile>,
  ReturnType<typeof compile>,
  ReturnType<typeof compile>,
];
const PRIVATE = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7', 'fe80::/10'].map(
  (block) => compileCidr(block),
);

function classOf(classes: ReturnType<typeof compile>, text: unknown): string {
  if (typeof text !== 'string') return '-';
  const folded = text.toLowerCase();
  return classes.find(({ matches }) => matches(folded))?.name ?? 'other';
}

function hostClass(host: unknown, address: unknown): string {
  const named = classOf(hosts, host ?? address);
  if (named !== 'other') return named;
  const inside = PRIVATE.some((block) => block.ok && block.contains(String(address ?? host)));
  return inside ? 'private' : 'other';
}

type Loose = Readonly<Record<string, unknown>>;

/**
 * The token of a step, such as `exec:network:-:-:success`; undefined for what is no step of the
 * agent (the protocol's own events, and those that are stored and not sensed).
 */
export function stepToken(event: TelltaleEvent, role: string): string | undefined {
  if (role === 'protocol' || role === 'stored') return undefined;
  const loose = event as unknown as Loose;
  const exe =
    typeof loose.exe === 'string' ? loose.exe.slice(loose.exe.lastIndexOf('/') + 1) : undefined;
  const actor = exe === undefined ? classOf(tools, loose.tool) : classOf(programs, exe);
  const operation = loose.file_op ?? loose.net_op ?? loose.decision;
  const kind = operation === undefined ? event.kind : `${event.kind}/${String(operation)}`;
  const contacted = loose.net_host !== undefined || loose.net_ip !== undefined;
  const host = contacted ? hostClass(loose.net_host, loose.net_ip) : '-';
  const code = loose.exit_code;
  const ended = typeof code === 'number' ? (code === 0 ? 'success' : 'failure') : undefined;
  const outcome = loose.outcome ?? ended ?? '-';
  return [kind, actor, classOf(paths, loose.file_path), host, String(outcome)].join(':');
}
