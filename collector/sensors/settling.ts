/** A sensor that also tells what became of the files that were written (`settle.ts`). */
import type { Clock, Draft } from '#schemas';
import type { SeccompSensor } from './seccomp.ts';
import { createSettler, type SettleOptions } from './settle.ts';

/** How often files of living processes are looked at. */
const QUIET_LOOK_MS = 1000;

/**
 * Wraps a sensor: behind its drafts come those of written files that have settled, and at the stop
 * those that are left. The sink is called from a timer as well; calls may overlap.
 */
export function createSettlingSensor(
  sensor: SeccompSensor,
  { clock, settle }: { readonly clock: Clock; readonly settle?: SettleOptions },
): SeccompSensor {
  return {
    async run(command, sink) {
      const settler = createSettler(clock, settle);
      const running = await sensor.run(command, (drafts) => {
        const settled = settler.take(drafts);
        return sink(settled.length === 0 ? drafts : [...drafts, ...settled]);
      });
      const tell = async (drafts: readonly Draft[]) => {
        if (drafts.length > 0) await sink(drafts);
      };
      const endLooks = clock.every(QUIET_LOOK_MS, () => {
        // A sink that fails is found by the recording, which waits for it.
        tell(settler.quiet()).catch(() => {});
      });
      return {
        ...running,
        async stop() {
          endLooks();
          await running.stop();
          await tell(settler.rest());
        },
      };
    },
  };
}
