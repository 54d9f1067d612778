/** Counts what events say of the recording itself: declared gaps, and what sensors cover. */
import { GAP_REASONS, labelOf, METRICS, type Meter, type TelltaleEvent } from '#schemas';
import type { Detect } from '../../ingest/detect/live.ts';

const COVERAGES = METRICS['telltale.ingest.sensors'].labels.coverage;

/** How many events a gap declares: the numbers from first to last, or a count; 0 where unknown. */
function missing(event: TelltaleEvent & { kind: 'gap' }): number {
  const { gap_first_seq: first, gap_last_seq: last, gap_count: count } = event;
  return count ?? (first === undefined || last === undefined ? 0 : last - first + 1);
}

function tally(event: TelltaleEvent, meter: Meter): void {
  if (event.kind === 'gap') {
    const reason = labelOf(GAP_REASONS, event.gap_reason);
    meter.count('telltale.ingest.gaps', 1, { reason });
    meter.count('telltale.ingest.gap_events', missing(event));
  } else if (event.kind === 'sensor' && event.sensor_rung !== undefined) {
    const coverage = labelOf(COVERAGES, event.coverage);
    meter.count('telltale.ingest.sensors', 1, { coverage });
  }
}

/** The live side of rules, with a count of what goes by. */
export function tallied(
  detect: Pick<Detect, 'see' | 'forget'>,
  meter: Meter,
): Pick<Detect, 'see' | 'forget'> {
  return {
    async see(events, signal) {
      await detect.see(events, signal);
      for (const event of events) tally(event, meter);
    },
    forget: () => detect.forget(),
  };
}
