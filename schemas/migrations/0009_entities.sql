-- Entities: what sessions have in common, for pivots. From schemas/entities.ts. What is stored already is read
-- once; its aggregates may be applied twice, so each of these statements may be repeated.
CREATE TABLE IF NOT EXISTS telltale.entities (
  tenant LowCardinality(String),
  type LowCardinality(String) COMMENT 'Which sort: host, ip, path, sha256, exe, tool, mcp_server, package, git_remote.',
  value String CODEC(ZSTD(1)),
  session_id UUID CODEC(ZSTD(1)),
  first_ts SimpleAggregateFunction(min, DateTime64(9, 'UTC')) CODEC(Delta(8), ZSTD(1)),
  last_ts SimpleAggregateFunction(max, DateTime64(9, 'UTC')) CODEC(Delta(8), ZSTD(1))
) ENGINE = AggregatingMergeTree
ORDER BY (tenant, type, value, session_id)
SETTINGS index_granularity = 1024
-- ;;
CREATE MATERIALIZED VIEW IF NOT EXISTS telltale.entities_columns_mv TO telltale.entities AS
SELECT tenant, type, value, session_id, min(ts) AS first_ts, max(ts) AS last_ts
FROM (SELECT tenant, session_id, ts, arrayJoin(arrayZip(['host', 'ip', 'path', 'path', 'sha256', 'exe', 'tool', 'mcp_server'], [toString(net_host), toString(net_ip), toString(file_path), toString(file_target_path), toString(file_sha256), toString(exe), toString(tool), toString(mcp_server)])) AS entity, entity.1 AS type, entity.2 AS value
FROM telltale.events
WHERE value != '')
GROUP BY tenant, type, value, session_id
-- ;;
CREATE MATERIALIZED VIEW IF NOT EXISTS telltale.entities_words_mv TO telltale.entities AS
SELECT tenant, type, value, session_id, min(ts) AS first_ts, max(ts) AS last_ts
FROM (SELECT tenant, session_id, ts, if(program = 'git', 'git_remote', 'package') AS type, transform(program, ['npm', 'pnpm', 'yarn', 'bun', 'npx', 'bunx', 'pnpx', 'pip', 'pip3', 'pipx', 'uv', 'poetry', 'uvx', 'apt', 'apt-get', 'dnf', 'yum', 'microdnf', 'apk', 'cargo', 'go', 'gem'], ['npm', 'npm', 'npm', 'npm', 'npm', 'npm', 'npm', 'pypi', 'pypi', 'pypi', 'pypi', 'pypi', 'pypi', 'deb', 'deb', 'rpm', 'rpm', 'rpm', 'apk', 'cargo', 'golang', 'gem'], '') AS purl, replaceRegexpOne(word, '^(@?[^@=<>!~;\\[ ]+).*$', '\\1') AS name, extractGroups(word, '^(?:[a-z][a-z0-9+]*://)?(?:[^/@]*@)?([^/:]+)(?::[0-9]+/|:)?/*([^?#]*?)(?:[.]git)?/*(?:[?#].*)?$') AS remote, multiIf(program = 'git', if(match(word, '^([a-z][a-z0-9+]*://[^ ]+|[A-Za-z0-9._-]+@[A-Za-z0-9.-]+:[^ ]+)$'), concat(lower(remote[1]), '/', remote[2]), ''), match(name, if(purl = 'golang', '^[a-z0-9.-]+[.][a-z]+(/[A-Za-z0-9._~-]+)+$', '^(@[a-z0-9-][a-z0-9-._]*/)?[A-Za-z0-9][A-Za-z0-9._+-]*$')) AND NOT match(name, '[.](whl|tgz|gz|zip|deb|rpm|apk|gem|txt|toml)$'), concat('pkg:', purl, '/', replaceOne(if(purl = 'pypi', lower(name), name), '@', '%40')), '') AS value
FROM (SELECT tenant, session_id, ts, program, arrayJoin(arraySlice(words, multiIf(program IN ('npx', 'bunx', 'pnpx', 'uvx'), 1, concat(program, ' ', words[1]) IN ('npm install', 'npm i', 'npm add', 'npm exec', 'pnpm add', 'pnpm install', 'pnpm i', 'pnpm dlx', 'pnpm x', 'yarn add', 'yarn install', 'yarn i', 'yarn dlx', 'yarn x', 'bun add', 'bun install', 'bun i', 'bun dlx', 'bun x', 'pip install', 'pip run', 'pip3 install', 'pip3 run', 'pipx install', 'pipx run', 'uv add', 'poetry add', 'apt install', 'apt-get install', 'dnf install', 'yum install', 'microdnf install', 'apk add', 'cargo add', 'cargo install', 'go get', 'go install', 'gem install', 'gem i', 'git clone', 'git fetch', 'git pull', 'git push', 'git remote', 'git submodule', 'git ls-remote'), 2, concat(program, ' ', words[1], ' ', words[2]) IN ('uv pip install', 'uv tool install'), 3, 1000000), if(program IN ('npx', 'bunx', 'pnpx', 'uvx'), 1, 1000000))) AS word
FROM (SELECT tenant, session_id, ts, program, arraySlice(argv, if(module, 4, 2)) AS args, arrayFilter((word, before) -> NOT startsWith(word, '-') AND NOT has(if(program = 'git', ['-C', '-c', '--git-dir', '--work-tree', '--namespace', '-b', '--branch', '--depth', '-o', '--origin', '-j', '--jobs', '--reference', '--config', '--filter', '--template', '-u', '--upload-pack', '--exec', '--receive-pack', '--server-option', '--shallow-since'], ['--prefix', '-C', '--dir', '--registry', '--tag', '-w', '--workspace', '--filter', '--cache', '--userconfig', '--loglevel', '-r', '--requirement', '-c', '--constraint', '-i', '--index-url', '--extra-index-url', '--index', '-f', '--find-links', '-t', '--target', '--root', '--python', '--proxy', '--timeout', '--cert', '--group', '-o', '-a', '--version', '-v', '--git', '--branch', '--rev', '--path', '--features', '-F', '--target-dir', '--repo', '-X', '--source', '--install-dir', '-n']), before), args, arrayPopBack(arrayPushFront(args, ''))) AS words
FROM (SELECT tenant, session_id, ts, argv, splitByChar('/', argv[1])[-1] AS called, startsWith(called, 'python') AND argv[2] = '-m' AS module, if(module, argv[3], called) AS program
FROM telltale.events
WHERE kind = 'exec' AND program IN ('git', 'npm', 'pnpm', 'yarn', 'bun', 'npx', 'bunx', 'pnpx', 'pip', 'pip3', 'pipx', 'uv', 'poetry', 'uvx', 'apt', 'apt-get', 'dnf', 'yum', 'microdnf', 'apk', 'cargo', 'go', 'gem'))
WHERE notEmpty(args))
WHERE word != '')
WHERE value != '')
GROUP BY tenant, type, value, session_id
-- ;;
INSERT INTO telltale.entities
SELECT tenant, type, value, session_id, min(ts) AS first_ts, max(ts) AS last_ts
FROM (SELECT tenant, session_id, ts, arrayJoin(arrayZip(['host', 'ip', 'path', 'path', 'sha256', 'exe', 'tool', 'mcp_server'], [toString(net_host), toString(net_ip), toString(file_path), toString(file_target_path), toString(file_sha256), toString(exe), toString(tool), toString(mcp_server)])) AS entity, entity.1 AS type, entity.2 AS value
FROM telltale.events
WHERE value != '')
GROUP BY tenant, type, value, session_id
SETTINGS max_bytes_before_external_group_by = 500000000
-- ;;
INSERT INTO telltale.entities
SELECT tenant, type, value, session_id, min(ts) AS first_ts, max(ts) AS last_ts
FROM (SELECT tenant, session_id, ts, if(program = 'git', 'git_remote', 'package') AS type, transform(program, ['npm', 'pnpm', 'yarn', 'bun', 'npx', 'bunx', 'pnpx', 'pip', 'pip3', 'pipx', 'uv', 'poetry', 'uvx', 'apt', 'apt-get', 'dnf', 'yum', 'microdnf', 'apk', 'cargo', 'go', 'gem'], ['npm', 'npm', 'npm', 'npm', 'npm', 'npm', 'npm', 'pypi', 'pypi', 'pypi', 'pypi', 'pypi', 'pypi', 'deb', 'deb', 'rpm', 'rpm', 'rpm', 'apk', 'cargo', 'golang', 'gem'], '') AS purl, replaceRegexpOne(word, '^(@?[^@=<>!~;\\[ ]+).*$', '\\1') AS name, extractGroups(word, '^(?:[a-z][a-z0-9+]*://)?(?:[^/@]*@)?([^/:]+)(?::[0-9]+/|:)?/*([^?#]*?)(?:[.]git)?/*(?:[?#].*)?$') AS remote, multiIf(program = 'git', if(match(word, '^([a-z][a-z0-9+]*://[^ ]+|[A-Za-z0-9._-]+@[A-Za-z0-9.-]+:[^ ]+)$'), concat(lower(remote[1]), '/', remote[2]), ''), match(name, if(purl = 'golang', '^[a-z0-9.-]+[.][a-z]+(/[A-Za-z0-9._~-]+)+$', '^(@[a-z0-9-][a-z0-9-._]*/)?[A-Za-z0-9][A-Za-z0-9._+-]*$')) AND NOT match(name, '[.](whl|tgz|gz|zip|deb|rpm|apk|gem|txt|toml)$'), concat('pkg:', purl, '/', replaceOne(if(purl = 'pypi', lower(name), name), '@', '%40')), '') AS value
FROM (SELECT tenant, session_id, ts, program, arrayJoin(arraySlice(words, multiIf(program IN ('npx', 'bunx', 'pnpx', 'uvx'), 1, concat(program, ' ', words[1]) IN ('npm install', 'npm i', 'npm add', 'npm exec', 'pnpm add', 'pnpm install', 'pnpm i', 'pnpm dlx', 'pnpm x', 'yarn add', 'yarn install', 'yarn i', 'yarn dlx', 'yarn x', 'bun add', 'bun install', 'bun i', 'bun dlx', 'bun x', 'pip install', 'pip run', 'pip3 install', 'pip3 run', 'pipx install', 'pipx run', 'uv add', 'poetry add', 'apt install', 'apt-get install', 'dnf install', 'yum install', 'microdnf install', 'apk add', 'cargo add', 'cargo install', 'go get', 'go install', 'gem install', 'gem i', 'git clone', 'git fetch', 'git pull', 'git push', 'git remote', 'git submodule', 'git ls-remote'), 2, concat(program, ' ', words[1], ' ', words[2]) IN ('uv pip install', 'uv tool install'), 3, 1000000), if(program IN ('npx', 'bunx', 'pnpx', 'uvx'), 1, 1000000))) AS word
FROM (SELECT tenant, session_id, ts, program, arraySlice(argv, if(module, 4, 2)) AS args, arrayFilter((word, before) -> NOT startsWith(word, '-') AND NOT has(if(program = 'git', ['-C', '-c', '--git-dir', '--work-tree', '--namespace', '-b', '--branch', '--depth', '-o', '--origin', '-j', '--jobs', '--reference', '--config', '--filter', '--template', '-u', '--upload-pack', '--exec', '--receive-pack', '--server-option', '--shallow-since'], ['--prefix', '-C', '--dir', '--registry', '--tag', '-w', '--workspace', '--filter', '--cache', '--userconfig', '--loglevel', '-r', '--requirement', '-c', '--constraint', '-i', '--index-url', '--extra-index-url', '--index', '-f', '--find-links', '-t', '--target', '--root', '--python', '--proxy', '--timeout', '--cert', '--group', '-o', '-a', '--version', '-v', '--git', '--branch', '--rev', '--path', '--features', '-F', '--target-dir', '--repo', '-X', '--source', '--install-dir', '-n']), before), args, arrayPopBack(arrayPushFront(args, ''))) AS words
FROM (SELECT tenant, session_id, ts, argv, splitByChar('/', argv[1])[-1] AS called, startsWith(called, 'python') AND argv[2] = '-m' AS module, if(module, argv[3], called) AS program
FROM telltale.events
WHERE kind = 'exec' AND program IN ('git', 'npm', 'pnpm', 'yarn', 'bun', 'npx', 'bunx', 'pnpx', 'pip', 'pip3', 'pipx', 'uv', 'poetry', 'uvx', 'apt', 'apt-get', 'dnf', 'yum', 'microdnf', 'apk', 'cargo', 'go', 'gem'))
WHERE notEmpty(args))
WHERE word != '')
WHERE value != '')
GROUP BY tenant, type, value, session_id
SETTINGS max_bytes_before_external_group_by = 500000000
