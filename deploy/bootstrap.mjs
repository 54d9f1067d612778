// The one command of a fresh clone: installs from the lock file and builds when needed, then runs.
//   node deploy/bootstrap.mjs test|check|start|demo|telltale|live|script [arguments …]
// Plain JavaScript with no dependency, because it runs before there are any.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '..');
const [task = 'help', ...rest] = process.argv.slice(2);
const bin = (name) => path.join(root, 'node_modules', '.bin', name);

function run(command, args, options = {}) {
  const done = spawnSync(command, args, { cwd: root, stdio: 'inherit', ...options });
  if (done.error) throw done.error;
  if (done.status !== 0) process.exit(done.status ?? 1);
}

function digest(files) {
  const hash = createHash('sha256');
  for (const file of files) hash.update(file).update(fs.readFileSync(path.join(root, file)));
  return hash.digest('hex');
}

const read = (file) => (fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : '');

/** Installs exactly the lock file, with no install script run, when node_modules is not of it. */
function install() {
  const stamp = path.join(root, 'node_modules', '.telltale-lock');
  const wanted = digest(['package.json', 'package-lock.json']);
  if (read(stamp) === wanted) return;
  console.error('telltale: installing packages from the lock file');
  run('npm', ['ci', '--ignore-scripts', '--loglevel=error'], { stdio: ['ignore', 2, 2] });
  fs.writeFileSync(stamp, wanted);
}

function sources(folder) {
  return fs.readdirSync(path.join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const name = path.join(folder, entry.name);
    return entry.isDirectory() ? sources(name) : [name];
  });
}

/** Compiles to dist/ when a source is other than at the last build. */
function build() {
  const folders = ['schemas', 'collector', 'ingest', 'query', 'deploy'];
  const files = [...folders.flatMap(sources).sort(), 'tsconfig.json', 'tsconfig.build.json'];
  const stamp = path.join(root, 'dist', '.sources');
  const wanted = digest([...files, 'package.json']);
  if (read(stamp) === wanted) return;
  console.error('telltale: building');
  fs.rmSync(path.join(root, 'dist'), { recursive: true, force: true });
  run(bin('tsc'), ['-p', 'tsconfig.build.json'], { stdio: ['ignore', 2, 2] });
  run(process.execPath, ['deploy/assets.mjs'], { stdio: ['ignore', 2, 2] });
  fs.writeFileSync(stamp, wanted);
}

/** Hands over to a long-running command: its signals are ours, its exit code too. */
function become(command, args, { cwd = root, env = {} } = {}) {
  const child = spawn(command, args, {
    cwd,
    stdio: 'inherit',
    env: { ...process.env, ...env },
  });
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => {
    console.error(`telltale: ${command}: ${error.message}`);
    process.exit(1);
  });
  child.on('exit', (code, signal) => process.exit(signal ? 128 : (code ?? 1)));
}

const cli = path.join(root, 'dist', 'deploy', 'cli.js');
const node = process.execPath;
/** The embedded engine runs a query a libuv thread; read by node at its start only. */
const threads = { UV_THREADPOOL_SIZE: process.env.UV_THREADPOOL_SIZE ?? '16' };
const source = ['--conditions=telltale-source', '--import', 'tsx'];
const tasks = {
  test: () => become(bin('vitest'), ['run', ...rest]),
  check: () => {
    run(bin('biome'), ['check', '--error-on-warnings', '.']);
    run(bin('tsc'), ['--noEmit', '-p', '.']);
    run(node, [...source, 'deploy/gen.ts', '--check']);
    become(bin('vitest'), ['run', '--project', 'unit', ...rest]);
  },
  start: () =>
    become(node, [cli, 'up', '--data', path.join(root, '.telltale'), ...rest], { env: threads }),
  demo: () => become(node, [path.join(root, 'dist', 'deploy', 'demo', 'demo.js'), ...rest]),
  // npm changes to the package's folder; the user's own is in INIT_CWD.
  telltale: () => become(node, [cli, ...rest], { cwd: process.env.INIT_CWD ?? process.cwd() }),
  live: () => become(node, [...source, 'test/live/main.ts', ...rest]),
  script: () => become(node, [...source, ...rest]),
};

if (!(task in tasks)) {
  console.error(`usage: node deploy/bootstrap.mjs ${Object.keys(tasks).join('|')}`);
  process.exit(2);
}
install();
build();
tasks[task]();
