/**
 * Lines out of chunks of bytes, with the facts of the whole file: bounded memory, and no promise a
 * line, since a bundle has millions of them.
 */
import { createHash } from 'node:crypto';
import { type FileFacts, LINE_BYTES_MAX, UnreadableError } from './format.ts';

const LF = 10;

export interface Lines {
  /** The line at hand, without its LF; undefined where `fill` must be awaited first. */
  peek(): Buffer | undefined;
  /** Goes on behind the line at hand. */
  skip(): void;
  /** Reads on; false when nothing is left. */
  fill(): Promise<boolean>;
  /** The number of the line at hand, from 1. */
  readonly line: number;
  /** Whether the line at hand ends in LF: only the last of a file may lack it. */
  readonly ended: boolean;
  /** Of the whole file, once `fill` gave false. */
  facts(): FileFacts;
}

/** A reader of `chunks`. `fill` throws `UnreadableError` for a line above the bound. */
export function createLines(name: string, chunks: AsyncIterable<Uint8Array>): Lines {
  const source = chunks[Symbol.asyncIterator]();
  const digest = createHash('sha256');
  let block: Buffer = Buffer.alloc(0);
  let parts: Buffer[] = [];
  let partBytes = 0;
  let from = 0;
  let end = -1;
  let line = 0;
  let bytes = 0;
  let ended = true;
  let at: Buffer | undefined;

  /** Finds the next whole line of the block. */
  function find(): void {
    end = block.indexOf(LF, from);
    if (end < 0) {
      at = undefined;
      return;
    }
    const own = block.subarray(from, end);
    at = partBytes === 0 ? own : Buffer.concat([...parts, own]);
    if (partBytes > 0) [parts, partBytes] = [[], 0];
    from = end + 1;
    line++;
  }

  async function fill(): Promise<boolean> {
    while (at === undefined) {
      if (from < block.length) {
        parts.push(block.subarray(from));
        partBytes += block.length - from;
        if (partBytes > LINE_BYTES_MAX)
          throw new UnreadableError(
            `${name} line ${line + 1} is longer than ${LINE_BYTES_MAX} bytes`,
          );
      }
      const { done, value } = await source.next();
      if (done) {
        block = Buffer.alloc(0);
        from = 0;
        if (partBytes === 0) return false;
        at = Buffer.concat(parts);
        [parts, partBytes, ended] = [[], 0, false];
        line++;
        return true;
      }
      digest.update(value);
      bytes += value.length;
      block = Buffer.from(value.buffer, value.byteOffset, value.length);
      from = 0;
      find();
    }
    return true;
  }

  return {
    peek: () => at,
    skip: find,
    fill,
    facts: () => ({ bytes, lines: ended ? line : line - 1, sha256: digest.copy().digest('hex') }),
    get line() {
      return line;
    },
    get ended() {
      return ended;
    },
  };
}
