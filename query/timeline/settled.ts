/**
 * The state of a written file, told when its writer has ended or was quiet for a while, belongs to
 * whoever wrote the file and not to whoever is at work when it is read.
 */
import { eventId } from '#schemas';
import type { FlatEvent } from './view.ts';

const attr = (event: FlatEvent, name: string): string | undefined =>
  event.attrs !== undefined && Object.hasOwn(event.attrs, name) ? event.attrs[name] : undefined;

const WRITING: ReadonlySet<string | undefined> = new Set(['create', 'write', 'truncate', 'rename']);

/**
 * For each event that tells the state of a file after the fact and names no call itself, the write
 * whose state it is: by event id. The write is the one that `opened_ts` names; of a recording without it, the newest
 * earlier one of that path by that process. `events` in order.
 */
export function settledWrites(events: readonly FlatEvent[]): ReadonlyMap<string, FlatEvent> {
  const last = new Map<string, FlatEvent>();
  const exact = new Map<string, FlatEvent>();
  const out = new Map<string, FlatEvent>();
  for (const event of events) {
    const { stream_id: stream, pid, file_op: op, outcome } = event;
    if (!WRITING.has(op)) continue;
    const path = op === 'rename' ? event.file_target_path : event.file_path;
    const place = JSON.stringify([stream, pid ?? null, path ?? null]);
    if (attr(event, 'state') === 'after') {
      if (event.tool_call_id !== undefined) continue;
      const opened = attr(event, 'opened_ts');
      const write = opened === undefined ? last.get(place) : exact.get(`${opened} ${place}`);
      if (write !== undefined) out.set(eventId(event), write);
    } else if (outcome !== 'failure') {
      last.set(place, event);
      exact.set(`${event.ts} ${place}`, event);
    }
  }
  return out;
}
