/**
 * What rules must reach, as one table: how far the languages agree with their references, what
 * rules cost an event, what they hold, how soon an alert is there.
 *
 *     npm run bench:detect [-- --sessions 60 --events 500 --live 20000 --seconds 60
 *                              --rates 5000 --adfa DIR]
 *
 *     agreement  rule and event pairs, correlations, EQL cases, Linux rules (`detect-conformance.ts`)
 *     engine     300 rules of three languages over sessions of our own events: views, tests, states
 *                and alerts, as live detection does it (decoding is not in it)
 *     state      what the shipped rules hold for `--live` sessions at the same time, each with an event
 *                a second for `--seconds`, without approvals and with (`detect-state.ts`)
 *     latency    event to alert through a real broker and store, 20 s for each of `--rates`
 *                (`detect-latency.ts`); `--rates 0` leaves it out
 *     baseline   ADFA-LD, where `--adfa` says where it is (`baseline.ts`)
 *     taxonomy   Sigma rules over events in Sigma's fields that were made for them: nearly every
 *                second event matches a rule, which no real stream does
 *     regex      RE2 and V8 on the expressions of SigmaHQ's rules, megabytes a second
 *
 * The table goes to standard error, all figures to standard output as one JSON line. CPU time of the
 * process, the median of some runs; 300 rules at 20,000 events a second are 50 microseconds an event.
 * Where `../shared` is there its 255 Linux rules are taken, otherwise those of the fixtures. Traps:
 * the first run compiles and is left out; sessions are interleaved, as a partition has them.
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
import { measureBaseline } from './baseline.ts';
import { correlationCases, eqlCases, linuxRules, sigmaPairs } from './detect-conformance.ts';
import { measureLatency } from './detect-latency.ts';
import { measureState } from './detect-state.ts';
import { table } from './detect-table.ts';
import { cpuMicrosEach, median, round, say } from './ingest/measure.ts';
import { madeSession } from './workload.ts';

const RUNS = 5;
const RULES_WANTED = 300;
const LATENCY_SECONDS = 20;
const RULE_FOLDERS = path.resolve(import.meta.dirname, '../../deploy/rules');

const { values } = parseArgs({
  options: {
    sessions: { type: 'string', default: '60' },
    events: { type: 'string', default: '500' },
    live: { type: 'string', default: '20000' },
    seconds: { type: 'string', default: '60' },
    rates: { type: 'string', default: '5000' },
    adfa: { type: 'string' },
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

/** 300 rules: those that ship, then SigmaHQ's others, then Prempti's. */
function manyRules(shipped: readonly Rule[]): readonly Rule[] {
  const prempti = readRuleFolder(path.join(RULE_FOLDERS, 'prempti')).rules;
  const known = new Set<string>();
  const all = [...shipped, ...loadRules(sigmaFiles).rules, ...prempti];
  return all.filter(({ meta }) => !known.has(meta.id) && known.add(meta.id)).slice(0, RULES_WANTED);
}

async function latencies() {
  const rates = values.rates.split(',').map(Number).filter(Boolean);
  const measured = [];
  for (const rate of rates) {
    say(`event to alert at ${rate} events/s`);
    measured.push(await measureLatency(LATENCY_SECONDS, rate));
  }
  return measured;
}

const live = Number(values.live);
const seconds = Number(values.seconds);
say('agreement with the references');
const agreement = {
  sigma: sigmaPairs(),
  correlations: correlationCases(),
  eql: eqlCases(),
  linux: linuxRules(),
};
say('rules over events');
const events = await workload();
const shipped = ['default', 'sigma'].flatMap(
  (name) => readRuleFolder(path.join(RULE_FOLDERS, name)).rules,
);
const cost = {
  taxonomy: await taxonomy(),
  events: events.length,
  shipped: await engine(events, shipped),
  all: await engine(events, manyRules(shipped)),
  regex: await regex(),
};
if (live > 0) say(`state at ${live} sessions`);
const state =
  live === 0
    ? []
    : [
        await measureState(shipped, live, seconds),
        { approvals: true, ...(await measureState(shipped, live, seconds, true)) },
      ];
const latency = await latencies();
const adfa = values.adfa;
const baseline =
  adfa === undefined || !fs.existsSync(adfa) ? undefined : await measureBaseline(adfa);
const result = { ...agreement, ...cost, state, latency, baseline };
process.stderr.write(`${table(result)}\n`);
process.stdout.write(`${JSON.stringify({ bench: 'detect', ...result })}\n`);
