import type { Log, Part } from '#schemas';

/** A mistake of the user's: printed without a stack, exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/**
 * One Ctrl-C arrives more than once: from the terminal, which sends it to the whole foreground
 * group, and from npm, which passes it on. Signals this soon after the first are the same one.
 */
const SAME_SIGNAL_MS = 1_000;

/**
 * Runs parts until SIGINT or SIGTERM, then stops them in reverse order, each at most
 * `stopMsMax`. A second signal, by a person, exits at once. `failed` may end the run early with an
 * error.
 */
export async function runParts(
  parts: readonly Part[],
  log: Log,
  failed?: Promise<never>,
  stopMsMax = 20_000,
): Promise<void> {
  const started: Part[] = [];
  const stopped = new Promise<void>((resolve) => {
    let firstMs: number | undefined;
    for (const signal of ['SIGINT', 'SIGTERM'] as const)
      process.on(signal, () => {
        const nowMs = performance.now();
        if (firstMs !== undefined && nowMs - firstMs > SAME_SIGNAL_MS) process.exit(130);
        if (firstMs !== undefined) return;
        firstMs = nowMs;
        log.info('process.stopping', { signal });
        resolve();
      });
  });
  try {
    for (const part of parts) {
      started.push(part);
      await part.start();
    }
    await Promise.race([stopped, ...(failed === undefined ? [] : [failed])]);
  } finally {
    for (const part of started.reverse()) await within(part.stop(), stopMsMax, log);
  }
}

async function within(work: Promise<void>, ms: number, log: Log): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(() => {
      log.error('process.stop_timeout', { ms });
      resolve();
    }, ms);
  });
  await Promise.race([work, late]);
  clearTimeout(timer);
}
