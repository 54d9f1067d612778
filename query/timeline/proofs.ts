/**
 * Where an event stands in its stream's chain: its number, its digest, and the checkpoint that
 * covers it. With these three anybody can prove it against the stream's keys and the log
 * (`schemas/README.md`), offline and without this service.
 */
import { digestOf, eventId, type Integrity, provesChange, type TelltaleEvent } from '#schemas';
import type { StreamVerdicts } from './story.ts';
import type { FlatEvent } from './view.ts';

/** The signed statement over all events before it. */
export interface CoveringCheckpoint {
  readonly eventId: string;
  readonly seq: number;
  readonly chainHead: string;
  readonly signature?: string;
}

export interface Proof {
  readonly streamId: string;
  readonly seq: number;
  /** SHA-256 over the event's committed form; absent where the kind is not known. */
  readonly digest?: string;
  /**
   * `proved`: the chain holds up to its checkpoint. `changed`: a fault lies here. `unproved`: a
   * checkpoint stands behind it and does not prove it. `uncovered`: none stands behind it yet.
   * `unchecked`: nobody verified the stream.
   */
  readonly status: 'proved' | 'changed' | 'unproved' | 'uncovered' | 'unchecked';
  readonly checkpoint?: CoveringCheckpoint;
  /** What the transparency log is asked about, and its answer compared with. */
  readonly sealable: Sealable;
}

/** An event's place, and what the store has of the events of its stream by their numbers. */
export interface Sealable {
  readonly tenant: string;
  readonly sessionId: string;
  readonly streamId: string;
  readonly seq: number;
  /** Its digest, and of a checkpoint the chain before it; undefined where there is no such event. */
  stored(seq: number): { readonly digest: string; readonly chainHead?: string } | undefined;
}

export interface Proofs {
  readonly of: (event: FlatEvent) => Proof;
}

function statusOf(integrity: Integrity | undefined, seq: number, covered: boolean) {
  if (integrity === undefined) return 'unchecked';
  const within = ([first, last]: readonly [number, number]) => seq >= first && seq <= last;
  const faults = integrity.faults.filter(({ kind }) => provesChange(kind));
  if (faults.some((fault) => fault.seq === seq || (fault.range && within(fault.range))))
    return 'changed';
  if (seq < integrity.covered) return 'proved';
  return covered ? 'unproved' : 'uncovered';
}

/** Proofs of a session's events, each made when it is asked for. */
export function proofsOf(events: readonly FlatEvent[], streams: readonly StreamVerdicts[]): Proofs {
  const integrity = new Map(streams.map((stream) => [stream.streamId, stream.integrity]));
  const checkpoints = new Map<string, FlatEvent[]>();
  for (const event of events) {
    if (event.chain_head === undefined) continue;
    const list = checkpoints.get(event.stream_id);
    if (list === undefined) checkpoints.set(event.stream_id, [event]);
    else list.push(event);
  }
  for (const list of checkpoints.values()) list.sort((a, b) => a.seq - b.seq);

  function covering({ stream_id: stream, seq }: FlatEvent): FlatEvent | undefined {
    const list = checkpoints.get(stream) ?? [];
    let low = 0;
    let high = list.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((list[middle] as FlatEvent).seq < seq) low = middle + 1;
      else high = middle;
    }
    return list[low];
  }
  const byId = new Map(events.map((event) => [eventId(event), event]));
  const storedOf = (stream_id: string) => (seq: number) => {
    const event = byId.get(eventId({ stream_id, seq }));
    if (event === undefined) return undefined;
    const chainHead = event.chain_head;
    const digest = digestOf(event as unknown as TelltaleEvent);
    return { digest, ...(chainHead === undefined ? {} : { chainHead }) };
  };
  return {
    of(event) {
      const point = covering(event);
      const { tenant, session_id: sessionId, stream_id: streamId, seq } = event;
      return {
        streamId,
        seq,
        sealable: { tenant, sessionId, streamId, seq, stored: storedOf(streamId) },
        digest: digestOf(event as unknown as TelltaleEvent),
        status: statusOf(integrity.get(streamId), seq, point !== undefined),
        ...(point === undefined
          ? {}
          : {
              checkpoint: {
                eventId: eventId(point),
                seq: point.seq,
                chainHead: point.chain_head ?? '',
                ...(point.signature === undefined ? {} : { signature: point.signature }),
              },
            }),
      };
    },
  };
}
