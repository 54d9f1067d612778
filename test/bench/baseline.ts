/**
 * How well the learned baseline tells attacks from ordinary work, on the ADFA-LD system-call traces
 * (Creech and Hu, 2013), which are not part of the checkout:
 *
 *     node --conditions=telltale-source --import tsx test/bench/baseline.ts --data DIR/ADFA-LD
 *
 * The model learns the 833 training traces; each validation and attack trace gets its session score
 * (mean bits a step). Prints the area under the ROC curve and the cost of a step, as one JSON line.
 */
import fs from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import {
  BASELINE_SETTINGS,
  BASELINE_START,
  type BaselineModel,
  createBaseline,
  judgeStep,
  sessionScore,
} from '#schemas';
import { cpuMicrosEach, round } from './ingest/measure.ts';

function traces(dir: string): string[][] {
  return fs.readdirSync(dir, { withFileTypes: true }).flatMap((entry) => {
    const name = path.join(dir, entry.name);
    if (entry.isDirectory()) return traces(name);
    if (!entry.name.endsWith('.txt')) return [];
    return [fs.readFileSync(name, 'utf8').trim().split(/\s+/)];
  });
}

function scoreOf(model: BaselineModel, trace: readonly string[]): number {
  let state = BASELINE_START;
  for (const token of trace) state = judgeStep(model, BASELINE_SETTINGS, state, '', token).state;
  return sessionScore(state);
}

/** How likely a positive scores above a negative; ties count half. */
function areaUnderCurve(negatives: readonly number[], positives: readonly number[]): number {
  const sorted = [...negatives].sort((a, b) => a - b);
  const below = (value: number, orEqual: boolean) => {
    let [from, to] = [0, sorted.length];
    while (from < to) {
      const middle = (from + to) >> 1;
      const at = sorted[middle] as number;
      if (at < value || (orEqual && at === value)) from = middle + 1;
      else to = middle;
    }
    return from;
  };
  const wins = positives.map((one) => (below(one, false) + below(one, true)) / 2);
  return wins.reduce((sum, one) => sum + one, 0) / (negatives.length * positives.length);
}

/** What the model makes of the data set in the folder `data`, and what a step costs. */
export async function measureBaseline(data: string) {
  const part = (name: string) => traces(path.join(data, name));
  const training = part('Training_Data_Master');
  const validation = part('Validation_Data_Master');
  const attack = part('Attack_Data_Master');
  const model = createBaseline();
  for (const trace of training) model.learn(trace);
  let scores: number[][] = [];
  const judged = [...validation, ...attack].reduce((sum, { length }) => sum + length, 0);
  const micros = await cpuMicrosEach(judged, () => {
    scores = [validation, attack].map((list) => list.map((trace) => scoreOf(model, trace)));
  });
  const [ordinary = [], hostile = []] = scores;
  return {
    training: training.length,
    validation: validation.length,
    attack: attack.length,
    ngrams: [...model.counts()].length,
    dropped: model.dropped,
    auc: round(areaUnderCurve(ordinary, hostile), 4),
    micros_a_step: round(micros, 2),
  };
}

if (process.argv[1] === import.meta.filename) {
  const { values } = parseArgs({ options: { data: { type: 'string' } } });
  if (values.data === undefined || !fs.existsSync(values.data)) {
    process.stderr.write('usage: baseline.ts --data DIR, the folder ADFA-LD of the data set\n');
    process.exit(2);
  }
  const result = { bench: 'baseline adfa-ld', ...(await measureBaseline(values.data)) };
  process.stdout.write(`${JSON.stringify(result)}\n`);
}
