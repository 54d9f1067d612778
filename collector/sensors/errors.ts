/** Why a command was not run under a sensor. */
import { constants } from 'node:os';
import type { LaunchFault } from './launch.ts';

/**
 * Why this rung can't work here; the command was not started, so another rung may try.
 * - `platform`: not Linux on x86_64.
 * - `kernel`: seccomp user notification is missing (before Linux 5.5, gVisor, WSL 1).
 * - `denied`: something above (a container's own filter) refuses it.
 * - `listener_taken`: a process may have one listener only, and it has one (EBUSY).
 * - `broken`: the sensor's own processes failed.
 */
export type SensorReason = 'platform' | 'kernel' | 'denied' | 'listener_taken' | 'broken';

export class SensorError extends Error {
  readonly reason: SensorReason;
  constructor(reason: SensorReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'SensorError';
    this.reason = reason;
  }
}

/** The command itself could not be started; `code` is the errno's name, such as ENOENT. */
export class CommandError extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.name = 'CommandError';
    this.code = code;
  }
}

const names = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]));

/** The name of an errno, such as ENOENT. */
export const errnoName = (number: number): string => names.get(number) ?? `errno ${number}`;

const FILTER_REASONS: Readonly<Record<string, [SensorReason, string]>> = {
  EBUSY: [
    'listener_taken',
    'another seccomp listener watches this process already: run outside of it, or use another rung',
  ],
  EINVAL: ['kernel', 'the kernel has no seccomp user notification: Linux 5.5 or newer is needed'],
  ENOSYS: ['kernel', 'the kernel has no seccomp user notification: Linux 5.5 or newer is needed'],
  EACCES: ['denied', 'the kernel refuses a seccomp filter without no_new_privs'],
  EPERM: ['denied', 'a policy above refuses seccomp: allow the seccomp system call'],
};

/** What the launcher's fault means for the caller. */
export function errorOf(fault: LaunchFault): SensorError | CommandError {
  const name = errnoName(fault.errno);
  if (fault.step === 'cwd')
    return new CommandError(name, `working directory ${JSON.stringify(fault.detail)}: ${name}`);
  if (fault.step === 'exec')
    return new CommandError(name, `cannot run ${JSON.stringify(fault.detail)}: ${name}`);
  const [reason, words] = FILTER_REASONS[name] ?? ['broken', fault.detail];
  return new SensorError(reason, `${words} (${fault.detail}: ${name})`);
}
