/**
 * Errors of the engine -> typed faults, by ClickHouse's error numbers (`src/Common/ErrorCodes.cpp`).
 * Words of a message are never looked at.
 */
import { StoreError, type StoreFaultCode } from '#schemas';

/** Numbers that mean: not now, the same statement may work later. */
const BUSY = new Map<number, string>([
  [202, 'TOO_MANY_SIMULTANEOUS_QUERIES'],
  [209, 'SOCKET_TIMEOUT'],
  [210, 'NETWORK_ERROR'],
  [236, 'ABORTED'],
  [242, 'TABLE_IS_READ_ONLY'],
  [243, 'NOT_ENOUGH_SPACE'],
  [252, 'TOO_MANY_PARTS'],
  [279, 'ALL_CONNECTION_TRIES_FAILED'],
  [285, 'TOO_FEW_LIVE_REPLICAS'],
  [286, 'UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE'],
  [305, 'TABLE_IS_DROPPED'],
  [319, 'UNKNOWN_STATUS_OF_INSERT'],
  [415, 'ALL_REPLICAS_LOST'],
  [425, 'SYSTEM_ERROR'],
  [439, 'CANNOT_SCHEDULE_TASK'],
  [473, 'DEADLOCK_AVOIDED'],
  [516, 'AUTHENTICATION_FAILED'],
  [692, 'TOO_MANY_MUTATIONS'],
  [999, 'KEEPER_EXCEPTION'],
]);

/** Numbers that mean: the query's own limit. */
const LIMIT = new Map<number, string>([
  [158, 'TOO_MANY_ROWS'],
  [159, 'TIMEOUT_EXCEEDED'],
  [160, 'TOO_SLOW'],
  [241, 'MEMORY_LIMIT_EXCEEDED'],
  [307, 'TOO_MANY_BYTES'],
  [394, 'QUERY_WAS_CANCELLED'],
  [396, 'TOO_MANY_ROWS_OR_BYTES'],
]);

/** The fault that an engine error number stands for. Unknown numbers are `refused`. */
export function faultCodeOf(engineCode: number, insert: boolean): StoreFaultCode {
  // An insert that ran into a limit may work later, or in smaller pieces; it is not the data's fault.
  if (LIMIT.has(engineCode)) return insert ? 'busy' : 'limit';
  return BUSY.has(engineCode) ? 'busy' : 'refused';
}

/**
 * The number of what the engine threw: a field of the error, or, where the binding drops it
 * (streams), the head of the engine's fixed format "Code: N. DB::Exception: …". Only the head:
 * the rest of a message quotes data.
 */
export function engineCodeOf(error: unknown): number | undefined {
  const field = (error as { clickhouseCode?: unknown } | null)?.clickhouseCode;
  if (typeof field === 'number') return field;
  const match = /^Code: (\d{1,5})\. DB::/.exec(error instanceof Error ? error.message : '');
  return match === null ? undefined : Number(match[1]);
}

const MESSAGE_CHARACTERS_MAX = 2000;

/** A StoreError from what the embedded engine threw. */
export function embeddedFault(error: unknown, insert: boolean): StoreError {
  if (error instanceof StoreError) return error;
  const message = error instanceof Error ? error.message : String(error);
  const engineCode = engineCodeOf(error);
  const short = message.slice(0, MESSAGE_CHARACTERS_MAX);
  if (engineCode === undefined)
    return new StoreError({ code: 'refused', message: short }, { cause: error });
  const code = faultCodeOf(engineCode, insert);
  return new StoreError({ code, engineCode, message: short }, { cause: error });
}
