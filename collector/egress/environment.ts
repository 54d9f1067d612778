/**
 * How programs are told of the proxy: by the environment variables that they read. What does not
 * read them (a JVM, ssh, a program of its own sockets) connects directly, and is told as such.
 */

export const LOOPBACK_HOSTS = ['localhost', '127.0.0.1', '::1'] as const;

type Env = Readonly<Record<string, string>>;

/**
 * `env` with the proxy at `url`. Both spellings, since curl reads only the lower `http_proxy` and
 * others only the upper one; loopback is left out, where agents and collectors talk to themselves.
 * What was set before is replaced: a list of exceptions of the user's would be a way round.
 */
export function withProxy(env: Env, url: string): Record<string, string> {
  const none = LOOPBACK_HOSTS.join(',');
  const both = { http_proxy: url, https_proxy: url, all_proxy: url, no_proxy: none };
  return {
    ...env,
    ...both,
    ...Object.fromEntries(Object.entries(both).map(([name, value]) => [name.toUpperCase(), value])),
    // Node's own fetch and http read the variables from version 24 on, when told to.
    NODE_USE_ENV_PROXY: '1',
    // These outrank files of settings (.npmrc, .yarnrc.yml, .gitconfig) that name another proxy.
    npm_config_proxy: url,
    npm_config_https_proxy: url,
    npm_config_noproxy: none,
    YARN_HTTP_PROXY: url,
    YARN_HTTPS_PROXY: url,
    ...gitSetting(env, 'http.proxy', url),
  };
}

/** One more setting of git behind those that `GIT_CONFIG_COUNT` has already (git-config(1)). */
function gitSetting(env: Env, key: string, value: string): Record<string, string> {
  const count = Number(env.GIT_CONFIG_COUNT ?? 0);
  if (!Number.isInteger(count) || count < 0) return {};
  return {
    GIT_CONFIG_COUNT: String(count + 1),
    [`GIT_CONFIG_KEY_${count}`]: key,
    [`GIT_CONFIG_VALUE_${count}`]: value,
  };
}
