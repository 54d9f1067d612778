/**
 * `work`, or a rejection with what `stopped` makes as soon as `signal` is aborted: for work that
 * can't be told to give up. Leaves no listener behind.
 */
export function orAbort<T>(
  work: Promise<T>,
  signal: AbortSignal,
  stopped: () => Error,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const give = () => reject(stopped());
    if (signal.aborted) give();
    else signal.addEventListener('abort', give, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', give));
  });
}
