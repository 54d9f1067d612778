/**
 * What EQL rules cost an event, on one core: the default rules as they ship, and 300 rules.
 *
 *     node --conditions=telltale-source --import tsx test/bench/detect-eql.ts [--sessions 200] [--events 500]
 *
 * Sessions of the benchmark's workload are interleaved, as a partition has them. Measured is CPU
 * time from a decoded event to the rules' firings: views, tests, states. Decoding is not in it, nor
 * what the engine does about late events. The 300 rules are the default ones and copies of them in
 * which every literal but the words of our own enumerations is another one. Prints one JSON line.
 */
import path from 'node:path';
import { parseArgs } from 'node:util';
import {
  createLineage,
  createRuleSet,
  decode,
  eqlViews,
  loadRules,
  type Rule,
  type RuleSet,
  type StreamState,
  type TelltaleEvent,
} from '#schemas';
import { readRuleFolder } from '../../deploy/rules/folder.ts';
import { cpuMicrosEach, median, round } from './ingest/measure.ts';
import { madeSession } from './workload.ts';

const RULES = 300;
const RUNS = 5;
const FOLDER = path.resolve(import.meta.dirname, '../../deploy/rules/default');
/** Words of our own enumerations: a copy of a rule still looks at the same kinds of events. */
const OWN_WORDS = new Set([
  ...['exec', 'exit', 'file', 'net', 'tool.call', 'tool.result', 'approval', 'policy.decision'],
  ...['gap', 'create', 'write', 'rename', 'link', 'symlink', 'truncate', 'delete', 'read', 'mode'],
  ...['connect', 'http', 'dns', 'deny', 'denied', 'allow', 'approved', 'asked', 'ask', 'network'],
  ...['filesystem', 'success', 'session.heartbeat', 'session.close', 'session.open', 'sensor'],
  ...['user', 'unattributed', 'cancelled'],
]);

function copyOf(rule: string, number: number): string {
  const words = rule.replace(/"(\*?)([a-z][a-z0-9_./ -]*)(\*?)"/g, (all, head, word, tail) =>
    OWN_WORDS.has(word) ? all : `"${head}${word}${number}${tail}"`,
  );
  return words.replace(/^id: .*$/gm, (line) => `${line.slice(0, -2)}${10 + number}`);
}

function manyRules(shipped: readonly Rule[], texts: readonly string[]): readonly Rule[] {
  const rules = [...shipped];
  for (let number = 1; rules.length < RULES; number += 1) {
    const files = texts.map((text, at) => ({
      file: `${number}-${at}`,
      text: copyOf(text, number),
    }));
    const { rules: more, faults } = loadRules(files);
    if (faults.length > 0) throw new Error(JSON.stringify(faults[0]));
    rules.push(...more);
  }
  return rules.slice(0, RULES);
}

/** Runs all events through the rules once; gives what was found. */
function runOnce(set: RuleSet, events: readonly TelltaleEvent[]) {
  const lineage = createLineage();
  const states = new Map<string, Map<Rule, StreamState>>();
  let hits = 0;
  let firings = 0;
  for (const event of events) {
    const views = eqlViews(event, lineage.observe(event));
    const seen = { id: `${event.stream_id}-${event.seq}`, timeNs: BigInt(event.ts), views };
    const found = set.evaluate(seen);
    firings += found.matched.length;
    for (const { rule, hits: held } of found.hits) {
      hits += held.length;
      if (rule.matcher.type !== 'stream') continue;
      const ofSession = states.get(event.session_id) ?? new Map<Rule, StreamState>();
      states.set(event.session_id, ofSession);
      const state = ofSession.get(rule) ?? rule.matcher.stream.open();
      ofSession.set(rule, state);
      firings += state.feed(seen, held).length;
    }
  }
  let groups = 0;
  for (const of of states.values()) for (const state of of.values()) groups += state.stats().groups;
  return { hits, firings, groups };
}

const { values } = parseArgs({
  options: {
    sessions: { type: 'string', default: '200' },
    events: { type: 'string', default: '500' },
  },
});
const recorded = await Promise.all(
  Array.from({ length: Number(values.sessions) }, (_, n) =>
    madeSession(8, n, Number(values.events)),
  ),
);
const events: TelltaleEvent[] = [];
for (
  let at = 0;
  events.length < recorded.reduce((sum, { lines }) => sum + lines.length, 0);
  at += 1
)
  for (const { lines } of recorded) {
    const line = lines[at];
    const decoded = line === undefined ? undefined : decode(line.toString());
    if (decoded?.ok) events.push(decoded.event);
  }

const { rules: shipped } = readRuleFolder(FOLDER);
const fs = await import('node:fs');
const texts = fs
  .readdirSync(FOLDER)
  .filter((name) => name.endsWith('.yaml'))
  .map((name) => fs.readFileSync(path.join(FOLDER, name), 'utf8'));
const many = manyRules(shipped, texts);

async function measure(rules: readonly Rule[]) {
  const micros: number[] = [];
  const set = createRuleSet(rules);
  let found = runOnce(set, events);
  for (let run = 0; run < RUNS; run += 1) {
    micros.push(
      await cpuMicrosEach(events.length, () => {
        found = runOnce(set, events);
      }),
    );
  }
  return {
    rules: rules.length,
    micros_an_event: round(median(micros), 2),
    hits_an_event: round(found.hits / events.length, 3),
    firings: found.firings,
    groups: found.groups,
  };
}
const result = {
  events: events.length,
  shipped: await measure(shipped),
  many: await measure(many),
};
process.stdout.write(`${JSON.stringify({ bench: 'detect eql', ...result })}\n`);
