/**
 * The plugin that opencode loads for one run. It writes what opencode tells its plugins as JSON
 * lines into a file of the run, synchronously: so nothing is lost where the process is killed, and
 * nothing waits for a network. It also gives each shell command the id of its call.
 *
 *     { at, event }    an event of opencode's bus        { at, argv }   once, how it was started
 *     { at, before }   a tool that is about to be run    { at, mcp }    names of MCP servers
 */

/** The variable that tells a command's programs which call they are. */
export const CALL_KEY = 'TELLTALE_TOOL_CALL_ID';

/** The events that are mapped. The rest, above all each piece of a streamed answer, is left out. */
export const EVENT_TYPES: readonly string[] = [
  'message.part.updated',
  'message.updated',
  'permission.asked',
  'permission.replied',
  'session.created',
  'session.error',
  'session.status',
];

/** The plugin's source, which writes to `file`. */
export const pluginSource = (file: string): string => `import fs from 'node:fs';
const fd = fs.openSync(${JSON.stringify(file)}, 'a', 0o600);
const wanted = new Set(${JSON.stringify(EVENT_TYPES)});
const write = (record) => {
  try {
    fs.writeSync(fd, JSON.stringify({ at: Date.now(), ...record }) + '\\n');
  } catch {
    // A recorder that is gone must not stop the agent.
  }
};
export const Telltale = async ({ client }) => {
  write({ argv: process.argv });
  setTimeout(async () => {
    try {
      const status = await client.mcp.status();
      write({ mcp: Object.keys(status.data ?? {}) });
    } catch {}
  }, 0);
  return {
    event: async ({ event }) => {
      if (wanted.has(event.type)) write({ event });
    },
    'tool.execute.before': async (input, output) => write({ before: { ...input, args: output.args } }),
    'shell.env': async (input, output) => {
      if (input.callID) output.env.${CALL_KEY} = input.callID;
    },
  };
};
`;
