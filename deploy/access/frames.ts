/**
 * Frames come from whoever can connect, and a recorded agent can. None of them may hold what only the
 * service says: who read what, and what an investigator noted.
 */
import { parseJson, REGISTRY, unframe } from '#schemas';
import type { Ingest } from '../../ingest/loop.ts';

/** Kinds of the service's own, and how they stand in a canonical line. */
const OWN = [...REGISTRY.values()]
  .filter(({ role }) => role === 'stored')
  .map(({ kind }) => Buffer.from(`"kind":"${kind}"`));

/** A frame that is refused whole; the status is for its sender. */
class ForeignFrameError extends Error {
  override readonly name = 'ForeignFrameError';
  readonly statusCode = 403;
}

const mayHold = (bytes: Uint8Array): boolean => {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return OWN.some((mark) => buffer.includes(mark));
};

/** Whether a line is an event of the service's own kinds; the same text may stand in a map. */
function isOwn(line: Uint8Array): boolean {
  if (!mayHold(line)) return false;
  const text = Buffer.from(line.buffer, line.byteOffset, line.byteLength).toString();
  return REGISTRY.get((parseJson(text) as { kind: string }).kind)?.role === 'stored';
}

/** The same way in, for frames of collectors: rejects those that hold an event of the service. */
export function forCollectors(ingest: Ingest): Ingest {
  return {
    forget: ingest.forget,
    take: async (batch, signal) => {
      for (const { bytes } of batch.frames)
        if (mayHold(bytes) && unframe(bytes).good.some(({ bytes: line }) => isOwn(line)))
          throw new ForeignFrameError('a collector can’t send what the query service records');
      return ingest.take(batch, signal);
    },
  };
}
