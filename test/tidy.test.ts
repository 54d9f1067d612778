/**
 * The style guide as a test: which way imports point, who may touch what, how large things get.
 * Each rule is a pure function over files, so that it is shown to find a fault as well.
 */
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { REGISTRY } from '#schemas';

interface SourceFile {
  /** Relative to the root, with forward slashes. */
  readonly path: string;
  readonly text: string;
}
/** What breaks the rule, a line each: `path:line what`. */
type Rule = (files: readonly SourceFile[]) => string[];

const FILE_LINES_MAX = 400;
/** Of a function itself, without the functions that are declared in it. */
const FUNCTION_LINES_MAX = 70;
/**
 * Of a function with those in it. Each `createX` is a closure where others have a class, so it is
 * longer than one step. The longest of the tree has about 150: a ceiling, not a thing to aim at.
 */
const FACTORY_LINES_MAX = 160;
const LINE_COLUMNS_MAX = 100;

/** One function each that is a table, a line an entry: what of libc is called. Lines of its own. */
const TABLES: Readonly<Record<string, number>> = { 'collector/sensors/native.ts': 90 };

const ROOT = path.resolve(import.meta.dirname, '..');
/** What installing, building and running leaves behind; all of it stands in .gitignore. */
const MADE = new Set(['node_modules', 'dist', '.git', '.cache', '.telltale', 'coverage']);
const TOP_LEVEL = new Set([
  ...['collector', 'ingest', 'query', 'schemas', 'deploy', 'test'],
  ...['package.json', 'package-lock.json', 'tsconfig.json', 'tsconfig.build.json', 'biome.json'],
  ...['vitest.config.ts', '.ci', '.gitignore', '.npmrc', 'README.md', 'LICENSE'],
]);
const ROOMS = ['schemas', 'collector', 'ingest', 'query', 'deploy', 'test'] as const;
/** What a room may import of ours, besides itself. */
const MAY_IMPORT: Readonly<Record<(typeof ROOMS)[number], readonly string[]>> = {
  schemas: [],
  collector: ['schemas'],
  ingest: ['schemas'],
  query: ['schemas'],
  deploy: ['schemas', 'collector', 'ingest', 'query'],
  test: ROOMS,
};
/** Where a package may be imported; a path that ends with a slash is a folder. */
const CLIENTS: Readonly<Record<string, readonly string[]>> = {
  kafkajs: [
    'collector/ship.ts',
    'ingest/consume.ts',
    'ingest/detect/topic.ts',
    'deploy/kafka/topics.ts',
    // Asks a broker for its answer only; it neither sends nor reads a message.
    'deploy/doctor/kafka.ts',
    'test/',
  ],
  '@clickhouse/client': ['deploy/stores/', 'test/'],
  chdb: ['deploy/stores/', 'test/'],
};
/** What is started by a person or as a process of its own, so that nothing imports it. */
const ENTRIES = [
  'deploy/cli.ts',
  'deploy/gen.ts',
  'deploy/demo/demo.ts',
  'deploy/demo/agent.ts',
  'deploy/kafka/guard-main.ts',
  'collector/sensors/supervisor.ts',
  'collector/sensors/launcher.ts',
  // What agents import: `telltale/sdk`.
  'collector/sdk/index.ts',
  // A Kafka of several brokers that tests fail over; it is run by them alone.
  'deploy/kafka/cluster.ts',
];
/** Processes of their own: they have no caller whom a thrown error could reach. */
const MAY_EXIT = [
  'deploy/',
  'test/',
  'collector/sensors/supervisor.ts',
  'collector/sensors/launcher.ts',
];

const under = (file: string, places: readonly string[]) =>
  places.some((place) => (place.endsWith('/') ? file.startsWith(place) : file === place));
const roomOf = (file: string) => (file.includes('/') ? (file.split('/')[0] as string) : '');
const isSource = ({ path: name }: SourceFile) => name.endsWith('.ts') && !name.startsWith('test/');

/** Files of ours below a folder, found by walking: a clone may be an archive without git. */
function walk(dir: string, prefix = ''): string[] {
  return fs.readdirSync(dir, { withFileTypes: true }).flatMap((entry) => {
    if (MADE.has(entry.name) || entry.name.endsWith('.log')) return [];
    const name = `${prefix}${entry.name}`;
    return entry.isDirectory() ? walk(path.join(dir, entry.name), `${name}/`) : [name];
  });
}

const TEXT = /\.(ts|mjs|json|md|sql|graphql|yaml|properties|xml)$|^\.ci\//;
const OTHERS_TEXT = ['package-lock.json', 'test/fixtures/'];
const FILES: readonly SourceFile[] = walk(ROOT)
  .filter((name) => TEXT.test(name) && !under(name, OTHERS_TEXT))
  .map((name) => ({ path: name, text: fs.readFileSync(path.join(ROOT, name), 'utf8') }));

/** Lines without comments and, where `strings` is false, with texts emptied; for looking only. */
function codeLines(text: string, strings: boolean): string[] {
  const blank = (comment: string) => comment.replace(/[^\n]/g, ' ');
  const code = text.replace(/^[ \t]*\/\*[\s\S]*?\*\//gm, blank).replace(/(^|\s)\/\/.*$/gm, '$1');
  const lines = code.split('\n');
  const emptied = (line: string) => line.replace(/(['"`])(?:\\.|(?!\1).)*\1/g, '$1$1');
  return strings ? lines : lines.map(emptied);
}

/** A rule that finds a pattern in lines of code. */
function forbid(pattern: RegExp, where: (file: SourceFile) => boolean, strings = false): Rule {
  return (files) =>
    files.filter(where).flatMap((file) =>
      codeLines(file.text, strings).flatMap((line, index) => {
        const found = pattern.exec(line);
        return found === null ? [] : [`${file.path}:${index + 1} ${found[0].trim()}`];
      }),
    );
}

/** What a file imports, static and dynamic: the words between the quotes. */
function importsOf({ text }: SourceFile): string[] {
  const code = codeLines(text, true).join('\n');
  const found = code.matchAll(/(?:\bfrom\s+|\bimport\s+|\bimport\(\s*)(['"])([^'"\n]+)\1/g);
  return [...found].map((match) => match[2] as string);
}

/** The file that an import of ours means; undefined for a package. */
function target(from: string, name: string): string | undefined {
  if (name === '#schemas') return 'schemas/index.ts';
  if (!name.startsWith('.')) return undefined;
  return path.posix.join(path.posix.dirname(from), name);
}

const importDirection: Rule = (files) =>
  files
    .filter((file) => file.path.endsWith('.ts') && file.path.includes('/'))
    .flatMap((file) =>
      importsOf(file).flatMap((name) => {
        const to = target(file.path, name);
        const room = roomOf(file.path) as (typeof ROOMS)[number];
        if (to === undefined || roomOf(to) === room) return [];
        return MAY_IMPORT[room]?.includes(roomOf(to)) ? [] : [`${file.path} imports ${to}`];
      }),
    );

const clientPlaces: Rule = (files) =>
  files
    .filter((file) => file.path.endsWith('.ts'))
    .flatMap((file) =>
      importsOf(file).flatMap((name) => {
        const places = Object.entries(CLIENTS).find(
          ([p]) => name === p || name.startsWith(`${p}/`),
        );
        const allowed = places === undefined || under(file.path, places[1]);
        return allowed ? [] : [`${file.path} imports ${name}`];
      }),
    );

/** What opens the embedded engine, and what tests open it by. */
const ENGINES = new Set([
  ...['chdb', 'deploy/stores/open.ts', 'deploy/stores/embedded.ts', 'test/deploy/stores/bridge.ts'],
  ...['test/query/service.ts', 'test/ingest/engine.ts'],
]);
/** This file holds examples of what it looks for. */
const UNIT_TEST = /^test\/(?!kafka\/|agents\/|tidy\.).*(?<!\.(?:integration|live))\.test\.ts$/;

const noEngine: Rule = (files) =>
  files
    .filter((file) => UNIT_TEST.test(file.path))
    .flatMap((file) =>
      importsOf(file)
        .filter((name) => ENGINES.has(target(file.path, name) ?? name))
        .map((name) => `${file.path} imports ${name}: name it *.integration.test.ts`),
    );

const fileLength: Rule = (files) =>
  files.filter(isSource).flatMap((file) => {
    const lines = file.text.trimEnd().split('\n').length;
    return lines > FILE_LINES_MAX ? [`${file.path} has ${lines} lines`] : [];
  });

const FUNCTION_HEADS = [
  /\bfunction\b/,
  /=>\s*\{$/,
  /^\s*(?:(?:async|static|override|private|public|get|set)\s+)*[*#\w]+\(.*\{$/,
  // The last line of a head that was broken over lines.
  /^\s*\)(?::.*)?\s*\{$/,
];
const CONTROL = /^\s*(?:\}\s*)?(?:if|else|for|while|switch|try|catch|do|return|class)\b/;

interface Extent {
  /** The line of its head, from 1. */
  readonly line: number;
  readonly lines: number;
  /** Lines that belong to no function inside it. */
  readonly own: number;
}

/** Functions in formatted code: a head ends in `{`, the body in the first `}` below it. */
function functionsOf(text: string): Extent[] {
  const lines = codeLines(text, false);
  const indentOf = (line: string) => line.length - line.trimStart().length;
  const found = lines.flatMap((head, start) => {
    const isHead = head.endsWith('{') && FUNCTION_HEADS.some((form) => form.test(head));
    if (!isHead || (CONTROL.test(head) && !head.endsWith('=> {'))) return [];
    const indent = indentOf(head);
    const closes = (line: string, at: number) =>
      at > start && indentOf(line) === indent && line.trimStart().startsWith('}');
    const end = lines.findIndex(closes);
    return end < 0 ? [] : [{ start, end }];
  });
  return found.map(({ start, end }) => {
    const inner = new Set<number>();
    for (const one of found)
      if (one.start > start && one.end < end)
        for (let line = one.start; line <= one.end; line++) inner.add(line);
    const total = end - start + 1;
    return { line: start + 1, lines: total, own: total - inner.size };
  });
}

const functionLength: Rule = (files) =>
  files.filter(isSource).flatMap((file) => {
    const ownMax = TABLES[file.path] ?? FUNCTION_LINES_MAX;
    return functionsOf(file.text)
      .filter((one) => one.own > ownMax || one.lines > FACTORY_LINES_MAX)
      .map((one) => `${file.path}:${one.line} ${one.lines} lines, ${one.own} of them its own`);
  });

/** Of code, not of comments. Only a text may be longer: the formatter does not break one, and a broken one can't be found. */
const lineLength: Rule = (files) =>
  files
    .filter((file) => /\.(ts|mjs)$/.test(file.path))
    .flatMap((file) => {
      let inTemplate = false;
      return codeLines(file.text, false).flatMap((line, index) => {
        const within = inTemplate;
        if ((line.match(/(?<!\\)`/g)?.length ?? 0) % 2 === 1 && !line.includes('``'))
          inTemplate = !inTemplate;
        const code = line.replace(/`(?!`).*$/, '').replace(/\/(?:\\.|[^/\\])+\/[a-z]*/g, '//');
        const columns = [...code.trimEnd()].length;
        return !within && columns > LINE_COLUMNS_MAX
          ? [`${file.path}:${index + 1} has ${columns} columns of code`]
          : [];
      });
    });

/** Tests of Kafka itself, and the control of test/live: a producer that is known to lose. */
const TESTS_THAT_SEND = [
  'test/kafka/',
  'test/ingest/consume.live.test.ts',
  'test/live/careless.ts',
];

/** Events go out by the first, alerts by the second. */
const MAY_SEND = ['collector/ship.ts', 'ingest/detect/topic.ts'];

/** A producer that gets more than one partition a call loses acknowledged messages: see ship.ts. */
const producerSends: Rule = (files) => {
  const bound = files.filter((f) => f.path.endsWith('.ts') && !under(f.path, TESTS_THAT_SEND));
  return bound.flatMap((file) => {
    const code = codeLines(file.text, false).join('\n');
    const found: string[] = [];
    if (/\bsendBatch\s*\(/.test(code)) found.push(`${file.path} calls sendBatch`);
    for (const match of code.matchAll(/\bproducer\w*\s*\.\s*send\s*\(/gi)) {
      if (!MAY_SEND.includes(file.path)) found.push(`${file.path} sends to Kafka`);
      const call = code.slice(match.index, code.indexOf('});', match.index));
      const messages = /messages: \[\{[^{}]*\bpartition\b[^{}]*\}\]/.test(call);
      if (!messages) found.push(`${file.path} sends without one message that names its partition`);
    }
    return found;
  });
};

const deadFiles: Rule = (files) => {
  const used = new Set(ENTRIES);
  for (const file of files.filter((one) => one.path.endsWith('.ts')))
    for (const name of importsOf(file)) {
      const to = target(file.path, name);
      // A file that only its own tests import is dead all the same.
      if (to !== undefined && !file.path.startsWith('test/')) used.add(to);
    }
  return files
    .filter((file) => isSource(file) && file.path.includes('/'))
    .flatMap(({ path: p }) => (used.has(p) ? [] : [`${p} is imported by nothing`]));
};

const topLevel: Rule = (files) => {
  const names = new Set(files.map((file) => file.path.split('/')[0] as string));
  return [...names].filter((name) => !TOP_LEVEL.has(name));
};

/** Notes to self, in any text; the words are put together so that this file does not hold them. */
const leftovers: Rule = (files) => {
  const words = [
    ['TO', 'DO'],
    ['FIX', 'ME'],
    ['XX', 'X'],
  ].map((parts) => parts.join(''));
  const note = new RegExp(`\\b(?:${words.join('|')})\\b|\\b(?:it|describe|test)\\.on${'ly'}\\(`);
  return files.flatMap((file) =>
    file.text.split('\n').flatMap((line, index) => {
      const found = note.exec(line);
      return found === null ? [] : [`${file.path}:${index + 1} ${found[0]}`];
    }),
  );
};

/** Paths that are true on one machine only: the root of this checkout, and people's homes. */
const machinePaths =
  (root: string): Rule =>
  (files) =>
    files.flatMap((file) =>
      [`${root}/`, `${path.dirname(root)}/shared`]
        .filter((name) => name.split('/').length > 2 && file.text.includes(name))
        .map((name) => `${file.path} holds ${name}`),
    );

const kindNames = [...REGISTRY.keys()].map((kind) => kind.replaceAll('.', '\\.')).join('|');
const inServices = (file: SourceFile) => isSource(file) && under(file.path, ['query/', 'ingest/']);

interface Case {
  readonly name: string;
  readonly rule: Rule;
  /** A file that breaks the rule, and one that does not. */
  readonly bad: SourceFile;
  readonly good: SourceFile;
}
const file = (name: string, text: string): SourceFile => ({ path: name, text });
const long = (lines: number) => Array(lines).fill('  step();').join('\n');

const CASES: readonly Case[] = [
  {
    name: 'imports point the right way',
    rule: importDirection,
    bad: file('query/a.ts', "import { b } from '../ingest/b.ts';\n"),
    good: file('query/a.ts', "import { b } from '#schemas';\nimport c from './c/d.ts';\n"),
  },
  {
    name: 'clients of Kafka and ClickHouse are imported in their files only',
    rule: clientPlaces,
    bad: file('deploy/migrate.ts', "const { Session } = await import('chdb');\n"),
    good: file('deploy/stores/pool.ts', "import { Session } from 'chdb';\n"),
  },
  {
    name: 'unit tests open no engine, so that they stay quick',
    rule: noEngine,
    bad: file('test/query/a.test.ts', "import { Session } from 'chdb';\n"),
    good: file('test/query/a.integration.test.ts', "import { Session } from 'chdb';\n"),
  },
  {
    name: 'the environment is read in deploy/ and test/ only',
    rule: forbid(/\bprocess\.env\b/, (f) => isSource(f) && !f.path.startsWith('deploy/')),
    bad: file('collector/a.ts', 'const home = process.env.HOME;\n'),
    good: file('collector/a.ts', '// process.env is not read here\n'),
  },
  {
    name: 'only deploy/ and processes of their own exit',
    rule: forbid(/\bprocess\.exit\(/, (f) => f.path.endsWith('.ts') && !under(f.path, MAY_EXIT)),
    bad: file('ingest/a.ts', 'process.exit(1);\n'),
    good: file('deploy/a.ts', 'process.exit(1);\n'),
  },
  {
    name: `no source file is longer than ${FILE_LINES_MAX} lines`,
    rule: fileLength,
    bad: file('query/a.ts', long(FILE_LINES_MAX + 1)),
    good: file('query/a.ts', `${long(FILE_LINES_MAX)}\n`),
  },
  {
    name: `no function is longer than ${FUNCTION_LINES_MAX} lines`,
    rule: functionLength,
    bad: file('query/a.ts', `export function a() {\n${long(FUNCTION_LINES_MAX - 1)}\n}\n`),
    good: file('query/a.ts', `export function a() {\n${long(FUNCTION_LINES_MAX - 2)}\n}\n`),
  },
  {
    name: `no line of code is longer than ${LINE_COLUMNS_MAX} columns`,
    rule: lineLength,
    bad: file('query/a.ts', `const ${'a'.repeat(LINE_COLUMNS_MAX)} = 1;\n`),
    good: file('query/a.ts', `const a =\n  '${'a'.repeat(LINE_COLUMNS_MAX)}';\n`),
  },
  {
    name: 'each send to Kafka stands in ship.ts and names one partition',
    rule: producerSends,
    bad: file('collector/ship.ts', 'producer.send({ topic, messages: [{ key, value }] });\n'),
    good: file('collector/ship.ts', 'producer.send({ messages: [{ key, partition }] });\n'),
  },
  {
    name: 'no source file is dead',
    rule: deadFiles,
    bad: file('query/dead.ts', 'export const a = 1;\n'),
    good: file('deploy/cli.ts', "await import('./commands/up.ts');\n"),
  },
  {
    name: 'nothing is left to do, and no test runs alone',
    rule: leftovers,
    bad: file('query/a.ts', `// ${'TO'}DO: later\n`),
    good: file('query/a.ts', '// "to do" in words\n'),
  },
  {
    name: 'no path of one machine',
    rule: machinePaths(ROOT),
    bad: file('README.md', `cd ${ROOT}/query\n`),
    good: file('README.md', 'cd query\n'),
  },
  {
    name: 'the top level holds the six rooms and what tools need by name',
    rule: topLevel,
    bad: file('utils/a.ts', ''),
    good: file('schemas/a.ts', ''),
  },
  {
    name: 'query/ and ingest/ do not tell kinds apart by name',
    rule: forbid(new RegExp(`\\bkind [!=]== '(?:${kindNames})'`), inServices, true),
    bad: file('query/a.ts', "if (event.kind === 'exec') a();\n"),
    good: file('query/a.ts', "if (node.kind === 'Field' || spec.role === 'start') a();\n"),
  },
];

describe('the tree', () => {
  it('was read: every room has sources', () => {
    for (const room of ROOMS)
      expect(
        FILES.some((one) => one.path.startsWith(`${room}/`)),
        room,
      ).toBe(true);
  });
  it.each(CASES)('$name', ({ rule }) => {
    expect(rule(FILES)).toEqual([]);
  });
});

describe('each rule', () => {
  it.each(CASES)('can fail, and can pass: $name', ({ rule, bad, good }) => {
    expect(rule([bad])).toHaveLength(1);
    expect(rule([good])).toEqual([]);
  });

  it('sees sendBatch, a send elsewhere, and a send of two messages', () => {
    const one = '.send({ messages: [{ partition }] });\n';
    expect(producerSends([file('query/a.ts', `producer${one}`)])).toHaveLength(1);
    expect(producerSends([file('query/a.ts', 'producer.sendBatch({});\n')])).toHaveLength(1);
    const two = 'producer.send({ messages: [{ partition }, { partition }] });\n';
    expect(producerSends([file('collector/ship.ts', two)])).toHaveLength(1);
    expect(producerSends([file('ingest/detect/topic.ts', `producer${one}`)])).toEqual([]);
    expect(producerSends([file('ingest/detect/topic.ts', two)])).toHaveLength(1);
    expect(producerSends([file('ingest/detect/other.ts', `producer${one}`)])).toHaveLength(1);
    expect(producerSends([file('test/live/load.ts', two)])).toHaveLength(2);
    expect(producerSends([file('test/live/careless.ts', two)])).toEqual([]);
  });

  it('counts methods, arrows and heads broken over lines as functions, and no control flow', () => {
    const heads = ['  async go(a: A): Promise<B> {', '  const a = (b) => {', '  ): Promise<B> {'];
    for (const head of heads) expect(functionsOf(`${head}\n    x();\n  }\n`)).toHaveLength(1);
    expect(functionsOf('  if (a) {\n    x();\n  }\n')).toEqual([]);
    const nested = 'function a() {\n  b();\n  const c = () => {\n    d();\n  };\n}\n';
    expect(functionsOf(nested)).toEqual([
      { line: 1, lines: 6, own: 3 },
      { line: 3, lines: 3, own: 3 },
    ]);
    const steps = `  const a = () => {\n${long(FUNCTION_LINES_MAX - 2)}\n  };\n`.repeat(3);
    const factory = file('query/a.ts', `function a() {\n${steps}}\n`);
    expect(functionLength([factory])).toHaveLength(1);
  });
});
