/**
 * opencode: a plugin of this one run, named by an environment variable that opencode adds to its
 * user's own configuration. Its OTLP export is not switched on: it is an application log without
 * calls or sessions, and its variables would leak into every command that it runs.
 */
import fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Command } from '../../record.ts';
import type { Adapter, Prepared, Setup } from '../adapter.ts';
import { parseObject } from '../draft.ts';
import { createLineMapper, openQuestions } from './events.ts';
import { SOURCE } from './parts.ts';
import { CALL_KEY, pluginSource } from './plugin.ts';
import { createOpencodeState } from './state.ts';

const CONFIG = 'OPENCODE_CONFIG_CONTENT';
const PLUGIN_FILE = 'telltale.js';
const EVENTS_FILE = 'opencode-events.jsonl';

function prepare(command: Command, { dir }: Setup): Prepared {
  const given = command.env[CONFIG];
  const config = given === undefined ? {} : parseObject(given.trim());
  if (config === undefined)
    return { command, warning: `the plugin is not installed: ${CONFIG} is no JSON object` };
  const plugin = path.join(dir, PLUGIN_FILE);
  const events = path.join(dir, EVENTS_FILE);
  fs.writeFileSync(plugin, pluginSource(events), { mode: 0o600 });
  fs.writeFileSync(events, '', { mode: 0o600 });
  const had = Array.isArray(config.plugin) ? config.plugin : [];
  const content = JSON.stringify({ ...config, plugin: [...had, pathToFileURL(plugin).href] });
  return {
    command: { ...command, env: { ...command.env, [CONFIG]: content } },
    file: events,
    noTelemetry: true,
  };
}

export const opencode: Adapter = {
  name: 'opencode',
  commands: ['opencode'],
  joinKeys: [CALL_KEY],
  toolCallKey: CALL_KEY,
  fileSource: SOURCE,
  prepare,
  mapper() {
    const state = createOpencodeState();
    return {
      log: () => [],
      span: () => [],
      line: createLineMapper(state),
      end: () => openQuestions(state),
    };
  },
};
