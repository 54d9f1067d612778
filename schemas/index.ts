/** What everyone agrees on; imported as `#schemas`. */
export * from './alerts.ts';
export * from './codec.ts';
export type { Fault, Field, FieldSet, Kind, Role } from './define.ts';
export { CONTENT_BYTES_MAX } from './define.ts';
export { ASSURANCES, ATTRIBUTIONS, ENVELOPE, FIELDS, OUTCOMES } from './fields.ts';
export * from './frame.ts';
export * from './merkle.ts';
export * from './note.ts';
export * from './ports.ts';
export * from './ranges.ts';
export * from './reasons.ts';
export * from './registry.ts';
export * from './stream.ts';
export * from './table.ts';
export * from './tiles.ts';
export * from './topics.ts';
export { words } from './words.ts';
