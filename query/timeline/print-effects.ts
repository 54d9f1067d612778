/** What was caused, as lines for a terminal: programs as a tree, files, connections. */
import type { Attribution } from './attribution.ts';
import type { Connection, Effects, FileChange, FileFate, ProcessLine } from './effects.ts';
import { escapeText, fitPath, fitText, shellWords, widthOf } from './escape.ts';
import { foldFiles } from './fold.ts';
import { count, duration, groups, type Paint, size, tally } from './format.ts';
import type { Process } from './processes.ts';

export interface Frame {
  readonly paint: Paint;
  /** Columns for these lines. */
  readonly columns: number;
  readonly cwd: string | undefined;
  readonly verbose: boolean;
}

/** Lines of each sort under one call. */
const PROCESSES_MAX = 12;
const FILES_MAX = 8;
const CONNECTIONS_MAX = 8;

const MARKS: Readonly<Record<FileFate, string>> = {
  created: '+',
  written: '~',
  deleted: '-',
  temporary: '±',
  renamed: '>',
  linked: '@',
  mode: 'm',
  read: 'r',
  failed: 'x',
};

/** How the event was tied to the call, where that is not beyond doubt. */
function how({ method, confidencePct, recorded }: Attribution): string {
  return recorded || method === 'unattributed' || method === 'ancestry'
    ? ''
    : `by ${method}, ${confidencePct} %`;
}

/** Left part cut to what the right one leaves; the right one stands at the edge. */
export function sides(left: string, right: string, columns: number, paintRight: string): string {
  const gap = Math.max(1, columns - widthOf(left) - widthOf(right));
  return right === '' ? left : `${left}${' '.repeat(gap)}${paintRight}`;
}

/** Facts for the edge of a line, of which the other end keeps its part; safe already. */
const atEdge = (facts: readonly string[], columns: number): string =>
  fitText(facts.filter((text) => text !== '').join('  '), Math.floor(columns / 2));

/** What a process ran: each program after the one it replaced. */
export function programOf(process: Process): string {
  const names = process.images.map(({ argv, exe }) => (argv.length > 0 ? shellWords(argv) : exe));
  const last = names.at(-1) ?? '(forked, ran no program)';
  const before = names.slice(0, -1).map((name) => name.split(' ', 1)[0] ?? '');
  return [...before.filter((name, at) => name !== before[at - 1]), last].join(' → ');
}

function endOf(process: Process): { text: string; bad: boolean } {
  const { exitCode, exitSignal, startedNs, endedNs } = process;
  const took = endedNs === undefined ? '' : duration(Number(BigInt(endedNs) - BigInt(startedNs)));
  if (exitSignal !== undefined) return { text: `${escapeText(exitSignal)} · ${took}`, bad: true };
  if (exitCode !== undefined) return { text: `exit ${exitCode} · ${took}`, bad: exitCode !== 0 };
  return { text: endedNs === undefined ? 'end not seen' : took, bad: false };
}

/** Deeper levels are told by their number: a chain of forks is as deep as its author likes. */
const GUIDE_LEVELS_MAX = 16;

/** The guides of a tree, one per line; `depth` and `last` are as `ProcessLine` has them. */
function guides(lines: readonly ProcessLine[]): string[] {
  const open: boolean[] = [];
  return lines.map(({ depth, last }) => {
    if (depth > GUIDE_LEVELS_MAX) return `… ${depth} deep ─ `;
    open[depth] = !last;
    const up = open.slice(1, depth).map((more) => (more ? '│  ' : '   '));
    return depth === 0 ? '' : `${up.join('')}${last ? '└─ ' : '├─ '}`;
  });
}

function processLine(line: ProcessLine, guide: string, frame: Frame): string[] {
  const { paint, columns, verbose } = frame;
  const { process } = line;
  const end = endOf(process);
  const doubt = how(line.attribution);
  const right = atEdge([doubt, end.text], columns);
  const pid = verbose ? `${process.pid} ` : '';
  const deep =
    widthOf(guide) > columns / 3 ? `${guide.slice(0, Math.floor(columns / 3))}… ` : guide;
  const head = `$ ${deep}${pid}`;
  const room = Math.max(12, columns - widthOf(head) - widthOf(right) - 2);
  const left = `${head}${fitText(programOf(process), room)}`;
  const painted = end.bad ? paint.bad(right) : paint.dim(right);
  const failed = process.failed.map(
    ({ exe, argv, error }) =>
      `${' '.repeat(widthOf(head))}${paint.warn(`! could not run ${fitText(shellWords(argv.length > 0 ? argv : [exe]), room - 20)}: ${fitText(error ?? '', 18)}`)}`,
  );
  const shown =
    process.images.length === 0 && failed.length > 0 ? [] : [sides(left, right, columns, painted)];
  return [...shown, ...failed];
}

function processLines(lines: readonly ProcessLine[], frame: Frame): string[] {
  const ran = lines.filter(({ process }) => process.images.length > 0 || process.failed.length > 0);
  const shown = frame.verbose ? ran : ran.slice(0, PROCESSES_MAX);
  const marks = guides(shown);
  const out = shown.flatMap((line, at) => processLine(line, marks[at] ?? '', frame));
  const rest = ran.slice(shown.length);
  if (rest.length === 0) return out;
  const names = rest.map(({ process }) => baseName(process.images.at(-1)?.exe ?? '?'));
  const bad = rest.filter(({ process }) => endOf(process).bad).length;
  const more = `… and ${count(rest.length, 'more process', 'more processes')}: ${tally(names, 5)}`;
  const end = bad === 0 ? '' : `, ${bad} of them failed`;
  return [...out, frame.paint.dim(`  ${fitText(more + end, frame.columns - 2)}`)];
}

const baseName = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

/** A path below the working directory without it. */
export function shortPath(path: string, cwd: string | undefined): string {
  if (cwd === undefined || cwd === '/' || cwd === '') return path;
  return path.startsWith(`${cwd}/`) ? path.slice(cwd.length + 1) : path;
}

function fileLine(file: FileChange, frame: Frame): string {
  const { paint, columns, cwd } = frame;
  const doubt = how(file.attribution);
  const facts = [
    doubt,
    file.seen ? '' : 'only reported',
    file.fate === 'failed' ? `failed ${fitText(file.error ?? '', 20)}` : '',
    file.bytes === undefined ? '' : size(file.bytes),
    file.count > 1 ? `×${groups(file.count)}` : '',
    file.fate,
  ];
  const right = atEdge(facts, columns);
  const target = file.target === undefined ? '' : ` -> ${shortPath(file.target, cwd)}`;
  const room = Math.max(12, columns - widthOf(right) - 4);
  const left = `${MARKS[file.fate]} ${fitPath(`${shortPath(file.path, cwd)}${target}`, room)}`;
  const alarming = file.fate === 'deleted' || file.fate === 'failed' || file.fate === 'read';
  return sides(left, right, columns, alarming ? paint.warn(right) : paint.dim(right));
}

function fileLines(files: readonly FileChange[], frame: Frame): string[] {
  const max = frame.verbose ? Number.POSITIVE_INFINITY : FILES_MAX;
  return foldFiles(files, frame.cwd, max).map((line) => {
    if (line.type === 'file') return fileLine(line.file, frame);
    const fates = [...line.fates].map(([fate, n]) => `${groups(n)} ${fate}`).join(', ');
    const where = shortPath(line.path, frame.cwd) || './';
    const what = `… and ${count(line.files.length, 'more file')} under `;
    const room = Math.max(12, frame.columns - widthOf(what) - widthOf(fates) - 3);
    return `${frame.paint.dim(what)}${fitPath(where, room)} ${frame.paint.dim(`(${fates})`)}`;
  });
}

/** A peer in words: host and address, or the path of a socket. */
export function peerOf(connection: Pick<Connection, 'host' | 'ip' | 'port' | 'path'>): string {
  const { host, ip, port, path } = connection;
  const address = ip === undefined ? undefined : ip.includes(':') ? `[${ip}]` : ip;
  const names = [host, address].filter((name) => name !== undefined && name !== '');
  const peer = names.length === 2 && host !== ip ? `${names[0]} (${names[1]})` : (names[0] ?? path);
  return `${peer ?? '?'}${port === undefined ? '' : `:${port}`}`;
}

function connectionLine(connection: Connection, frame: Frame): string {
  const { paint, columns } = frame;
  const { verdict, error, op } = connection;
  const rule = verdict?.rule ?? verdict?.by;
  const by = rule === undefined ? '' : ` by ${fitText(rule, 24)}`;
  const facts = [
    how(connection.attribution),
    error === undefined ? '' : `failed ${fitText(error, 24)}`,
    connection.count > 1 ? `×${groups(connection.count)}` : '',
    verdict === undefined ? '' : `${escapeText(verdict.decision)}${by}`,
  ];
  const right = atEdge(facts, columns);
  const head = `⇄ ${escapeText(op)} `;
  const room = Math.max(12, columns - widthOf(right) - widthOf(head) - 2);
  const left = `${head}${fitText(connection.url ?? peerOf(connection), room)}`;
  const painted =
    verdict?.decision === 'deny' || error !== undefined ? paint.bad(right) : paint.dim(right);
  return sides(left, right, columns, painted);
}

/** All lines of what was caused, none indented. */
export function effectLines(effects: Effects, frame: Frame): string[] {
  const { connections } = effects;
  const shown = frame.verbose ? connections : connections.slice(0, CONNECTIONS_MAX);
  const rest = connections.slice(shown.length);
  const more =
    rest.length === 0
      ? []
      : [
          frame.paint.dim(
            fitText(
              `… and ${count(rest.length, 'more connection')}: ${tally(rest.map(peerOf), 5)}`,
              frame.columns,
            ),
          ),
        ];
  return [
    ...processLines(effects.processes, frame),
    ...fileLines(effects.files, frame),
    ...shown.map((connection) => connectionLine(connection, frame)),
    ...more,
  ];
}
