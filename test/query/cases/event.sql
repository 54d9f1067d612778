-- reads 0 rows, 0 bytes
--   content = 1
--   journal = 1
--   seq = 999
--   stream = "0193a5e0-0000-7000-8000-0000000000a1"
--   tenant = "acme"
SELECT tenant, session_id, stream_id, seq, kind, toString(toUnixTimestamp64Nano(ts)) AS ts_ns, toString(toUnixTimestamp64Nano(observed_ts)) AS observed_ts_ns, source, assurance, agent, host, user, conversation_id, turn_id, tool_call_id, attribution, attribution_confidence_pct, trace_id, span_id, pid, ppid, altered, content_salt, erased, schema_version, command_args, cwd, public_key, settings, chain_count, chain_head, next_public_key, signature, close_reason, gap_first_seq, gap_last_seq, gap_count, gap_reason, sensor_name, sensor_rung, coverage, reason, prompt_bytes, model, provider, response_id, finish_reason, input_tokens, output_tokens, cached_tokens, reasoning_tokens, attempt, http_status, phase, tool, tool_namespace, mcp_server, command, output_bytes, outcome, error, exit_code, duration_ns, changes, decision, decided_by, scope, shown_sha256, justification, policy, policy_version, policy_type, rule, exe, argv, join_keys, exit_signal, file_op, file_path, file_target_path, file_mode, file_bytes, file_sha256, syscall, net_op, net_transport, net_host, net_ip, net_port, net_path, http_method, url, net_bytes_in, net_bytes_out, alert_rule, severity, fingerprint, refs, note, tag, actor, operation, truncated, attrs FROM telltale.events WHERE (tenant = {tenant:String}) AND ({journal:UInt8} = 1 OR kind != 'access') AND (stream_id = {stream:UUID}) AND (seq = {seq:UInt32}) LIMIT 1;

-- reads 0 rows, 0 bytes
--   content = 1
--   journal = 1
--   session = "00000000-0000-7000-8000-000000000000"
--   tenant = "acme"
SELECT toString(session_id) AS id, toString(toUnixTimestamp64Nano(min(began))) AS started, toString(toUnixTimestamp64Nano(max(ended_at))) AS ended,
  '' AS agent_name, '' AS host_name, '' AS user_name, sum(stored) AS events, max(by_policy) AS policy,
  max(after_days) AS days, max(who) AS actor, toString(toUnixTimestamp64Milli(max(at))) AS removed_ms FROM (SELECT session_id, stream_id, min(first_ts) AS began, max(last_ts) AS ended_at, argMax(events, last_seq) AS stored,
  argMax(policy, removed_at) AS by_policy, argMax(policy_days, removed_at) AS after_days, argMax(actor, removed_at) AS who, max(removed_at) AS at FROM telltale.removals WHERE (tenant = {tenant:String}) AND (session_id = {session:UUID}) GROUP BY session_id, stream_id) GROUP BY session_id ORDER BY min(began) DESC, id DESC LIMIT 1;

-- reads 0 rows, 0 bytes
--   content = 1
--   journal = 1
--   session = "00000000-0000-7000-8000-000000000000"
--   tenant = "acme"
SELECT toString(session_id) AS id, toString(toUnixTimestamp64Nano(minIf(first_ts, {journal:UInt8} = 1 OR sensed = 1 OR agent NOT IN ('telltale-access', 'telltale-casework')))) AS started, toString(toUnixTimestamp64Nano(maxIf(last_ts, {journal:UInt8} = 1 OR sensed = 1 OR agent NOT IN ('telltale-access', 'telltale-casework')))) AS ended, maxIf(agent, {journal:UInt8} = 1 OR sensed = 1 OR agent NOT IN ('telltale-access', 'telltale-casework')) AS agent_name, maxIf(host, {journal:UInt8} = 1 OR sensed = 1 OR agent NOT IN ('telltale-access', 'telltale-casework')) AS host_name, maxIf(user, {journal:UInt8} = 1 OR sensed = 1 OR agent NOT IN ('telltale-access', 'telltale-casework')) AS user_name, toString(toUnixTimestamp64Nano(min(first_ts))) AS lowest, toString(toUnixTimestamp64Nano(max(last_ts))) AS highest FROM telltale.streams WHERE (tenant = {tenant:String}) AND (session_id = {session:UUID}) GROUP BY session_id HAVING (max({journal:UInt8} = 1 OR sensed = 1 OR agent NOT IN ('telltale-access', 'telltale-casework'))) LIMIT 1;

-- reads 31 rows, 13988 bytes
--   content = 1
--   journal = 1
--   seq = 12
--   stream = "0193a5e0-0000-7000-8000-0000000000a1"
--   tenant = "acme"
SELECT tenant, session_id, stream_id, seq, kind, toString(toUnixTimestamp64Nano(ts)) AS ts_ns, toString(toUnixTimestamp64Nano(observed_ts)) AS observed_ts_ns, source, assurance, agent, host, user, conversation_id, turn_id, tool_call_id, attribution, attribution_confidence_pct, trace_id, span_id, pid, ppid, altered, content_salt, erased, schema_version, command_args, cwd, public_key, settings, chain_count, chain_head, next_public_key, signature, close_reason, gap_first_seq, gap_last_seq, gap_count, gap_reason, sensor_name, sensor_rung, coverage, reason, prompt_bytes, model, provider, response_id, finish_reason, input_tokens, output_tokens, cached_tokens, reasoning_tokens, attempt, http_status, phase, tool, tool_namespace, mcp_server, command, output_bytes, outcome, error, exit_code, duration_ns, changes, decision, decided_by, scope, shown_sha256, justification, policy, policy_version, policy_type, rule, exe, argv, join_keys, exit_signal, file_op, file_path, file_target_path, file_mode, file_bytes, file_sha256, syscall, net_op, net_transport, net_host, net_ip, net_port, net_path, http_method, url, net_bytes_in, net_bytes_out, alert_rule, severity, fingerprint, refs, note, tag, actor, operation, truncated, attrs FROM telltale.events WHERE (tenant = {tenant:String}) AND ({journal:UInt8} = 1 OR kind != 'access') AND (stream_id = {stream:UUID}) AND (seq = {seq:UInt32}) LIMIT 1;

-- reads 31 rows, 1450 bytes
--   content = 1
--   journal = 1
--   seqs = [12]
--   session = "0193a5e0-0000-7000-8000-00000000000a"
--   since = "1764000000040000000"
--   streams = ["0193a5e0-0000-7000-8000-0000000000a1"]
--   tenant = "acme"
--   until = "1764000000040000000"
SELECT toString(stream_id) AS stream, seq, output FROM telltale.events WHERE (tenant = {tenant:String}) AND ({journal:UInt8} = 1 OR kind != 'access') AND (session_id = {session:UUID}) AND (ts >= {since:DateTime64(9, 'UTC')} AND ts <= {until:DateTime64(9, 'UTC')}) AND (has({seqs:Array(UInt32)}, seq)) AND (has({streams:Array(String)}, toString(stream_id)));

-- reads 31 rows, 1450 bytes
--   content = 1
--   journal = 1
--   seqs = [12]
--   session = "0193a5e0-0000-7000-8000-00000000000a"
--   since = "1764000000040000000"
--   streams = ["0193a5e0-0000-7000-8000-0000000000a1"]
--   tenant = "acme"
--   until = "1764000000040000000"
SELECT toString(stream_id) AS stream, seq, substringUTF8(output, 1, 400) AS cut_output FROM telltale.events WHERE (tenant = {tenant:String}) AND ({journal:UInt8} = 1 OR kind != 'access') AND (session_id = {session:UUID}) AND (ts >= {since:DateTime64(9, 'UTC')} AND ts <= {until:DateTime64(9, 'UTC')}) AND (has({seqs:Array(UInt32)}, seq)) AND (has({streams:Array(String)}, toString(stream_id)));
