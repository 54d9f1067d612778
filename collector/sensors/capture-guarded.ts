/** Copies the registers and texts of a guarded call (`guarded.ts`). */
import { type CaptureDeps, type Captured, type Handler, signed } from './capture.ts';
import { GUARDED_SHAPES, type GuardedShape } from './guarded.ts';
import { AT_FDCWD } from './syscalls.ts';
import { FLAG_UNREADABLE, FRAME } from './wire.ts';

const NOTHING = Buffer.alloc(0);
const SLASH = 0x2f;
const REGISTERS = [0, 1, 2, 3, 4, 5] as const;

export function guardedHandlers(deps: CaptureDeps): [number, Handler][] {
  return GUARDED_SHAPES.map((shape) => [shape.number, handler(deps, shape)]);
}

function handler(deps: CaptureDeps, shape: GuardedShape): Handler {
  const { memory, procfs } = deps;
  return (call, { pid }) => {
    const registers = Buffer.alloc(8 * REGISTERS.length);
    for (const i of REGISTERS) {
      registers.writeUInt32LE(call.address(i).low, 8 * i);
      registers.writeUInt32LE(call.address(i).high, 8 * i + 4);
    }
    const parts: Buffer[] = [registers];
    let flags = 0;
    const take = (at: number | undefined, dirfdAt: number | null | undefined) => {
      if (at === undefined) return;
      const text = memory.string(pid, call.address(at));
      if (text === undefined) flags |= FLAG_UNREADABLE;
      const relative = text !== undefined && text[0] !== SLASH && dirfdAt !== null;
      const dirfd = typeof dirfdAt === 'number' ? signed(call.low(dirfdAt)) : AT_FDCWD;
      parts.push(relative ? procfs.directory(pid, dirfd) : NOTHING, text ?? NOTHING);
    };
    take(shape.path, shape.dirfd);
    take(shape.path2, shape.dirfd2);
    return [{ type: FRAME.call, a: shape.number, b: 0, flags, parts } satisfies Captured];
  };
}
