/** Puts the live side of rules together: rule folders, engine, sinks. */
import path from 'node:path';
import {
  type Alert,
  type Clock,
  createEngine,
  createRuleSet,
  createViews,
  faultText,
  type Log,
  type Meter,
  type Part,
  type Random,
  type Rule,
  type Store,
  scopeOf,
} from '#schemas';
import { ALERTMANAGER_DEFAULTS, createAlertmanager } from '../../ingest/detect/alertmanager.ts';
import { createLiveBaseline } from '../../ingest/detect/baseline.ts';
import { createDelivery } from '../../ingest/detect/delivery.ts';
import { createFleet } from '../../ingest/detect/fleet.ts';
import { createDetect, type Detect } from '../../ingest/detect/live.ts';
import type { Sink, SinkDeps } from '../../ingest/detect/sink.ts';
import {
  createTopicSink,
  TOPIC_SINK_DEFAULTS,
  type TopicSinkSettings,
} from '../../ingest/detect/topic.ts';
import { createWebhook, WEBHOOK_DEFAULTS } from '../../ingest/detect/webhook.ts';
import { createWriter } from '../../ingest/write.ts';
import { UsageError } from '../process/lifecycle.ts';
import type { Shipped } from '../settings.ts';
import { readBaseline, SHIPPED_BASELINE } from './baseline.ts';
import { readRuleFolder } from './folder.ts';

/** The rules that ship with the product; beside this file in the source and in dist/ alike. */
export const SHIPPED_RULES = ['default', 'sigma'].map((name) =>
  path.join(import.meta.dirname, name),
);
export const SHIPPED: Shipped = { folders: SHIPPED_RULES, baseline: SHIPPED_BASELINE };

/** Between two looks for absences that have become certain. */
const ADVANCE_MS = 5_000;

export interface DetectionSettings {
  /** Rule folders; each file that can't be compiled is refused by name. */
  readonly folders: readonly string[];
  readonly alertmanagerUrl?: string;
  readonly webhookUrl?: string;
  readonly webhookSecret?: string;
  /** The file of the learned baseline; absent: there is none. */
  readonly baseline?: string;
  /** Whether rules of a whole tenant run here; in one process of an installation they do. */
  readonly fleetRules: boolean;
  readonly alertTopic?: Pick<TopicSinkSettings, 'brokers' | 'topic' | 'security'>;
  /** Where the query service is reached, for links in alerts; asked when one is made. */
  readonly queryUrl: () => string;
}

interface Deps {
  readonly store: Store;
  readonly log: Log;
  readonly meter: Meter;
  readonly clock: Clock;
  readonly random: Random;
}

export interface Detection extends Part {
  /** What ingest shows to what it has stored. */
  readonly detect: Pick<Detect, 'see' | 'forget'>;
  readonly rules: readonly Rule[];
  /** Alerts that a receiver has not got yet. */
  readonly waiting: number;
}

/**
 * The rules over what belongs between events that are stored long ago, such as dead letters that
 * are replayed: with each batch its sessions are read again whole, as after a restart.
 */
export const overWhole = (detect: Detection['detect']): Detection['detect'] => ({
  async see(events, signal) {
    detect.forget();
    await detect.see(events, signal);
  },
  forget: () => detect.forget(),
});

/** All rules of the folders. Throws `UsageError` that names each rule that was refused. */
export function readRules(folders: readonly string[]): readonly Rule[] {
  const loaded = folders.map((folder) => ({ folder, ...readRuleFolder(folder) }));
  const faults = loaded.flatMap(({ folder, faults: found }) =>
    found.map((fault) => faultText({ ...fault, file: path.join(folder, fault.file) })),
  );
  if (faults.length > 0)
    throw new UsageError(`rules that can't be used:\n  ${faults.join('\n  ')}`);
  return loaded.flatMap(({ rules }) => rules);
}

function createSinks(
  settings: DetectionSettings,
  deps: Deps,
  delivered: NonNullable<SinkDeps['delivered']>,
): readonly Sink[] {
  const { log, meter, clock } = deps;
  const link = ({ session_id, events }: Alert) =>
    `${settings.queryUrl()}/v1/sessions/${session_id}/story#${events[0]?.id ?? ''}`;
  const shared = { log, meter, clock, link, delivered };
  const sinks: Sink[] = [];
  if (settings.alertmanagerUrl !== undefined)
    sinks.push(
      createAlertmanager({ ...ALERTMANAGER_DEFAULTS, url: settings.alertmanagerUrl }, shared),
    );
  if (settings.webhookUrl !== undefined) {
    if (settings.webhookSecret === undefined)
      throw new UsageError('a webhook needs a secret to sign with: set TELLTALE_WEBHOOK_SECRET');
    const { webhookUrl: url, webhookSecret: secret } = settings;
    sinks.push(createWebhook({ ...WEBHOOK_DEFAULTS, url, secret }, shared));
  }
  if (settings.alertTopic !== undefined)
    sinks.push(createTopicSink({ ...TOPIC_SINK_DEFAULTS, ...settings.alertTopic }, shared));
  return sinks;
}

/** The live side of rules. */
export function createDetection(settings: DetectionSettings, deps: Deps): Detection {
  const { store, log, meter, clock } = deps;
  const all = readRules(settings.folders);
  const rules = all.filter((rule) => scopeOf(rule) === 'session');
  const reaching = all.filter((rule) => scopeOf(rule) === 'tenant');
  const tenantRules = settings.fleetRules ? reaching : [];
  const writer = createWriter(deps);
  const delivery = createDelivery({
    ...deps,
    writer,
    sinks: (delivered) => createSinks(settings, deps, delivered),
  });
  const shared = { store, log, meter, clock, writer, sinks: [delivery] };
  const detect = createDetect({
    ...shared,
    engine: createEngine(createRuleSet(rules), createViews()),
    rules: new Set(rules.map(({ meta }) => meta.id)),
  });
  const fleet = createFleet({ ...shared, rules: tenantRules });
  const baseline =
    settings.baseline === undefined
      ? undefined
      : createLiveBaseline({ ...shared, rule: readBaseline(settings.baseline) });
  const abort = new AbortController();
  let stopTimer = () => {};
  return {
    detect: {
      async see(events, signal) {
        await detect.see(events, signal);
        await baseline?.see(events, signal);
      },
      forget() {
        detect.forget();
        baseline?.forget();
      },
    },
    rules: [...rules, ...tenantRules],
    get waiting() {
      return delivery.waiting ?? 0;
    },
    async start() {
      const left = reaching.length - tenantRules.length;
      if (left > 0) log.info('rules.left_to_fleet_rules', { rules: left });
      await delivery.start();
      await fleet.start();
      stopTimer = clock.every(ADVANCE_MS, () => {
        detect.advance(abort.signal).catch((error) => {
          if (!abort.signal.aborted) log.error('detect.advance_failed', { error: String(error) });
        });
      });
    },
    async stop() {
      stopTimer();
      abort.abort();
      await fleet.stop();
      await delivery.stop();
    },
  };
}
