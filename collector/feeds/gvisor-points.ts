/**
 * gVisor's trace points: which message of the remote sink is which, and its fields. The numbers are
 * those of pkg/sentry/seccheck/points/*.proto (https://github.com/google/gvisor, Apache-2.0, August
 * 2026), reduced to what is read here; the decoder skips all other fields, as protobuf wants it.
 */
import Long from 'long';
import protobuf from 'protobufjs/light.js';
import type { Fields } from './facts.ts';

const field = (type: string, id: number) => ({ type, id });
const many = (type: string, id: number) => ({ rule: 'repeated', type, id });
const context = field('ContextData', 1);
/** What each system call's point has; `exit` is there when the call is over. */
const call = { context, exit: field('Exit', 2), sysno: field('uint64', 3) };

const DESCRIPTOR = {
  Handshake: { fields: { version: field('uint32', 1) } },
  ContextData: {
    fields: {
      timeNs: field('int64', 1),
      threadGroupId: field('int32', 4),
      containerId: field('string', 6),
      cwd: field('string', 8),
      parentThreadGroupId: field('int32', 10),
    },
  },
  Exit: { fields: { result: field('int64', 1), errorno: field('int64', 2) } },
  CloneInfo: { fields: { context, createdThreadGroupId: field('int32', 4) } },
  ExecveInfo: {
    fields: {
      context,
      binaryPath: field('string', 2),
      argv: many('string', 3),
      env: many('string', 4),
    },
  },
  ExitNotifyParentInfo: { fields: { context, exitStatus: field('int32', 2) } },
  Open: {
    fields: {
      ...call,
      fdPath: field('string', 5),
      pathname: field('string', 6),
      flags: field('uint32', 7),
    },
  },
  Connect: { fields: { ...call, address: field('bytes', 6) } },
  Bind: { fields: { ...call, address: field('bytes', 6) } },
  Listen: { fields: { ...call, address: field('bytes', 7) } },
  Chroot: { fields: { ...call, pathname: field('string', 4) } },
  Ptrace: { fields: call },
};

/** The messages that are read, by the number that their header has. */
const MESSAGES = {
  CloneInfo: 2,
  ExecveInfo: 3,
  ExitNotifyParentInfo: 4,
  Open: 7,
  Connect: 10,
  Chroot: 21,
  Bind: 24,
  Listen: 37,
  Ptrace: 38,
} as const;
export type PointName = keyof typeof MESSAGES;

// Where it is not told of `long`, protobufjs rounds 64-bit integers to doubles without a word.
protobuf.util.Long = Long;
protobuf.configure();

const root = protobuf.Root.fromJSON({ nested: DESCRIPTOR });
const types = new Map(
  Object.entries(MESSAGES).map(([name, number]) => [
    number as number,
    { name: name as PointName, type: root.lookupType(name) },
  ]),
);

export interface Point {
  readonly name: PointName;
  readonly fields: Fields;
}

/** The point of a message; undefined where its kind is not read. Throws where it is no protobuf. */
export function decodePoint(number: number, payload: Uint8Array): Point | undefined {
  const found = types.get(number);
  if (found === undefined) return undefined;
  const { name, type } = found;
  return { name, fields: type.toObject(type.decode(payload), { longs: String, arrays: true }) };
}

const handshake = root.lookupType('Handshake');
/** The version that a sandbox says it speaks; undefined where this is no handshake. */
export function handshakeVersion(bytes: Uint8Array): number | undefined {
  try {
    const { version } = handshake.toObject(handshake.decode(bytes)) as { version?: unknown };
    return typeof version === 'number' ? version : undefined;
  } catch {
    return undefined;
  }
}
/** Our own word of it. */
export const handshakeOf = (version: number): Uint8Array => handshake.encode({ version }).finish();
