/**
 * Packages and git remotes of a command line, in SQL and nowhere else, so that the view that stores
 * entities and a query over one session can't differ. In stages, each over the one before, because
 * the engine looks at the view's text anew for every insert: written out as one expression it cost
 * 18 ms an insert, in stages a quarter of that.
 *
 *     program    what runs, by its name alone; only package managers and git go on
 *     words      argv behind the program, without options and the values of those that take one
 *     named      packages: the words behind "install"; remotes: the words that are URLs
 *     values     each under its one name
 *
 * A local path, an archive's URL or a requirements file names no package and gives none.
 */

/** One package manager: the type of its package URLs, and what stands before its packages. */
interface Manager {
  /** `type` of the package URL specification (github.com/package-url/purl-spec). */
  readonly purl: string;
  readonly programs: readonly string[];
  /** One word, or two with a blank; none where the first word is the package. */
  readonly verbs: readonly string[];
}

const MANAGERS: readonly Manager[] = [
  { purl: 'npm', programs: ['npm'], verbs: ['install', 'i', 'add', 'exec'] },
  { purl: 'npm', programs: ['pnpm', 'yarn', 'bun'], verbs: ['add', 'install', 'i', 'dlx', 'x'] },
  { purl: 'npm', programs: ['npx', 'bunx', 'pnpx'], verbs: [] },
  { purl: 'pypi', programs: ['pip', 'pip3', 'pipx'], verbs: ['install', 'run'] },
  { purl: 'pypi', programs: ['uv'], verbs: ['add', 'pip install', 'tool install'] },
  { purl: 'pypi', programs: ['poetry'], verbs: ['add'] },
  { purl: 'pypi', programs: ['uvx'], verbs: [] },
  { purl: 'deb', programs: ['apt', 'apt-get'], verbs: ['install'] },
  { purl: 'rpm', programs: ['dnf', 'yum', 'microdnf'], verbs: ['install'] },
  { purl: 'apk', programs: ['apk'], verbs: ['add'] },
  { purl: 'cargo', programs: ['cargo'], verbs: ['add', 'install'] },
  { purl: 'golang', programs: ['go'], verbs: ['get', 'install'] },
  { purl: 'gem', programs: ['gem'], verbs: ['install', 'i'] },
];
const GIT_VERBS = ['clone', 'fetch', 'pull', 'push', 'remote', 'submodule', 'ls-remote'];

/** Options that take the next word as their value, of all managers together. */
const PACKAGE_OPTIONS =
  '--prefix -C --dir --registry --tag -w --workspace --filter --cache --userconfig --loglevel -r --requirement -c --constraint -i --index-url --extra-index-url --index -f --find-links -t --target --root --python --proxy --timeout --cert --group -o -a --version -v --git --branch --rev --path --features -F --target-dir --repo -X --source --install-dir -n'.split(
    ' ',
  );
const GIT_OPTIONS =
  '-C -c --git-dir --work-tree --namespace -b --branch --depth -o --origin -j --jobs --reference --config --filter --template -u --upload-pack --exec --receive-pack --server-option --shallow-since'.split(
    ' ',
  );

const list = (words: readonly string[]): string => words.map((word) => `'${word}'`).join(', ');
const PROGRAMS = MANAGERS.flatMap(({ programs }) => programs);
/** Program and verb, as they stand on the command line; those of two words apart. */
const lines = (two: boolean): string[] => [
  ...MANAGERS.flatMap(({ programs, verbs }) =>
    programs.flatMap((program) =>
      verbs.filter((verb) => verb.includes(' ') === two).map((verb) => `${program} ${verb}`),
    ),
  ),
  ...(two ? [] : GIT_VERBS.map((verb) => `git ${verb}`)),
];
const VERBLESS = MANAGERS.filter(({ verbs }) => verbs.length === 0).flatMap(
  ({ programs }) => programs,
);
const PURLS = MANAGERS.flatMap(({ programs, purl }) => programs.map(() => purl));

/** Values that fit a package's name; a path, a URL or a git shorthand does not. */
const NAME = '^(@[a-z0-9-][a-z0-9-._]*/)?[A-Za-z0-9][A-Za-z0-9._+-]*$';
const GO_NAME = '^[a-z0-9.-]+[.][a-z]+(/[A-Za-z0-9._~-]+)+$';
const ARCHIVE = '[.](whl|tgz|gz|zip|deb|rpm|apk|gem|txt|toml)$';
/** What parts a name from its version: `name==1`, `name@1`, `name[extra]>=1`, `name=1`. */
const VERSION = '^(@?[^@=<>!~;\\\\[ ]+).*$';
const REMOTE = '^([a-z][a-z0-9+]*://[^ ]+|[A-Za-z0-9._-]+@[A-Za-z0-9.-]+:[^ ]+)$';
/** Scheme and account go, the host comes apart, then port, query and ".git" go. */
const BARE_REMOTE =
  '^(?:[a-z][a-z0-9+]*://)?(?:[^/@]*@)?([^/:]+)(?::[0-9]+/|:)?/*([^?#]*?)(?:[.]git)?/*(?:[?#].*)?$';

/** One SELECT over the stage before it, or over `events`. */
export interface Stage {
  readonly columns: string;
  readonly where: string;
}

const KEYS = 'tenant, session_id, ts';

/** From `events` to rows (tenant, session_id, ts, type, value); the first stage comes first. */
export const WORD_STAGES: readonly Stage[] = [
  {
    columns: `${KEYS}, argv, splitByChar('/', argv[1])[-1] AS called, startsWith(called, 'python') AND argv[2] = '-m' AS module, if(module, argv[3], called) AS program`,
    where: `kind = 'exec' AND program IN ('git', ${list(PROGRAMS)})`,
  },
  {
    columns: `${KEYS}, program, arraySlice(argv, if(module, 4, 2)) AS args, arrayFilter((word, before) -> NOT startsWith(word, '-') AND NOT has(if(program = 'git', [${list(GIT_OPTIONS)}], [${list(PACKAGE_OPTIONS)}]), before), args, arrayPopBack(arrayPushFront(args, ''))) AS words`,
    where: 'notEmpty(args)',
  },
  {
    columns: `${KEYS}, program, arrayJoin(arraySlice(words, multiIf(program IN (${list(VERBLESS)}), 1, concat(program, ' ', words[1]) IN (${list(lines(false))}), 2, concat(program, ' ', words[1], ' ', words[2]) IN (${list(lines(true))}), 3, 1000000), if(program IN (${list(VERBLESS)}), 1, 1000000))) AS word`,
    where: "word != ''",
  },
  {
    columns: `${KEYS}, if(program = 'git', 'git_remote', 'package') AS type, transform(program, [${list(PROGRAMS)}], [${list(PURLS)}], '') AS purl, replaceRegexpOne(word, '${VERSION}', '\\\\1') AS name, extractGroups(word, '${BARE_REMOTE}') AS remote, multiIf(program = 'git', if(match(word, '${REMOTE}'), concat(lower(remote[1]), '/', remote[2]), ''), match(name, if(purl = 'golang', '${GO_NAME}', '${NAME}')) AND NOT match(name, '${ARCHIVE}'), concat('pkg:', purl, '/', replaceOne(if(purl = 'pypi', lower(name), name), '@', '%40')), '') AS value`,
    where: "value != ''",
  },
];
