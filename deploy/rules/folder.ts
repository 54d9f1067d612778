/** Reads a folder of rule files from the disk, in the order of their names. */
import fs from 'node:fs';
import path from 'node:path';
import { type Loaded, type LoadOptions, loadRules, type RuleFile } from '#schemas';
import { UsageError } from '../process/lifecycle.ts';

/** More files than any rule set has; a folder that holds more is some other folder. */
const FILES_MAX = 20_000;
const RULE_FILE = /\.ya?ml$/;
/** What stands behind a rule file's name without its ending: its examples. */
export const EXAMPLES_SUFFIX = '.examples.ndjson';

/** Licence files that stand beside rules, and the SPDX id of what they say. */
const LICENSES: Readonly<Record<string, string>> = {
  'LICENSE.Detection.Rules.md': 'DRL-1.1',
  'LICENSE.Apache-2.0': 'Apache-2.0',
};

function licenseOf(folder: string): string | undefined {
  const name = Object.keys(LICENSES).find((one) => fs.existsSync(path.join(folder, one)));
  return name === undefined ? undefined : LICENSES[name];
}

/** The rule files below `dir`, or `dir` itself where it is one; links are not followed. */
export function rulePaths(dir: string): readonly string[] {
  const stat = fs.statSync(dir, { throwIfNoEntry: false });
  if (stat === undefined) throw new UsageError(`${dir}: there is no such file or folder`);
  if (stat.isFile()) return [dir];
  const found: string[] = [];
  const walk = (folder: string) => {
    const entries = fs.readdirSync(folder, { withFileTypes: true });
    for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
      const name = path.join(folder, entry.name);
      if (entry.isDirectory()) walk(name);
      else if (entry.isFile() && RULE_FILE.test(entry.name)) found.push(name);
      if (found.length > FILES_MAX)
        throw new UsageError(`${dir}: holds more than ${FILES_MAX} rule files`);
    }
  };
  walk(dir);
  return found;
}

/** Loads all rules below `dir`. Files are named relative to it in faults and in the rules. */
export function readRuleFolder(dir: string, options: LoadOptions = {}): Loaded {
  const files = rulePaths(dir).map((file): RuleFile => {
    const name = path.relative(dir, file) || path.basename(file);
    const license = licenseOf(path.dirname(file));
    const text = fs.readFileSync(file, 'utf8');
    return { file: name, text, ...(license === undefined ? {} : { license }) };
  });
  return loadRules(files, options);
}
