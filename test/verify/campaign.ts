/**
 * The mutation campaign: clean bundles out of a seed, each hurt in one way, and both verifiers asked.
 *
 * *Found*: a verdict is worse than the clean bundle's, or the bundle is refused where it is no
 * bundle any more. *Located*: the first place that a verdict names is the place that was hurt: the
 * very line or event, or an interval of events that holds it and does not reach beyond the checkpoints
 * around it. *Agreed*: the second verifier gives the same three verdicts and the same first places.
 */
import { FILE_ORDER, type Place, UnreadableError } from '../../schemas/evidence/format.ts';
import type { Report } from '../../schemas/evidence/report.ts';
import { verifyEvidence } from '../../schemas/evidence/verify.ts';
import { parseCheckpointText, parseNote } from '../../schemas/note.ts';
import { CLEAN } from './clean.ts';
import { BUNDLE_MUTATIONS } from './mutate-bundle.ts';
import { type Mutate, STORE_MUTATIONS } from './mutate-store.ts';
import { sourceOf, tarOf } from './pack.ts';
import { type Place as SecondPlace, verifyBundle } from './second.ts';
import { createSubject, KEYS, type Mutation, type Subject, type Target } from './subject.ts';
import { Unreadable } from './tar.ts';
import { createDice, type Dice } from './world.ts';

export interface Outcome {
  readonly kind: string;
  readonly found: boolean;
  readonly located: boolean;
  readonly agreed: boolean;
  /** Enough to see what went wrong. */
  readonly story: string;
}

const RANKS = {
  integrity: ['intact', 'unverifiable', 'broken'],
  completeness: ['complete', 'declared', 'open', 'incomplete'],
  assurance: ['full', 'partial', 'agent-only', 'none'],
} as const;
type Name = keyof typeof RANKS;
const NAMES = Object.keys(RANKS) as Name[];

interface Verdict {
  readonly verdict: string;
  readonly first?: SecondPlace | undefined;
}
interface Verdicts {
  readonly integrity: Verdict & {
    readonly faults: readonly SecondPlace[];
    readonly stretches: readonly SecondPlace[];
  };
  readonly completeness: Verdict;
  readonly assurance: Verdict;
}

/** Whether a verdict is worse than before. */
const isWorse = (clean: Verdicts, now: Verdicts): boolean =>
  NAMES.some((name) => {
    const ranks: readonly string[] = RANKS[name];
    return ranks.indexOf(now[name].verdict) > ranks.indexOf(clean[name].verdict);
  });

const ORDER: readonly string[] = [...FILE_ORDER.slice(1), 'manifest.json', 'bundle'];
const inOrder = (a: SecondPlace, b: SecondPlace): number =>
  ORDER.indexOf(a.file) - ORDER.indexOf(b.file) || (a.line ?? Infinity) - (b.line ?? Infinity) || 0;

/**
 * The first places that the clean bundle's verdicts do not name: of integrity and of completeness.
 * A bundle that has a hole already is unverifiable before it is hurt.
 */
function news(clean: Verdicts, now: Verdicts): (SecondPlace | undefined)[] {
  const known = new Set([...clean.integrity.faults, ...clean.integrity.stretches].map(bare));
  const isNew = (place: SecondPlace) => !known.has(bare(place));
  const { faults, stretches } = now.integrity;
  const of = (places: readonly SecondPlace[]) => [...places].filter(isNew).sort(inOrder)[0];
  const { first } = now.completeness;
  const lost = bare(first) === bare(clean.completeness.first) ? undefined : first;
  return [of(faults) ?? of(stretches), lost];
}

function isAt(place: SecondPlace | undefined, target: Target): boolean {
  if (place === undefined) return false;
  if ('file' in target)
    return place.file === target.file && (target.line === undefined || place.line === target.line);
  const { stream_id: stream, first_seq: first, last_seq: last } = place;
  if (stream !== target.stream || first === undefined || last === undefined) return false;
  return first >= target.first && last <= target.last;
}

/** A place without its words; what both verifiers must agree on. */
function bare(place: SecondPlace | Place | undefined): string {
  if (place === undefined) return 'none';
  const { code, file, line, stream_id, first_seq, last_seq, field } = place;
  return JSON.stringify([code, file, line, stream_id, first_seq, last_seq, field]);
}
const brief = (verdicts: Verdicts): string =>
  NAMES.map((name) => `${verdicts[name].verdict} ${bare(verdicts[name].first)}`).join(' | ');

function knownOf(note: string | undefined) {
  if (note === undefined) return {};
  const parsed = parseNote(note);
  const head = parsed.ok ? parseCheckpointText(parsed.value.text) : undefined;
  return head?.ok ? { known: head.value } : {};
}

async function first(mutation: Mutation): Promise<Report | 'unreadable'> {
  const { knownNote, ...options }: NonNullable<Mutation['options']> = mutation.options ?? KEYS;
  if (mutation.files === undefined) return 'unreadable';
  try {
    return await verifyEvidence(sourceOf(mutation.files, 4096), {
      ...options,
      ...knownOf(knownNote),
    });
  } catch (error) {
    if (error instanceof UnreadableError) return 'unreadable';
    throw error;
  }
}

function second(mutation: Mutation): Verdicts | 'unreadable' {
  const options: NonNullable<Mutation['options']> = mutation.options ?? KEYS;
  const bytes = mutation.bytes ?? tarOf(mutation.files ?? new Map());
  try {
    return verifyBundle(bytes, {
      logKeys: (options.logKeys ?? []).map(({ text }) => text),
      witnesses: (options.witnesses ?? []).map(({ text }) => text),
      knownNote: options.knownNote,
      sha256: options.sha256?.mustBe,
    });
  } catch (error) {
    if (error instanceof Unreadable) return 'unreadable';
    throw error;
  }
}

/** Applies one mutation and judges what the verifiers make of it. */
export async function judge(subject: Subject, clean: Report, mutation: Mutation): Promise<Outcome> {
  const two = second(mutation);
  const one = mutation.files === undefined ? two : await first(mutation);
  const { kind, detail } = mutation;
  const story = (what: string) => `${subject.name}: ${kind} (${detail}): ${what}`;
  if (one === 'unreadable' || two === 'unreadable') {
    const both = one === two;
    const found = mutation.unreadable === true && both;
    return { kind, found, located: found, agreed: both, story: story('unreadable') };
  }
  const places = news(clean, one);
  const located = places.some((place) => mutation.targets.some((target) => isAt(place, target)));
  const agreed =
    brief(one) === brief(two) && places.map(bare).join() === news(clean, two).map(bare).join();
  return {
    kind,
    found: isWorse(clean, one) || places.some((place) => place !== undefined),
    located,
    agreed,
    story: story(
      `${brief(one)}${agreed ? '' : ` // ${brief(two)}`} // wanted ${JSON.stringify(mutation.targets)}`,
    ),
  };
}

const WEIGHED = [...STORE_MUTATIONS, ...BUNDLE_MUTATIONS];
const TOTAL = WEIGHED.reduce((sum, [weight]) => sum + weight, 0);

function pickMutation(dice: Dice): Mutate {
  let at = dice.upTo(TOTAL);
  for (const [weight, mutate] of WEIGHED) {
    if (at < weight) return mutate;
    at -= weight;
  }
  throw new Error('unreachable');
}

/** Mutations on one clean bundle, before the next one is made. */
const PER_SUBJECT = 40;
const LOGGED = CLEAN.filter(({ log }) => log !== false);

export interface Campaign {
  readonly outcomes: readonly Outcome[];
  readonly bundles: number;
}

/** Runs `count` mutations out of `seed`; the same numbers give the same campaign. */
export async function runCampaign(
  seed: number,
  count: number,
  each: (outcome: Outcome, done: number) => void = () => {},
): Promise<Campaign> {
  const outcomes: Outcome[] = [];
  let bundles = 0;
  while (outcomes.length < count) {
    const dice = createDice(`campaign ${seed} ${bundles}`);
    const clean = LOGGED[bundles % LOGGED.length] as (typeof LOGGED)[number];
    const subject = await createSubject(clean, `${seed} ${bundles}`);
    bundles++;
    const report = await verifyEvidence(sourceOf(subject.files), KEYS);
    if (
      report.integrity.verdict !== clean.integrity ||
      report.completeness.verdict !== clean.completeness
    )
      throw new Error(
        `a false alarm on a clean bundle: ${clean.name} ${seed} ${bundles}: ${brief(report)}`,
      );
    const end = Math.min(count, outcomes.length + PER_SUBJECT);
    while (outcomes.length < end) {
      const mutation = await pickMutation(dice)(subject, dice);
      if (mutation === undefined) continue;
      const outcome = await judge(subject, report, mutation);
      outcomes.push(outcome);
      each(outcome, outcomes.length);
    }
  }
  return { outcomes, bundles };
}

/** A table: kind, how many, how many found, located, agreed. */
export function tableOf(outcomes: readonly Outcome[]): string {
  const kinds = new Map<string, Outcome[]>();
  for (const one of outcomes) kinds.set(one.kind, [...(kinds.get(one.kind) ?? []), one]);
  const row = (name: string, all: readonly Outcome[]) =>
    `${name.padEnd(58)} ${[all.length, ...(['found', 'located', 'agreed'] as const).map((key) => all.filter((one) => one[key]).length)].map((n) => String(n).padStart(7)).join(' ')}`;
  const head = `${'mutation'.padEnd(58)} ${['tried', 'found', 'located', 'agreed'].map((word) => word.padStart(7)).join(' ')}`;
  return [
    head,
    ...[...kinds].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, all]) => row(name, all)),
    row('all', outcomes),
  ].join('\n');
}
