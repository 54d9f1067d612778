/**
 * What a backtest of the default rules costs over a store of `bench:query` (`query/generate.ts`):
 *
 *     node --conditions=telltale-source --import tsx test/bench/detect-hunt.ts --dir DIR [--outside 20] [--rules DIR]
 *
 * Half of the made-up tool calls go to an MCP server or fetch a page, which rules take for content
 * from outside. `--outside` takes it out of all sessions but so many in a hundred: the store is
 * changed for good. Prints one JSON line.
 */
import { parseArgs } from 'node:util';
import { createViews } from '#schemas';
import { serviceLog } from '../../deploy/process/log.ts';
import { SHIPPED_RULES } from '../../deploy/rules/detection.ts';
import { readRuleFolder } from '../../deploy/rules/folder.ts';
import { openStore } from '../../deploy/stores/open.ts';
import { hunt } from '../../query/hunt.ts';
import { runnerFor } from '../query/access.ts';
import { mainThreadSecondsOf, round, say } from './ingest/measure.ts';

const { values } = parseArgs({
  options: {
    dir: { type: 'string' },
    outside: { type: 'string' },
    rules: { type: 'string', default: SHIPPED_RULES[0] as string },
  },
});
if (values.dir === undefined) {
  say('give --dir DIR, a store that bench:query has made');
  process.exit(2);
}
const store = await openStore(`chdb:${values.dir}`, { log: serviceLog('bench', 'warn') });
if (values.outside !== undefined)
  await store.command(`ALTER TABLE telltale.events UPDATE mcp_server = '',
    tool = if(tool = 'web_fetch', 'view_image', tool)
    WHERE kind = 'tool.call' AND cityHash64(session_id, 'outside') % 100 >= ${Number(values.outside)}
    SETTINGS mutations_sync = 2`);
const { rules } = readRuleFolder(values.rules);
const began = performance.now();
const before = process.cpuUsage();
const mainBefore = mainThreadSecondsOf(process.pid);
const { alerts, stats } = await hunt(runnerFor(store, 'acme'), {
  rules,
  views: () => createViews().views,
  span: { from: '0', to: String(1n << 62n) },
});
const { user, system } = process.cpuUsage(before);
const result = {
  rules: rules.length,
  seconds: round((performance.now() - began) / 1000),
  cpu_seconds: round((user + system) / 1e6),
  main_thread_seconds: round(mainThreadSecondsOf(process.pid) - mainBefore),
  ...stats,
  alerts: alerts.length,
};
process.stdout.write(`${JSON.stringify({ bench: 'detect-hunt', ...result })}\n`);
await store.close();
