/** The log's head, altered in one way or another. */
import { formatNote, signNote } from '../../schemas/note.ts';
import type { Dice } from './subject.ts';
import { OTHER_LOG } from './world.ts';

/** A note changed as `how` says. */
export function foldNote(note: string, how: string, dice: Dice): string {
  const [text = '', signatures = ''] = note.split('\n\n');
  const [origin = '', size = '', root = ''] = text.split('\n');
  const [own = '', witness = ''] = signatures.split('\n');
  const spoil = (line: string) => {
    const at = line.length - 4 - dice.upTo(20);
    return `${line.slice(0, at)}${line[at] === 'A' ? 'B' : 'A'}${line.slice(at + 1)}`;
  };
  const body = (...lines: string[]) => `${lines.join('\n')}\n`;
  switch (how) {
    case 'size':
      return formatNote(body(origin, String(Number(size) + 1), root), [own, witness]);
    case 'root':
      return formatNote(body(origin, size, Buffer.from(dice.hex(32), 'hex').toString('base64')), [
        own,
        witness,
      ]);
    case 'origin':
      return formatNote(body(`${origin}x`, size, root), [own, witness]);
    case 'signature':
      return formatNote(body(origin, size, root), [spoil(own), witness]);
    case 'cosignature':
      return formatNote(body(origin, size, root), [own, spoil(witness)]);
    case 'unsigned':
      return formatNote(body(origin, size, root), [witness]);
    case 'another key': {
      const other = body(
        origin,
        String(Number(size)),
        Buffer.from(dice.hex(32), 'hex').toString('base64'),
      );
      return formatNote(other, [signNote(other, OTHER_LOG)]);
    }
    default:
      return formatNote(body(origin, size, root), [own]);
  }
}
