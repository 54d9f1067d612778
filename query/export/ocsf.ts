/**
 * Events as OCSF 1.8.0 (Open Cybersecurity Schema Framework, https://schema.ocsf.io): what all of them
 * have, around what `ocsf-map.ts` makes of each kind. `unmapped.telltale` holds every field that the
 * class has no place for, so nothing is lost. Times are milliseconds, as OCSF has them; the exact one is
 * in `metadata.original_time`.
 */
import { eventId, REGISTRY, SCHEMA_VERSION } from '#schemas';
import { SUMMARY_CHARACTERS_MAX } from '../content.ts';
import { timeText } from '../render.ts';
import type { FlatEvent } from '../timeline/view.ts';
import { type Json, mapped, OTHER, some } from './ocsf-map.ts';

export const OCSF_VERSION = '1.8.0';

const STATUS: Readonly<Record<string, number>> = { success: 1, failure: 2, denied: 2 };
/** What stands in `metadata`, `time` and the class itself. */
const TOLD = new Set(['kind', 'ts', 'observed_ts', 'tenant', 'seq', 'source', 'session_id']);

function messageOf(event: FlatEvent): string {
  const text = REGISTRY.get(event.kind)?.summary(event as never) ?? event.kind;
  return text.slice(0, SUMMARY_CHARACTERS_MAX).toWellFormed();
}

/** The event as OCSF has it. */
export function ocsfOf(event: FlatEvent): Json {
  const { class_uid, activity_id, activity_name, profiles = [], fields, carried } = mapped(event);
  const told = new Set<string>([...TOLD, ...carried]);
  const rest = Object.fromEntries(Object.entries(event).filter(([name]) => !told.has(name)));
  return {
    class_uid,
    category_uid: Math.floor(class_uid / 1000),
    activity_id,
    ...(activity_name === undefined ? {} : { activity_name }),
    type_uid: class_uid * 100 + activity_id,
    severity_id: 1,
    time: Number(BigInt(event.ts) / 1_000_000n),
    message: messageOf(event),
    ...(event.outcome === undefined ? {} : { status_id: STATUS[event.outcome] ?? OTHER }),
    metadata: some({
      version: OCSF_VERSION,
      product: { name: 'Telltale', vendor_name: 'Telltale', version: SCHEMA_VERSION },
      uid: eventId(event),
      sequence: event.seq,
      correlation_uid: event.session_id,
      tenant_uid: event.tenant,
      event_code: event.kind,
      log_name: event.source,
      original_time: timeText(event.ts),
      logged_time: Number(BigInt(event.observed_ts) / 1_000_000n),
      profiles: profiles.length === 0 ? undefined : profiles,
    }),
    ...fields,
    ...(Object.keys(rest).length === 0 ? {} : { unmapped: { telltale: rest } }),
  };
}
