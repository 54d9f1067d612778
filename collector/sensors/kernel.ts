/** What the running kernel can do, by its release. */
import { release } from 'node:os';

/** PIDFD_GET_INFO tells exit states from Linux 6.15 on; older kernels ignore the wish silently. */
export function hasExitState(): boolean {
  const [major = 0, minor = 0] = release()
    .split('.')
    .map((part) => Number.parseInt(part, 10));
  return major > 6 || (major === 6 && minor >= 15);
}
