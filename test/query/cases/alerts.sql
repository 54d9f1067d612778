-- reads 0 rows, 0 bytes
--   content = 1
--   ids = ["99afff934a1f8c15361550ebaa794fb1"]
--   journal = 1
--   tenant = "acme"
SELECT toString(fingerprint) AS id, argMax(state, changed_at) AS newest FROM telltale.alert_states WHERE (tenant = {tenant:String}) AND (fingerprint IN {ids:Array(String)}) AND (state NOT IN ('delivered', 'withdrawal_delivered')) GROUP BY fingerprint LIMIT 1;

-- reads 0 rows, 0 bytes
--   content = 1
--   ids = ["99afff934a1f8c15361550ebaa794fb1"]
--   journal = 1
--   tenant = "acme"
SELECT toString(fingerprint) AS id, argMax(state, changed_at) AS newest FROM telltale.alert_states WHERE (tenant = {tenant:String}) AND (fingerprint IN {ids:Array(String)}) AND (state NOT IN ('delivered', 'withdrawal_delivered')) GROUP BY fingerprint LIMIT 1;

-- reads 1 rows, 24 bytes
--   content = 1
--   journal = 1
--   levels = ["low"]
--   rule = "nobody"
--   tenant = "acme"
SELECT tenant, toString(fingerprint) AS fingerprint, rule_id, rule_title,
  rule_author, rule_license, level, tags, session_id, key, event_ids, event_times, reason, toUnixTimestamp64Milli(raised_at) AS raised_ms FROM telltale.alerts WHERE (tenant = {tenant:String}) AND (rule_id = {rule:String}) AND (has({levels:Array(String)}, toString(level))) ORDER BY raised_at DESC, fingerprint DESC LIMIT 1 BY fingerprint LIMIT 101;

-- reads 1 rows, 467 bytes
--   content = 1
--   journal = 1
--   session = "0193a5e0-0000-7000-8000-00000000000a"
--   tenant = "acme"
SELECT tenant, toString(fingerprint) AS fingerprint, rule_id, rule_title,
  rule_author, rule_license, level, tags, session_id, key, event_ids, event_times, reason, toUnixTimestamp64Milli(raised_at) AS raised_ms FROM telltale.alerts WHERE (tenant = {tenant:String}) AND (session_id = {session:UUID}) ORDER BY raised_at DESC, fingerprint DESC LIMIT 1 BY fingerprint LIMIT 101;

-- reads 1 rows, 467 bytes
--   content = 1
--   journal = 1
--   tenant = "acme"
SELECT tenant, toString(fingerprint) AS fingerprint, rule_id, rule_title,
  rule_author, rule_license, level, tags, session_id, key, event_ids, event_times, reason, toUnixTimestamp64Milli(raised_at) AS raised_ms FROM telltale.alerts WHERE (tenant = {tenant:String}) ORDER BY raised_at DESC, fingerprint DESC LIMIT 1 BY fingerprint LIMIT 6;

-- reads 2 rows, 122 bytes
--   content = 1
--   journal = 1
--   session = "0193a5e0-0000-7000-8000-00000000000a"
--   tenant = "acme"
SELECT toString(session_id) AS id, toString(toUnixTimestamp64Nano(minIf(first_ts, {journal:UInt8} = 1 OR sensed = 1 OR agent NOT IN ('telltale-access', 'telltale-casework')))) AS started, toString(toUnixTimestamp64Nano(maxIf(last_ts, {journal:UInt8} = 1 OR sensed = 1 OR agent NOT IN ('telltale-access', 'telltale-casework')))) AS ended, maxIf(agent, {journal:UInt8} = 1 OR sensed = 1 OR agent NOT IN ('telltale-access', 'telltale-casework')) AS agent_name, maxIf(host, {journal:UInt8} = 1 OR sensed = 1 OR agent NOT IN ('telltale-access', 'telltale-casework')) AS host_name, maxIf(user, {journal:UInt8} = 1 OR sensed = 1 OR agent NOT IN ('telltale-access', 'telltale-casework')) AS user_name, toString(toUnixTimestamp64Nano(min(first_ts))) AS lowest, toString(toUnixTimestamp64Nano(max(last_ts))) AS highest FROM telltale.streams WHERE (tenant = {tenant:String}) AND (session_id = {session:UUID}) GROUP BY session_id HAVING (max({journal:UInt8} = 1 OR sensed = 1 OR agent NOT IN ('telltale-access', 'telltale-casework'))) LIMIT 1;

-- reads 31 rows, 1268 bytes
--   content = 1
--   journal = 1
--   since = "1577836800000000000"
--   tenant = "acme"
--   until = "4102444800000000000"
--   v0 = ["exec"]
SELECT toString(session_id) AS session, toString(cityHash64(session_id)) AS hash, count() AS rows_count, groupBitOr(m0) AS any0, [CAST([], 'Array(String)')] AS keys, [((bitTest(any0, 0)))] AS rules FROM (SELECT session_id, toUnixTimestamp64Nano(least(ts, observed_ts)) AS time, toUInt64(1) AS m0 FROM telltale.events WHERE (tenant = {tenant:String}) AND ({journal:UInt8} = 1 OR kind != 'access') AND (kind IN {v0:Array(String)})) WHERE (m0 != 0) GROUP BY session_id HAVING (has(rules, 1)) AND (min(time) <= {until:Int64} AND max(time) >= {since:Int64}) ORDER BY intDiv(min(time), 86400000000000), session_id LIMIT 1000001;

-- reads 31 rows, 13988 bytes
--   content = 1
--   journal = 1
--   seq = 1
--   stream = "0193a5e0-0000-7000-8000-0000000000a1"
--   tenant = "acme"
SELECT tenant, session_id, stream_id, seq, kind, toString(toUnixTimestamp64Nano(ts)) AS ts_ns, toString(toUnixTimestamp64Nano(observed_ts)) AS observed_ts_ns, source, assurance, agent, host, user, conversation_id, turn_id, tool_call_id, attribution, attribution_confidence_pct, trace_id, span_id, pid, ppid, altered, content_salt, erased, schema_version, command_args, cwd, public_key, settings, chain_count, chain_head, next_public_key, signature, close_reason, gap_first_seq, gap_last_seq, gap_count, gap_reason, sensor_name, sensor_rung, coverage, reason, prompt_bytes, model, provider, response_id, finish_reason, input_tokens, output_tokens, cached_tokens, reasoning_tokens, attempt, http_status, phase, tool, tool_namespace, mcp_server, command, output_bytes, outcome, error, exit_code, duration_ns, changes, decision, decided_by, scope, shown_sha256, justification, policy, policy_version, policy_type, rule, exe, argv, join_keys, exit_signal, file_op, file_path, file_target_path, file_mode, file_bytes, file_sha256, syscall, net_op, net_transport, net_host, net_ip, net_port, net_path, http_method, url, net_bytes_in, net_bytes_out, alert_rule, severity, fingerprint, refs, note, tag, actor, operation, truncated, attrs FROM telltale.events WHERE (tenant = {tenant:String}) AND ({journal:UInt8} = 1 OR kind != 'access') AND (stream_id = {stream:UUID}) AND (seq = {seq:UInt32}) LIMIT 1;

-- reads 31 rows, 13988 bytes
--   content = 1
--   journal = 1
--   seq = 2
--   stream = "0193a5e0-0000-7000-8000-0000000000a1"
--   tenant = "acme"
SELECT tenant, session_id, stream_id, seq, kind, toString(toUnixTimestamp64Nano(ts)) AS ts_ns, toString(toUnixTimestamp64Nano(observed_ts)) AS observed_ts_ns, source, assurance, agent, host, user, conversation_id, turn_id, tool_call_id, attribution, attribution_confidence_pct, trace_id, span_id, pid, ppid, altered, content_salt, erased, schema_version, command_args, cwd, public_key, settings, chain_count, chain_head, next_public_key, signature, close_reason, gap_first_seq, gap_last_seq, gap_count, gap_reason, sensor_name, sensor_rung, coverage, reason, prompt_bytes, model, provider, response_id, finish_reason, input_tokens, output_tokens, cached_tokens, reasoning_tokens, attempt, http_status, phase, tool, tool_namespace, mcp_server, command, output_bytes, outcome, error, exit_code, duration_ns, changes, decision, decided_by, scope, shown_sha256, justification, policy, policy_version, policy_type, rule, exe, argv, join_keys, exit_signal, file_op, file_path, file_target_path, file_mode, file_bytes, file_sha256, syscall, net_op, net_transport, net_host, net_ip, net_port, net_path, http_method, url, net_bytes_in, net_bytes_out, alert_rule, severity, fingerprint, refs, note, tag, actor, operation, truncated, attrs FROM telltale.events WHERE (tenant = {tenant:String}) AND ({journal:UInt8} = 1 OR kind != 'access') AND (stream_id = {stream:UUID}) AND (seq = {seq:UInt32}) LIMIT 1;

-- reads 31 rows, 2421 bytes
--   content = 1
--   journal = 1
--   tenant = "acme"
--   v0 = "exec"
--   v1 = ["0193a5e0-0000-7000-8000-00000000000a","0193a5e0-0000-7000-8000-00000000000b"]
SELECT toString(session_id) AS session, toString(stream_id) AS stream, groupArray(tuple(seq, toString(toUnixTimestamp64Nano(ts)), toString(toUnixTimestamp64Nano(observed_ts)), outcome, exe, argv)) AS list FROM telltale.events WHERE (tenant = {tenant:String}) AND ({journal:UInt8} = 1 OR kind != 'access') AND (kind = {v0:String}) AND (session_id IN {v1:Array(UUID)} AND (((true)))) GROUP BY session_id, stream_id, intDiv(seq, 1024);
