/** The scripted session of Codex: its configuration and its run. */
import fs from 'node:fs';
import path from 'node:path';
import { startModel } from './model/responses.ts';
import { ROUNDS_OF_CALLS } from './parallel.ts';
import { FINAL, PROMPT, run, type Step, scriptOf, together } from './script.ts';
import type { Agent, Place } from './session.ts';

/** The user's own configuration; a run must leave it as it is. */
const configOf = (modelUrl: string): string => `model = "gpt-5.5"
model_provider = "scripted"
approval_policy = "never"
sandbox_mode = "workspace-write"
check_for_update_on_startup = false

[model_providers.scripted]
name = "scripted"
base_url = "${modelUrl}"
wire_api = "responses"
env_key = "SCRIPTED_KEY"
request_max_retries = 1
stream_max_retries = 1

[sandbox_workspace_write]
exclude_slash_tmp = true
exclude_tmpdir_env_var = true
network_access = false

[analytics]
enabled = false
`;

export const stepsOf = ({ dir, target }: Place) =>
  scriptOf({ outside: path.join(dir, 'outside/file'), target });

/** Codex refuses a home below the temporary directory. */
const homeOf = ({ dir }: Place): string => path.join(dir, 'codex-home');

/** Calls at the same time. */
export const parallelSteps: readonly Step[] = [
  ...ROUNDS_OF_CALLS.map((round) =>
    together(...round.map(({ mark, command }) => run(`call_${mark}`, command, 0))),
  ),
  { items: [{ type: 'message', text: FINAL }], calls: [] },
];

const playing =
  (steps: (place: Place) => readonly Step[]) =>
  (command: string): Agent => ({
    model: (place) => startModel(steps(place).map((step) => step.items)),
    configure(place, model) {
      const config = path.join(homeOf(place), 'config.toml');
      fs.mkdirSync(homeOf(place));
      fs.writeFileSync(config, configOf(model.url));
      return [config];
    },
    runs(place) {
      const { workspace } = place;
      const argv = ['exec', '--skip-git-repo-check', '--json', '-C', workspace, PROMPT];
      const env = { CODEX_HOME: homeOf(place), SCRIPTED_KEY: 'none' };
      return [{ argv: [command, ...argv], env }];
    },
  });

export const codexAgent = playing(stepsOf);
export const parallel = playing(() => parallelSteps);
