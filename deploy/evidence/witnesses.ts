/** Witnesses, asked by themselves: what a log hands out of their notes may be an old one. */
import { CHECKPOINT_PATH, parseCheckpointText, parseNote } from '#schemas';
import type { Witnessed } from '../../ingest/seal/audit.ts';
import { originHash } from '../../ingest/seal/witness.ts';
import type { WitnessAddress } from '../../ingest/seal/witnesses.ts';

const ANSWER_MS_MAX = 10_000;
/** A note is some lines of text. */
const NOTE_BYTES_MAX = 64 * 1024;

async function noteOf(address: WitnessAddress, origin: string): Promise<string | undefined> {
  const url = `${address.url}/${originHash(origin)}/${CHECKPOINT_PATH}`;
  const signal = AbortSignal.timeout(ANSWER_MS_MAX);
  const response = await fetch(url, { signal, redirect: 'error' }).catch((error: Error) => {
    const what = `the witness ${address.key.name} does not answer at ${address.url}`;
    throw new Error(`${what}: start it, or leave its --witness out`, { cause: error });
  });
  if (response.status === 404) {
    await response.body?.cancel();
    return undefined;
  }
  if (!response.ok) throw new Error(`${url}: the witness answers ${response.status}`);
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of response.body ?? []) {
    bytes += part.length;
    if (bytes > NOTE_BYTES_MAX) throw new Error(`${url}: longer than ${NOTE_BYTES_MAX} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

/**
 * Asks each witness for the note that it gave the log `origin` last. Rejects where one does not
 * answer: that it is away is no word about the log.
 */
export const askWitnesses = (
  addresses: readonly WitnessAddress[],
  origin: string,
): Promise<readonly Witnessed[]> =>
  Promise.all(
    addresses.map(async (address) => ({
      key: address.key,
      note: await noteOf(address, origin),
    })),
  );

/** How many leaves the notes say that their witnesses saw; a note that can't be read says nothing. */
export function seenSize(witnessed: readonly Witnessed[]): number {
  const sizes = witnessed.map(({ note }) => {
    const parsed = note === undefined ? undefined : parseNote(Buffer.from(note));
    const head = parsed?.ok ? parseCheckpointText(parsed.value.text) : undefined;
    return head?.ok ? head.value.size : 0;
  });
  return Math.max(0, ...sizes);
}
