/** What everyone agrees on; imported as `#schemas`. */

export * from './abort.ts';
export * from './account.ts';
export * from './alerts.ts';
export * from './chain.ts';
export * from './codec.ts';
export * from './commit.ts';
export * from './connection.ts';
export type { Fault, Field, FieldSet, Kind, Role } from './define.ts';
export { CONTENT_BYTES_MAX } from './define.ts';
export * from './entities.ts';
export { ASSURANCES, ATTRIBUTIONS, ENVELOPE, FIELDS, OUTCOMES } from './fields.ts';
export * from './frame.ts';
export * from './head.ts';
export * from './integrity.ts';
export * from './merkle.ts';
export * from './metrics.ts';
export * from './note.ts';
export { parseJson } from './parse-json.ts';
export * from './ports.ts';
export * from './ranges.ts';
export * from './reasons.ts';
export * from './registry.ts';
export * from './retention.ts';
export * from './row.ts';
export {
  type Backtest,
  BacktestError,
  createBacktest,
  type Wanted,
} from './rules/backtest.ts';
export {
  type Anomaly,
  BASELINE_SETTINGS,
  BASELINE_START,
  type BaselineModel,
  type BaselineSettings,
  type BaselineState,
  createBaseline,
  explain,
  judgeStep,
  type NgramCount,
  sessionScore,
} from './rules/baseline.ts';
export { columnsFor } from './rules/columns.ts';
export { RULE_FILE_BYTES_MAX } from './rules/document.ts';
export {
  createEngine,
  ENGINE_LIMITS,
  type Engine,
  type EngineLimits,
  type Outcome,
} from './rules/engine.ts';
export { END_OF_TIME_NS } from './rules/eql/pipes.ts';
export { eqlViews } from './rules/eql/taxonomy.ts';
export { type Fault as RuleFault, faultText } from './rules/faults.ts';
export { createLineage, type Lineage } from './rules/lineage.ts';
export { type Loaded, type LoadOptions, loadRules, type RuleFile } from './rules/load.ts';
export { readPlaceholders } from './rules/placeholders.ts';
export {
  type Literals,
  needOf,
  type RowTest,
  type RuleNeed,
} from './rules/preselect.ts';
export { ruleTimeNs, scopeOf, type Views } from './rules/raise.ts';
export { compileRegex } from './rules/regex.ts';
export { createRowSql, PROCESS_KINDS, type RowSql } from './rules/row-sql.ts';
export * from './rules/rule.ts';
export { createRuleSet, type Evaluation, type RuleSet } from './rules/ruleset.ts';
export { sigmaViews } from './rules/sigma/taxonomy.ts';
export { stepToken } from './rules/steps.ts';
export * from './rules/values.ts';
export { createViews, type ViewMaker } from './rules/views.ts';
export { createScan, fieldIndex, SCANNED_FIELDS, type Scan, scanLine } from './scan.ts';
export { HEX_VALUE, integerAt, lastTextBytes, stringEnd, unescapeText } from './scan-value.ts';
export * from './table.ts';
export * from './tiles.ts';
export * from './topics.ts';
export * from './verifier.ts';
export { words } from './words.ts';
