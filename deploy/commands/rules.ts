import fs from 'node:fs';
import { parseArgs } from 'node:util';
import { faultText, type Loaded, type LoadOptions, type Rule, readPlaceholders } from '#schemas';
import { escapeText } from '../../query/timeline/escape.ts';
import { UsageError } from '../process/lifecycle.ts';
import { createEventReader, EventError } from '../rules/events.ts';
import { testExamples } from '../rules/examples.ts';
import { readRuleFolder } from '../rules/folder.ts';
import { type Match, matchAll } from '../rules/match.ts';
import { writeOut } from './timeline.ts';

/** The longest line of an event file. */
const LINE_CHARS_MAX = 32 * 1024 * 1024;
const LEVEL_COLUMNS = 13;

const OPTIONS = {
  json: { type: 'boolean', default: false },
  placeholders: { type: 'string' },
} as const;

function loadOptions(file: string | undefined): LoadOptions {
  if (file === undefined) return {};
  const read = readPlaceholders(fs.readFileSync(file, 'utf8'), file);
  if (!read.ok) throw new UsageError(faultText(read.fault));
  return { placeholders: read.value };
}

const plural = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`;

/** Rule files are somebody's text: what is printed of them is escaped for the terminal. */
const print = (lines: readonly string[]): Promise<void> =>
  writeOut(lines.map((line) => `${escapeText(line)}\n`).join(''));

function checkReport({ rules, faults, warnings }: Loaded): readonly string[] {
  const alerting = rules.filter(({ alerts }) => alerts).length;
  return [
    ...faults.map((fault) => `refused  ${faultText(fault)}`),
    ...warnings.map((warning) => `warning  ${faultText(warning)}`),
    `${plural(rules.length, 'rule')} (${alerting} of them alert), ${faults.length} refused, ${plural(warnings.length, 'warning')}`,
  ];
}

/** `telltale rules check DIR`: compiles all rules; 1 if any is refused. */
async function check(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({ args, allowPositionals: true, options: OPTIONS });
  const loaded = readRuleFolder(folderOf(positionals), loadOptions(values.placeholders));
  const { rules, faults, warnings } = loaded;
  const json = { rules: rules.map(({ meta, alerts }) => ({ ...meta, alerts })), faults, warnings };
  if (values.json) await writeOut(`${JSON.stringify(json)}\n`);
  else await print(checkReport(loaded));
  return faults.length === 0 ? 0 : 1;
}

function folderOf(positionals: readonly string[]): string {
  const [dir, ...rest] = positionals;
  if (dir === undefined || rest.length > 0) throw new UsageError('give one folder of rules');
  return dir;
}

/** A match as a line of JSON: what another program needs to tell which rule, key and events. */
function matchJson({ rule, timeNs, key, events }: Match): string {
  const { id, name, title, level, file } = rule.meta;
  return JSON.stringify({ rule: id, name, title, level, file, ts: String(timeNs), key, events });
}

function matchText({ rule, key, events }: Match): string {
  const { level = '', id, title } = rule.meta;
  const group = key.length === 0 ? '' : `  by ${JSON.stringify(key)}`;
  return `${level.padEnd(LEVEL_COLUMNS)} ${id}  ${title}${group}  ${events.join(' ')}`;
}

function readEvents(file: string) {
  const reader = createEventReader();
  const text = fs.readFileSync(file === '-' ? 0 : file, 'utf8');
  const events = text.split('\n').flatMap((line, index) => {
    if (line.trim() === '') return [];
    try {
      if (line.length > LINE_CHARS_MAX) throw new EventError('is too long');
      return [reader.read(JSON.parse(line), index + 1)];
    } catch (error) {
      if (!(error instanceof EventError) && !(error instanceof SyntaxError)) throw error;
      throw new UsageError(`${file}:${index + 1}: ${error.message}`);
    }
  });
  return { events, untimed: reader.untimed };
}

function warnUntimed(rules: readonly Rule[], untimed: number): void {
  const streams = rules.filter(({ matcher }) => matcher.type === 'stream').length;
  if (untimed === 0 || streams === 0) return;
  process.stderr.write(
    `telltale: ${plural(untimed, 'event')} without a time: the ${plural(streams, 'rule')} over many events took each for as old as the one before\n`,
  );
}

/** `telltale rules match`: all matches over a file of events. What is refused is told, not fatal. */
async function match(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: { ...OPTIONS, rules: { type: 'string' }, events: { type: 'string' } },
  });
  if (values.rules === undefined || values.events === undefined)
    throw new UsageError('give --rules DIR and --events FILE (or - for standard input)');
  const { rules, faults } = readRuleFolder(values.rules, loadOptions(values.placeholders));
  for (const fault of faults)
    process.stderr.write(`${escapeText(`refused  ${faultText(fault)}`)}\n`);
  const { events, untimed } = readEvents(values.events);
  warnUntimed(rules, untimed);
  const matches = matchAll(rules, events);
  if (values.json) await writeOut(matches.map((one) => `${matchJson(one)}\n`).join(''));
  else
    await print([
      ...matches.map(matchText),
      plural(matches.length, 'match').replace(/chs$/, 'ches'),
    ]);
  return 0;
}

/** `telltale rules test DIR`: runs the examples of all rules; 1 if one fails or is missing. */
async function test(args: string[]): Promise<number> {
  const { positionals, values } = parseArgs({ args, allowPositionals: true, options: OPTIONS });
  const dir = folderOf(positionals);
  const { rules, faults } = readRuleFolder(dir, loadOptions(values.placeholders));
  const report = testExamples(dir, rules);
  const alerting = rules.filter(({ alerts }) => alerts).length;
  const good = faults.length === 0 && report.faults.length === 0;
  if (values.json) await writeOut(`${JSON.stringify({ ...report, refused: faults })}\n`);
  else
    await print([
      ...faults.map((fault) => `refused  ${faultText(fault)}`),
      ...report.faults.map((fault) => `failed   ${fault}`),
      `${plural(report.passed, 'example')} came out as they say; ${report.covered} of ${plural(alerting, 'rule')} have a hit and a near miss`,
    ]);
  return good ? 0 : 1;
}

/** The engine is loaded for this task alone. */
const backtest = async (args: string[]) => (await import('./backtest.ts')).backtest(args);

const TASKS: Readonly<Record<string, (args: string[]) => Promise<number>>> = {
  check,
  match,
  test,
  backtest,
};

/** `telltale rules`: works on folders of rules. */
export async function rules(args: string[]): Promise<number> {
  const [name = '', ...rest] = args;
  const task = Object.hasOwn(TASKS, name) ? TASKS[name] : undefined;
  if (task === undefined)
    throw new UsageError(`what to do with rules: ${Object.keys(TASKS).join(', ')}`);
  return task(rest);
}
