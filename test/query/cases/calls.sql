-- reads 0 rows, 0 bytes
--   content = 1
--   journal = 1
--   replayed = []
--   session_text = "0193a5e0-0000-7000-8000-00000000000a"
--   tenant = "acme"
SELECT lower(hex(sipHash128(concat(origin, ' ', toString(reason), ' ', toString(parked_at))))) AS id, stream_id AS stream, seq, reason, field, detail, origin, toString(toUnixTimestamp64Milli(parked_at)) AS parked_ms FROM telltale.dead_letters WHERE (tenant = {tenant:String}) AND (session_id = {session_text:String}) AND (has({replayed:Array(String)}, id) = false) ORDER BY parked_at, stream, seq LIMIT 1000;

-- reads 0 rows, 0 bytes
--   content = 1
--   journal = 1
--   session_text = "0193a5e0-0000-7000-8000-00000000000a"
--   tenant = "acme"
SELECT letter_id AS letter, outcome, toString(toUnixTimestamp64Milli(replayed_at)) AS replayed_ms FROM telltale.dead_replays WHERE (tenant = {tenant:String}) AND (session_id = {session_text:String}) ORDER BY replayed_at DESC, letter LIMIT 10000;

-- reads 0 rows, 0 bytes
--   content = 1
--   journal = 1
--   session_text = "0193a5e0-0000-7000-8000-00000000000a"
--   tenant = "acme"
SELECT stream, min(number) AS first, max(number) AS last FROM (SELECT stream, number, number - row_number() OVER (PARTITION BY stream ORDER BY number) AS island FROM (SELECT DISTINCT stream_id AS stream, toInt64(assumeNotNull(seq)) AS number FROM telltale.dead_letters WHERE (tenant = {tenant:String}) AND (session_id = {session_text:String}) AND (isNotNull(seq)))) GROUP BY stream, island ORDER BY stream, first LIMIT 100001;

-- reads 2 rows, 122 bytes
--   content = 1
--   journal = 1
--   session = "0193a5e0-0000-7000-8000-00000000000a"
--   tenant = "acme"
SELECT toString(session_id) AS id, toString(toUnixTimestamp64Nano(minIf(first_ts, {journal:UInt8} = 1 OR sensed = 1 OR agent NOT IN ('telltale-access', 'telltale-casework')))) AS started, toString(toUnixTimestamp64Nano(maxIf(last_ts, {journal:UInt8} = 1 OR sensed = 1 OR agent NOT IN ('telltale-access', 'telltale-casework')))) AS ended, maxIf(agent, {journal:UInt8} = 1 OR sensed = 1 OR agent NOT IN ('telltale-access', 'telltale-casework')) AS agent_name, maxIf(host, {journal:UInt8} = 1 OR sensed = 1 OR agent NOT IN ('telltale-access', 'telltale-casework')) AS host_name, maxIf(user, {journal:UInt8} = 1 OR sensed = 1 OR agent NOT IN ('telltale-access', 'telltale-casework')) AS user_name, toString(toUnixTimestamp64Nano(min(first_ts))) AS lowest, toString(toUnixTimestamp64Nano(max(last_ts))) AS highest FROM telltale.streams WHERE (tenant = {tenant:String}) AND (session_id = {session:UUID}) GROUP BY session_id HAVING (max({journal:UInt8} = 1 OR sensed = 1 OR agent NOT IN ('telltale-access', 'telltale-casework'))) LIMIT 1;

-- reads 2 rows, 124 bytes
--   content = 1
--   journal = 1
--   recorded = 1
--   tenant = "acme"
SELECT toString(session_id) AS id, toString(toUnixTimestamp64Nano(min(first_ts))) AS started, toString(toUnixTimestamp64Nano(max(last_ts))) AS ended, max(agent) AS agent_name, max(host) AS host_name, max(user) AS user_name FROM telltale.streams WHERE (tenant = {tenant:String}) AND ({journal:UInt8} = 1 OR sensed = 1 OR agent NOT IN ('telltale-access', 'telltale-casework')) GROUP BY session_id HAVING (max(sensed = 1 OR agent NOT IN ('telltale-access', 'telltale-casework')) = {recorded:UInt8}) ORDER BY min(first_ts) DESC, id DESC LIMIT 2;

-- reads 31 rows, 14155 bytes
--   content = 1
--   highest = "1764000099000000000"
--   journal = 1
--   lowest = "1764000000000000000"
--   session = "0193a5e0-0000-7000-8000-00000000000a"
--   tenant = "acme"
SELECT tenant, session_id, stream_id, seq, kind, toString(toUnixTimestamp64Nano(ts)) AS ts_ns, toString(toUnixTimestamp64Nano(observed_ts)) AS observed_ts_ns, source, assurance, agent, host, user, conversation_id, turn_id, tool_call_id, attribution, attribution_confidence_pct, trace_id, span_id, pid, ppid, altered, content_salt, erased, schema_version, command_args, cwd, public_key, settings, chain_count, chain_head, next_public_key, signature, close_reason, gap_first_seq, gap_last_seq, gap_count, gap_reason, sensor_name, sensor_rung, coverage, reason, prompt, prompt_bytes, model, provider, response_id, finish_reason, input_tokens, output_tokens, cached_tokens, reasoning_tokens, attempt, http_status, phase, text, tool, tool_namespace, mcp_server, arguments, command, output, output_bytes, outcome, error, exit_code, duration_ns, changes, decision, decided_by, scope, shown_sha256, justification, policy, policy_version, policy_type, rule, exe, argv, join_keys, exit_signal, file_op, file_path, file_target_path, file_mode, file_bytes, file_sha256, syscall, net_op, net_transport, net_host, net_ip, net_port, net_path, http_method, url, net_bytes_in, net_bytes_out, alert_rule, severity, fingerprint, refs, note, tag, actor, operation, truncated, attrs FROM telltale.events WHERE (tenant = {tenant:String}) AND ({journal:UInt8} = 1 OR kind != 'access') AND (session_id = {session:UUID}) AND (ts >= {lowest:DateTime64(9, 'UTC')} AND ts <= {highest:DateTime64(9, 'UTC')}) LIMIT 100001;
