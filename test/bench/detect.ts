/**
 * What rules cost an event, on one core.
 *
 *     npm run bench:detect [-- --sessions 60 --events 500 --live 20000 --seconds 120]
 *
 *     taxonomy   Sigma rules over events in Sigma's fields that were made for them: nearly every
 *                second event matches a rule, which no real stream does
 *     engine     all rules that there are, of both languages, over sessions of our own events: views,
 *                tests, states and alerts, as live detection does it (decoding is not in it)
 *     state      what the shipped rules hold for `--live` sessions at the same time, each with an event
 *                a second for `--seconds` (`detect-state.ts`); `--live 0` leaves it out
 *     regex      RE2 and V8 on the expressions of SigmaHQ's rules, megabytes a second
 *
 * CPU time of the process, the median of some runs; 300 rules at 20,000 events a second are 50
 * microseconds an event. Where `../shared` is there its 255 Linux rules are taken, otherwise those of
 * the fixtures. Traps: the first run compiles and is left out; sessions are interleaved, as a
 * partition has them.
 */
import fs from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { RE2JS } from 're2js';
import {
  createEngine,
  createRuleSet,
  createViews,
  decode,
  loadRules,
  type Rule,
  recordView,
  type TelltaleEvent,
} from '#schemas';
import { readRuleFolder } from '../../deploy/rules/folder.ts';
import { FIXTURES, readLines, ruleFiles, SHARED, SHIPPED } from '../schemas/rules/rules.ts';
import { measureState } from './detect-state.ts';
import { cpuMicrosEach, median, round } from './ingest/measure.ts';
import { madeSession } from './workload.ts';

const RUNS = 5;
const DEFAULT_RULES = path.resolve(import.meta.dirname, '../../deploy/rules/default');

const { values } = parseArgs({
  options: {
    sessions: { type: 'string', default: '60' },
    events: { type: 'string', default: '500' },
    live: { type: 'string', default: '20000' },
    seconds: { type: 'string', default: '120' },
  },
});

const shared = fs.existsSync(SHARED);
const sigmaFiles = shared
  ? ruleFiles(path.join(SHARED, 'rules'))
  : [...ruleFiles(FIXTURES), ...ruleFiles(SHIPPED)];

async function medianMicros(count: number, work: () => void): Promise<number> {
  work();
  const micros: number[] = [];
  for (let run = 0; run < RUNS; run++) micros.push(await cpuMicrosEach(count, work));
  return median(micros);
}

/** Sigma rules over events in the fields of Sigma's taxonomy. */
async function taxonomy() {
  const { rules } = loadRules(sigmaFiles);
  const set = createRuleSet(rules);
  const lines = readLines(
    shared ? path.join(SHARED, 'conformance/events.jsonl') : path.join(FIXTURES, 'events.ndjson'),
  );
  let matches = 0;
  const work = () => {
    matches = 0;
    for (const { cat, src: _src, id: _id, ...fields } of lines) {
      const source = { product: 'linux', category: String(cat) };
      const view = { source, fields: recordView(fields as Record<string, string>) };
      matches += set.evaluate({ views: [view] }).matched.length;
    }
  };
  const micros = await medianMicros(lines.length, work);
  return {
    rules: rules.length,
    events: lines.length,
    micros_an_event: round(micros, 2),
    matches_an_event: round(matches / lines.length, 2),
  };
}

/** Events of sessions, an event of each in turn. */
async function workload(): Promise<readonly TelltaleEvent[]> {
  const count = Number(values.sessions);
  const sessions = await Promise.all(
    Array.from({ length: count }, (_, n) => madeSession(8, n, Number(values.events))),
  );
  const longest = Math.max(...sessions.map(({ lines }) => lines.length));
  return Array.from({ length: longest }, (_, at) => at).flatMap((at) =>
    sessions.flatMap(({ lines }) => {
      const line = lines[at];
      const decoded = line === undefined ? undefined : decode(line.toString());
      return decoded?.ok ? [decoded.event] : [];
    }),
  );
}

async function engine(events: readonly TelltaleEvent[], rules: readonly Rule[]) {
  let raised = 0;
  let held = 0;
  const set = createRuleSet(rules);
  const micros = await medianMicros(events.length, () => {
    const running = createEngine(set, createViews());
    raised = 0;
    // As they come in batches from a partition.
    for (let at = 0; at < events.length; at += 500)
      raised += running.add(events.slice(at, at + 500)).raised.length;
    held = running.stats().hits;
  });
  return {
    rules: rules.length,
    micros_an_event: round(micros, 2),
    alerts: raised,
    hits_held: held,
  };
}

/** The expressions of the rules, over the command lines of the events. */
async function regex() {
  const sources = sigmaFiles.flatMap(({ text }) =>
    [...text.matchAll(/\|re: '([^']*)'/g)].map(([, source]) => source as string),
  );
  const texts = readLines(path.join(FIXTURES, 'events.ndjson')).map((line) =>
    String(line.CommandLine ?? line.TargetFilename ?? ''),
  );
  const bytes = sources.length * texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
  const speed = async (tests: readonly ((text: string) => boolean)[]) => {
    const micros = await medianMicros(bytes, () => {
      for (const test of tests) for (const text of texts) test(text);
    });
    return micros;
  };
  const re2 = sources.map((source) => RE2JS.compile(source));
  const native = sources.map((source) => new RegExp(source.replace('(?i)', '')));
  const megabytes = (microsAByte: number) => round(1 / microsAByte, 0);
  return {
    expressions: sources.length,
    re2_mb_per_second: megabytes(await speed(re2.map((one) => (text) => one.test(text)))),
    v8_mb_per_second: megabytes(await speed(native.map((one) => (text) => one.test(text)))),
  };
}

const live = Number(values.live);
const events = await workload();
const shipped = [DEFAULT_RULES, SHIPPED].flatMap((folder) => readRuleFolder(folder).rules);
const shippedIds = new Set(shipped.map(({ meta }) => meta.id));
const more = loadRules(sigmaFiles).rules.filter(({ meta }) => !shippedIds.has(meta.id));
const result = {
  taxonomy: await taxonomy(),
  engine: {
    events: events.length,
    shipped: await engine(events, shipped),
    all: await engine(events, [...shipped, ...more]),
  },
  ...(live === 0 ? {} : { state: await measureState(shipped, live, Number(values.seconds)) }),
  regex: await regex(),
};
process.stdout.write(`${JSON.stringify({ bench: 'detect', ...result })}\n`);
