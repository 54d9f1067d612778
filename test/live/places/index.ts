/**
 * Places to run in: the collector within each kind of sandbox, and the command within each kind.
 * In each: which rung the ladder took and why not a higher one, whether all that the workload did
 * is stored or declared as lost, and whether the process tree is right. Prints a table.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { root, say } from '../processes.ts';
import type { Seen } from './inner.ts';
import { makePrograms } from './programs.ts';

const NOBODY = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];
/** What a container has by default (moby, oci/caps/defaults.go). */
const CONTAINER_CAPS =
  '-all,+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,' +
  '+net_bind_service,+net_raw,+sys_chroot,+mknod,+audit_write,+setfcap';
const PLACE_MS_MAX = 60_000;

interface Tools {
  readonly dir: string;
  readonly bwrap: string;
}
interface Place {
  readonly name: string;
  /** Around the collector. */
  readonly outside?: (tools: Tools) => readonly string[];
  /** Around the command, below the sensor. */
  readonly inside?: (tools: Tools) => readonly string[];
  /** Where the rung is known beforehand: what is tested. */
  readonly rung?: number;
}

const bubble = ({ bwrap, dir }: Tools) => [
  ...[bwrap, '--unshare-all', '--die-with-parent', '--ro-bind', '/', '/', '--proc', '/proc'],
  ...['--dev', '/dev', '--bind', dir, dir],
];
const helper = (name: string) => (tools: Tools) => [path.join(tools.dir, 'helper', name)];
const filtered = (kind: string) => (tools: Tools) => [...helper('filter')(tools), kind];
const landlocked = (tools: Tools) => [...helper('landlock')(tools), tools.dir];
const userNamespace = ['unshare', '--user', '--map-root-user'];
/** The root of the machine, mounted anew in a namespace of mounts, as the new root. */
const newRoot = ({ dir }: Tools) => [
  ...['unshare', '--mount', 'sh', '-c'],
  'mkdir -p "$0/root" && mount --rbind / "$0/root" && exec chroot "$0/root" "$@"',
  dir,
];

const PLACES: readonly Place[] = [
  { name: 'root', rung: 1 },
  { name: 'nobody (setpriv)', outside: () => NOBODY, rung: 1 },
  {
    name: 'nobody (su)',
    outside: () => ['su', 'nobody', '-s', '/bin/sh', '-c', 'exec "$0" "$@"', '--'],
    rung: 1,
  },
  { name: 'user namespace', outside: () => userNamespace, rung: 1 },
  { name: 'nobody, user namespace', outside: () => [...NOBODY, ...userNamespace], rung: 1 },
  { name: 'bubblewrap --unshare-all', outside: bubble, rung: 1 },
  { name: 'nobody, bubblewrap', outside: (tools) => [...NOBODY, ...bubble(tools)], rung: 1 },
  { name: 'Landlock', outside: landlocked, rung: 1 },
  { name: 'chroot', outside: newRoot, rung: 1 },
  {
    name: 'a container’s capabilities',
    outside: () => ['setpriv', `--bounding-set=${CONTAINER_CAPS}`, '--inh-caps=-all'],
    rung: 1,
  },
  { name: 'a listener is there', outside: filtered('listener'), rung: 2 },
  { name: 'ptrace is refused', outside: filtered('ptrace'), rung: 1 },
  { name: 'seccomp and ptrace are refused', outside: filtered('neither'), rung: 4 },
  { name: 'root; the command in bubblewrap', inside: bubble, rung: 1 },
  { name: 'root; in a user namespace', inside: () => userNamespace, rung: 1 },
  { name: 'root; under Landlock', inside: landlocked, rung: 1 },
  { name: 'root; in a chroot', inside: newRoot, rung: 1 },
  { name: 'root; as nobody', inside: () => NOBODY, rung: 1 },
  { name: 'root; with a filter (ERRNO)', inside: filtered('ptrace'), rung: 1 },
  { name: 'root; wants a listener', inside: filtered('listener'), rung: 1 },
  {
    name: 'nobody; the command in bubblewrap',
    outside: () => NOBODY,
    inside: bubble,
    rung: 1,
  },
];

/** bwrap: the machine's own, or out of Debian's package, unpacked only. */
function findBubblewrap(cache: string): string {
  if (spawnSync('bwrap', ['--version']).status === 0) return 'bwrap';
  const unpacked = path.join(cache, 'usr/bin/bwrap');
  if (fs.existsSync(unpacked)) return unpacked;
  fs.mkdirSync(cache, { recursive: true });
  const options = {
    cwd: cache,
    stdio: ['ignore', 'ignore', 'inherit'] as ['ignore', 'ignore', 'inherit'],
  };
  execFileSync('apt-get', ['download', '-q', 'bubblewrap'], options);
  const file = fs.readdirSync(cache).find((name) => name.endsWith('.deb'));
  execFileSync('dpkg', ['-x', file ?? '', '.'], options);
  return unpacked;
}

function visit(place: Place, bwrap: string, programs: string): Seen {
  const dir = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-place-')));
  try {
    const mine = path.join(dir, 'it');
    fs.mkdirSync(mine, { mode: 0o777 });
    execFileSync('cp', ['-a', programs, path.join(mine, 'helper')]);
    for (const open of [dir, mine]) fs.chmodSync(open, 0o777);
    const tools = { dir: mine, bwrap };
    const loader = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;
    const source = ['--conditions=telltale-source', '--import', loader];
    const argv = [
      ...(place.outside?.(tools) ?? []),
      ...[process.execPath, ...source, path.join(import.meta.dirname, 'inner.ts'), mine],
      ...(place.inside?.(tools) ?? []),
    ];
    const env = { PATH: process.env.PATH ?? '', HOME: mine, TMPDIR: mine, LC_ALL: 'C' };
    const [program = '', ...args] = argv;
    const options = { cwd: root, env, timeout: PLACE_MS_MAX, encoding: 'utf8' as const };
    const done = spawnSync(program, args, options);
    const line = done.stdout.trim().split('\n').at(-1) ?? '';
    if (line.startsWith('{')) return JSON.parse(line) as Seen;
    throw new Error(`exit ${done.status} ${done.signal ?? ''}: ${done.stderr.slice(-400)}`);
  } finally {
    execFileSync('rm', ['-rf', '--one-file-system', dir]);
  }
}

const column = (text: string) => text.replaceAll('|', '/').replaceAll('\n', ' ');

function row(name: string, seen: Seen): string {
  const counts = `${seen.produced} = ${seen.stored} + ${seen.gap}`;
  const chain = `${seen.numbered} = ${seen.lines}`;
  const tree = seen.tree.length === 0 ? 'right' : seen.tree.join(', ');
  const how = [seen.supervisor, seen.noNewPrivs ? 'no_new_privs' : ''];
  return `| ${[
    name,
    `${seen.rung} ${seen.sensor ?? 'none'}, ${seen.coverage}`,
    how.filter((one) => one !== '').join(', '),
    seen.rung === 4 ? 'nothing is claimed' : `${counts}; ${chain}; tree ${tree}`,
    seen.setuid ?? '',
    [...seen.refused, seen.fault ?? ''].filter((one) => one !== '').join('; '),
  ]
    .map(column)
    .join(' | ')} |`;
}

/** Whether all that was done is stored or declared, and the rung is the one to be expected. */
const isGood = (place: Place, seen: Seen): boolean =>
  seen.fault === undefined &&
  seen.exitCode === 7 &&
  seen.produced > 0 &&
  seen.numbered === seen.lines &&
  seen.tree.length === 0 &&
  (seen.rung === 4 || seen.produced === seen.stored + seen.gap) &&
  (place.rung === undefined || seen.rung === place.rung);

/** Goes through all places; `good` only when each is as it must be. */
export async function places() {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-places-'));
  makePrograms(path.join(dir, 'helper'));
  const bwrap = findBubblewrap(path.join(root, '.cache', 'bubblewrap'));
  const bad: string[] = [];
  process.stdout.write(
    '| place | rung | how | done = stored + gap; numbered = spooled | set-user-id | refused |\n',
  );
  process.stdout.write('|---|---|---|---|---|---|\n');
  for (const place of PLACES) {
    try {
      const seen = visit(place, bwrap, path.join(dir, 'helper'));
      process.stdout.write(`${row(place.name, seen)}\n`);
      if (!isGood(place, seen)) bad.push(place.name);
    } catch (error) {
      say(`${place.name}: ${error}`);
      bad.push(place.name);
    }
  }
  return { good: bad.length === 0, places: PLACES.length, bad, dir };
}
