/**
 * Whose turn it is to write. Batches are made ready one after the other, in the order in which they
 * came. While one is written, the next one is made ready and handed over, so that the store has no
 * pause; no more than that, because each holds its rows twice or thrice in memory.
 *
 * Two batches that have a stream in common never are at it together: which of its numbers the table
 * holds is known again only when the first of them has ended, well or not.
 */

/** Batches that are handed over and have not ended. */
export const WRITES_MAX = 2;

interface Write {
  readonly streams: ReadonlySet<string>;
  readonly ended: Promise<unknown>;
}

export interface Turns {
  /**
   * Runs `prepare` when its turn has come, and at once `write` with what that gave. Rejects as
   * either does; those who wait behind it go on.
   */
  take<P, T>(
    streams: ReadonlySet<string>,
    prepare: () => Promise<P>,
    write: (ready: P) => Promise<T>,
  ): Promise<T>;
}

function haveCommon(a: ReadonlySet<string>, b: ReadonlySet<string>): boolean {
  for (const one of a) if (b.has(one)) return true;
  return false;
}

export function createTurns(writesMax = WRITES_MAX): Turns {
  const writes = new Set<Write>();
  let preparing: Promise<unknown> = Promise.resolve();

  /** Resolves when there is room for one more, and none of those before it has its streams. */
  async function place(streams: ReadonlySet<string>): Promise<void> {
    for (;;) {
      const before = [...writes];
      const sharing = before.find((one) => haveCommon(one.streams, streams));
      if (sharing !== undefined) await sharing.ended;
      else if (before.length >= writesMax) await Promise.race(before.map(({ ended }) => ended));
      else return;
    }
  }

  return {
    async take(streams, prepare, write) {
      const handedOver = preparing.then(async () => {
        await place(streams);
        const written = write(await prepare());
        const one: Write = {
          streams,
          ended: written
            .catch(() => {})
            .then(() => {
              writes.delete(one);
            }),
        };
        writes.add(one);
        // In a box: the next one's turn comes now, and not when it is written.
        return { written };
      });
      preparing = handedOver.catch(() => {});
      return (await handedOver).written;
    },
  };
}
