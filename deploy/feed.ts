/** The meaning of `--feed`: which sensor's output, and where it comes from. */

import type { FeedFormat } from '../collector/feeds/facts.ts';
import { FALCO } from '../collector/feeds/falco.ts';
import { GVISOR } from '../collector/feeds/gvisor.ts';
import type { FeedPlace } from '../collector/feeds/source.ts';
import { TETRAGON } from '../collector/feeds/tetragon.ts';
import { UsageError } from './process/lifecycle.ts';

const FORMATS: Readonly<Record<string, FeedFormat>> = {
  falco: FALCO,
  tetragon: TETRAGON,
  gvisor: GVISOR,
};

export interface FeedOption {
  readonly format: FeedFormat;
  readonly place: FeedPlace;
}

/** `falco:FILE`, `tetragon:unix:SOCKET`, `falco:-`, `gvisor:unix:SOCKET`. Throws UsageError that names what is wrong. */
export function feedOf(text: string): FeedOption {
  const at = text.indexOf(':');
  const [name, where] = [text.slice(0, Math.max(at, 0)), text.slice(at + 1)];
  const format = Object.hasOwn(FORMATS, name) ? FORMATS[name] : undefined;
  if (format === undefined || where === '')
    throw new UsageError(
      `--feed ${text}: give ${Object.keys(FORMATS).join(' or ')}, and FILE, unix:SOCKET or "-" behind a colon`,
    );
  if (format === GVISOR) {
    if (!where.startsWith('unix:'))
      throw new UsageError(
        `--feed ${text}: gVisor's sink connects to a socket: gvisor:unix:SOCKET`,
      );
    return { format, place: { from: 'gvisor', path: where.slice('unix:'.length) } };
  }
  if (where === '-') return { format, place: { from: 'stdin', stream: process.stdin } };
  return where.startsWith('unix:')
    ? { format, place: { from: 'unix', path: where.slice('unix:'.length) } }
    : { format, place: { from: 'file', path: where } };
}
