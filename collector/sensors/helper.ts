/**
 * The native form of the supervisor (`native/`): compiled when it is first wanted and kept in a
 * folder by the hash of its source. Nothing compiled is ever shipped.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { filterBytes } from './filter.ts';
import { shapeBytes } from './shapes.ts';

const SOURCES = fileURLToPath(new URL('./native/', import.meta.url));
const FLAGS = ['-O2', '-pthread'];
const COMPILE_MS_MAX = 60_000;
/** Of the random bytes that a successor writes first. */
export const MARK_BYTES = 32;
const WRITABLE_BY_OTHERS = 0o022;
/** The compiler finds its own parts by this; nothing else of an environment reaches it. */
const COMPILER_PATH = '/usr/local/bin:/usr/bin:/bin';

export interface HelperOptions {
  /** Where the program is kept. */
  readonly dir: string;
  /** The C compiler: a name or a path. */
  readonly compiler?: string;
}

const sha256 = (...pieces: readonly (Buffer | string)[]): string =>
  pieces.reduce((hash, piece) => hash.update(piece), createHash('sha256')).digest('hex');

/** Whether the file is ours alone and is what was compiled. */
function isIntact(program: string): boolean {
  try {
    const { uid, mode } = fs.statSync(program);
    const wanted = fs.readFileSync(`${program}.sha256`, 'latin1');
    const own = uid === process.getuid?.() && (mode & WRITABLE_BY_OTHERS) === 0;
    return own && sha256(fs.readFileSync(program)) === wanted;
  } catch {
    return false;
  }
}

/**
 * The path of the compiled program. Rejects with an `Error` that says why there is none: no
 * compiler, no headers, a folder that can't be written or a file system that can't be run from.
 */
export async function buildHelper(options: HelperOptions): Promise<string> {
  const { dir, compiler = 'cc' } = options;
  const names = fs.readdirSync(SOURCES).sort();
  const sources = names.map((name) => fs.readFileSync(path.join(SOURCES, name)));
  const program = path.join(dir, `sensor-${sha256(FLAGS.join(' '), ...sources).slice(0, 32)}`);
  if (isIntact(program)) return program;
  fs.mkdirSync(dir, { recursive: true, mode: 0o700 });
  const made = fs.mkdtempSync(path.join(dir, '.build-'));
  try {
    // Beside its last place, not below it: Landlock refuses moves from one folder to another.
    const fresh = `${made}.fresh`;
    const source = path.join(SOURCES, 'sensor.c');
    await promisify(execFile)(compiler, [...FLAGS, '-o', fresh, source], {
      // The compiler's own temporary files as well: in a sandbox this folder may be all there is.
      env: { PATH: COMPILER_PATH, TMPDIR: made },
      timeout: COMPILE_MS_MAX,
    });
    fs.chmodSync(fresh, 0o700);
    fs.writeFileSync(`${program}.sha256`, sha256(fs.readFileSync(fresh)));
    fs.renameSync(fresh, program);
  } catch (error) {
    const { code, stderr = '' } = error as { code?: string | number; stderr?: string };
    const first = stderr.split('\n').find((line) => line.includes('error')) ?? stderr.slice(0, 200);
    const why = code === 'ENOENT' ? `no C compiler "${compiler}"` : first || String(error);
    throw new Error(`the native supervisor can't be compiled: ${why}`);
  } finally {
    for (const rest of [made, `${made}.fresh`]) fs.rmSync(rest, { recursive: true, force: true });
  }
  return program;
}

export interface HelperSpec {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly keys: readonly string[];
  /** Absolute paths of files, and of directories for the files in them, whose reads are told. */
  readonly secrets: readonly string[];
  /** Whether a pidfd keeps the exit state (Linux from 6.15 on). */
  readonly exitState: boolean;
  /** Rung 2 instead of rung 1. */
  readonly ptrace: boolean;
  /** How long a reader that takes nothing holds the command up before stops are only counted. */
  readonly blockMs: number;
  /** 32 random bytes: a successor's first ones on the stream of frames. */
  readonly mark: Buffer;
  readonly root: boolean;
}

const FLAG_EXIT_STATE = 1;
const FLAG_PTRACE = 2;

const strings = (list: readonly string[]): Buffer =>
  Buffer.from(list.map((text) => `${text}\0`).join(''));

/** What the helper reads first on its control descriptor; native/sensor.c draws it. */
export function specBytes(spec: HelperSpec): Buffer {
  const { argv, env, cwd, keys, secrets, exitState, ptrace, blockMs, mark, root } = spec;
  const filter = filterBytes({ notifyExit: !exitState && !ptrace, keepDumpable: !root, ptrace });
  const parts = [
    mark,
    strings(argv),
    strings(Object.entries(env).map(([name, value]) => `${name}=${value}`)),
    Buffer.from(cwd),
    strings(keys),
    filter,
    strings(secrets),
    shapeBytes(),
  ];
  const head = Buffer.alloc(8);
  head.writeUInt32LE((exitState ? FLAG_EXIT_STATE : 0) | (ptrace ? FLAG_PTRACE : 0), 0);
  head.writeUInt32LE(blockMs, 4);
  const body = Buffer.concat([head, ...parts.flatMap((part) => [lengthOf(part), part])]);
  return Buffer.concat([lengthOf(body), body]);
}

function lengthOf(bytes: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(bytes.length);
  return length;
}
