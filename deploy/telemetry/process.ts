/** What a process takes: processor, memory, open files, and how late its event loop is. */
import fs from 'node:fs';
import { monitorEventLoopDelay, performance } from 'node:perf_hooks';
import type { Meter } from '#schemas';

export const LOOK_EVERY_MS = 5_000;
/** How finely lateness is measured; the timer itself costs some microseconds a second. */
const RESOLUTION_MS = 10;
const OPEN_FILES = '/proc/self/fd';

export interface ProcessWatch {
  /** Says how it is now. */
  look(): void;
  stop(): void;
}

/** The directory that is read here is open meanwhile, and is not counted. */
function openFiles(): number | undefined {
  try {
    return fs.readdirSync(OPEN_FILES).length - 1;
  } catch {
    return undefined;
  }
}

/**
 * Looks every `everyMs`; the lateness of the event loop is of the time since the last look. It holds no
 * process open.
 */
export function watchProcess(meter: Meter, everyMs = LOOK_EVERY_MS): ProcessWatch {
  const lateness = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  lateness.enable();
  let before = { user: 0, system: 0 };
  let loop = performance.eventLoopUtilization();

  function look(): void {
    const now = process.cpuUsage();
    for (const mode of ['user', 'system'] as const)
      meter.count('process.cpu.time', (now[mode] - before[mode]) / 1e6, { 'cpu.mode': mode });
    before = now;
    meter.gauge('process.memory.usage', process.memoryUsage.rss());
    meter.gauge('process.uptime', process.uptime());
    const files = openFiles();
    if (files !== undefined) meter.gauge('process.unix.file_descriptor.count', files);
    const utilization = performance.eventLoopUtilization(loop);
    loop = performance.eventLoopUtilization();
    meter.gauge('nodejs.eventloop.utilization', utilization.utilization);
    // The timer's own period is in each of its measurements.
    const late = (ns: number) => Math.max(0, ns / 1e9 - RESOLUTION_MS / 1e3);
    if (lateness.count > 0) {
      meter.gauge('nodejs.eventloop.delay.p50', late(lateness.percentile(50)));
      meter.gauge('nodejs.eventloop.delay.p99', late(lateness.percentile(99)));
      meter.gauge('nodejs.eventloop.delay.max', late(lateness.max));
    }
    lateness.reset();
  }

  const timer = setInterval(look, everyMs);
  timer.unref();
  look();
  return {
    look,
    stop() {
      clearInterval(timer);
      lateness.disable();
    },
  };
}
