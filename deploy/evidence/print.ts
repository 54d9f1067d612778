/** The three verdicts as text for a terminal. Nothing of a bundle's own text is printed unescaped. */
import { escapeText } from '../../query/timeline/escape.ts';
import type { Place } from '../../schemas/evidence/format.ts';
import type { Report } from '../../schemas/evidence/report.ts';

/** Places that are printed of each list; the counts are always whole. */
const PLACES_SHOWN = 10;

/** Where a place is, in words. */
export function placeText(place: Place): string {
  const { file, line, stream_id, first_seq: first, last_seq: last, field, what } = place;
  const numbers = first === last ? `event ${stream_id}-${first}` : `events ${first} to ${last}`;
  const where = [
    `${file}${line === undefined ? '' : `:${line}`}`,
    ...(stream_id === undefined
      ? []
      : [first === last ? numbers : `stream ${stream_id}, ${numbers}`]),
    ...(field === undefined ? [] : [`field ${field}`]),
  ];
  return escapeText(`${where.join(', ')}: ${what}`);
}

function placesText(places: readonly Place[], count: number, word: string): string[] {
  const shown = places.slice(0, PLACES_SHOWN).map((place) => `    ${word} ${placeText(place)}`);
  return count > shown.length ? [...shown, `    … and ${count - shown.length} more`] : shown;
}

function anchorText({ integrity: { anchor } }: Report): string {
  const { by, why, origin, size, leaves, witnesses } = anchor;
  if (by === 'nothing') return `    not anchored: ${escapeText(String(why))}`;
  const cosigned = witnesses === 0 ? 'no witness was asked for' : `${witnesses} witnesses cosigned`;
  return escapeText(
    `    anchored in the log ${origin}: ${leaves} heads of it among ${size}; ${cosigned}`,
  );
}

function integrityText(report: Report): string[] {
  const { verdict, events, checkpoints, withoutContent, ...found } = report.integrity;
  const bare = withoutContent === 0 ? '' : `, ${withoutContent} of them without some content`;
  return [
    `  integrity     ${verdict}: ${events} events${bare}, ${checkpoints} checkpoints`,
    anchorText(report),
    ...placesText(found.faults, found.faultCount, 'fault:'),
    ...placesText(found.stretches, found.stretchCount, 'can’t be checked:'),
  ];
}

function completenessText({ completeness }: Report): string[] {
  const { verdict, produced, stored, parked, declared, unaccounted, first } = completeness;
  const { unnumberedLost, unknownLoss } = completeness;
  const more = unknownLoss ? 'an unknown number' : unnumberedLost;
  return [
    `  completeness  ${verdict}: ${produced} produced = ${stored} stored + ${parked} parked + ${declared} declared lost + ${unaccounted} unaccounted`,
    ...(unnumberedLost > 0 || unknownLoss ? [`    lost before they had numbers: ${more}`] : []),
    ...(first === undefined ? [] : [`    first: ${placeText(first)}`]),
  ];
}

function assuranceText({ assurance }: Report): string[] {
  const { verdict, counts, coverage, gaps, first } = assurance;
  const kinds = Object.entries(counts).map(([name, count]) => `${count} ${name}`);
  const said = Object.entries(coverage).map(([name, count]) => `${count} ${name}`);
  return [
    `  assurance     ${verdict}: ${kinds.join(', ')}`,
    `    sensors say: ${said.join(', ')}; ${gaps} gaps`,
    ...(first === undefined ? [] : [`    first: ${placeText(first)}`]),
  ];
}

/** The report as text, with its last LF. */
export function reportText(report: Report): string {
  const content = report.content === 'full' ? '' : ' (exported without content)';
  const head = escapeText(`session ${report.session_id} of ${report.tenant}${content}`);
  const lines = [
    head,
    ...integrityText(report),
    ...completenessText(report),
    ...assuranceText(report),
  ];
  return `${lines.join('\n')}\n`;
}
