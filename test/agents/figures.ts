/**
 * What Telltale knows of the four agents' scripted sessions, as a table:
 *
 *     npm run bench:agents [-- codex claude gemini opencode]
 *
 * Runs each real CLI twice, once through one call of every shape and once through calls at the same
 * time. Exits 1 where a call did not come out as it was scripted, less than 99 % of the kernel events
 * inside calls is tied to its call, or one is tied to another.
 */
import { analyse } from '../../query/timeline/analyse.ts';
import { ALL, type Scenes } from './all.ts';
import { agentCommand, agentVersion } from './install.ts';
import { ATTRIBUTED_MIN, attributed, callFaults, insideCalls } from './measure.ts';
import { marksOf } from './parallel.ts';
import type { Scripted } from './script.ts';
import { type Agent, recordAgent, runOf } from './session.ts';

const HEAD = [
  'agent',
  'session',
  'calls',
  'as they went',
  'events',
  'inside calls',
  'tied',
  'wrong',
];

interface Scene {
  readonly session: string;
  readonly agent: Agent;
  readonly calls: Scenes['calls'];
}

interface Row {
  readonly cells: readonly string[];
  readonly faults: readonly string[];
}

async function rowOf(label: string, { session, agent, calls }: Scene): Promise<Row> {
  const recorded = await recordAgent(agent);
  const story = analyse(runOf(recorded).events);
  const scripted: readonly Scripted[] = calls(recorded.place);
  const faults = callFaults(story, scripted);
  const { inside, right, wrong, left, share } = attributed(
    story,
    insideCalls(story, scripted, marksOf(scripted)),
  );
  const untold = new Set(faults.map((fault) => fault.split(':')[0]));
  const short = share >= ATTRIBUTED_MIN ? [] : left;
  return {
    cells: [
      ...[label, session, scripted.length, scripted.length - untold.size, story.events.length],
      ...[inside, `${right} (${(share * 100).toFixed(2)} %)`, wrong.length],
    ].map(String),
    faults: [...faults, ...wrong, ...short].map((fault) => `${label}, ${session}: ${fault}`),
  };
}

const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |\n`;

async function main(names: readonly string[]): Promise<number> {
  const faults: string[] = [];
  process.stdout.write(line(HEAD) + line(HEAD.map(() => '---')));
  for (const { name, scripted, calls, parallel, parallelCalls } of ALL) {
    if (names.length > 0 && !names.includes(name)) continue;
    const found = agentCommand(name);
    if ('why' in found) {
      faults.push(`${name}: ${found.why}`);
      continue;
    }
    const scenes: readonly Scene[] = [
      { session: 'every shape', agent: scripted(found.command), calls },
      { session: 'at one time', agent: parallel(found.command), calls: () => parallelCalls },
    ];
    for (const scene of scenes) {
      const row = await rowOf(`${name} ${agentVersion(name)}`, scene);
      process.stdout.write(line(row.cells));
      faults.push(...row.faults);
    }
  }
  for (const fault of faults) process.stderr.write(`${fault}\n`);
  return faults.length === 0 ? 0 : 1;
}

process.exitCode = await main(process.argv.slice(2));
