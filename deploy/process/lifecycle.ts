import type { Log, Part } from '#schemas';

/** A mistake of the user's: printed without a stack, exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/**
 * Runs parts until SIGINT or SIGTERM, then stops them in reverse order, each at most
 * `stopMsMax`. A second signal exits at once. `failed` may end the run early with an error.
 */
export async function runParts(
  parts: readonly Part[],
  log: Log,
  failed?: Promise<never>,
  stopMsMax = 20_000,
): Promise<void> {
  const started: Part[] = [];
  const stopped = new Promise<void>((resolve) => {
    let signals = 0;
    for (const signal of ['SIGINT', 'SIGTERM'] as const)
      process.on(signal, () => {
        if (signals++ > 0) process.exit(130);
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
