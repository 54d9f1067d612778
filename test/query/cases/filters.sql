-- reads 2 rows, 124 bytes
--   content = 1
--   journal = 1
--   recorded = 1
--   tenant = "acme"
SELECT toString(session_id) AS id, toString(toUnixTimestamp64Nano(min(first_ts))) AS started, toString(toUnixTimestamp64Nano(max(last_ts))) AS ended, max(agent) AS agent_name, max(host) AS host_name, max(user) AS user_name FROM telltale.streams WHERE (tenant = {tenant:String}) AND ({journal:UInt8} = 1 OR sensed = 1 OR agent NOT IN ('telltale-access', 'telltale-casework')) GROUP BY session_id HAVING (max(sensed = 1 OR agent NOT IN ('telltale-access', 'telltale-casework')) = {recorded:UInt8}) ORDER BY min(first_ts) DESC, id DESC LIMIT 2;

-- reads 31 rows, 1640 bytes
--   content = 1
--   journal = 1
--   kinds = ["exec","net"]
--   session = "0193a5e0-0000-7000-8000-00000000000a"
--   tenant = "acme"
SELECT session_id, stream_id, seq, kind, toString(toUnixTimestamp64Nano(ts)) AS ts_ns FROM telltale.events WHERE (tenant = {tenant:String}) AND ({journal:UInt8} = 1 OR kind != 'access') AND (session_id = {session:UUID}) AND (has({kinds:Array(String)}, toString(kind))) ORDER BY toUnixTimestamp64Nano(ts), seq, toString(stream_id) LIMIT 101;

-- reads 31 rows, 1852 bytes
--   content = 1
--   journal = 1
--   kinds = ["tool.call"]
--   session = "0193a5e0-0000-7000-8000-00000000000a"
--   tenant = "acme"
--   turn = "turn_1"
SELECT session_id, stream_id, seq, kind, toString(toUnixTimestamp64Nano(ts)) AS ts_ns FROM telltale.events WHERE (tenant = {tenant:String}) AND ({journal:UInt8} = 1 OR kind != 'access') AND (session_id = {session:UUID}) AND (has({kinds:Array(String)}, toString(kind))) AND (turn_id = {turn:String}) ORDER BY toUnixTimestamp64Nano(ts), seq, toString(stream_id) LIMIT 101;

-- reads 31 rows, 373 bytes
--   content = 1
--   journal = 1
--   session = "0193a5e0-0000-7000-8000-00000000000a"
--   tenant = "acme"
--   text = "%\\%%"
SELECT session_id, stream_id, seq, kind, toString(toUnixTimestamp64Nano(ts)) AS ts_ns FROM telltale.events WHERE (tenant = {tenant:String}) AND ({journal:UInt8} = 1 OR kind != 'access') AND (session_id = {session:UUID}) AND (prompt ILIKE {text:String} OR text ILIKE {text:String} OR arguments ILIKE {text:String} OR command ILIKE {text:String} OR output ILIKE {text:String} OR argv_line ILIKE {text:String}) ORDER BY toUnixTimestamp64Nano(ts), seq, toString(stream_id) LIMIT 101;

-- reads 31 rows, 43 bytes
--   content = 1
--   journal = 1
--   path = "/w/o"
--   session = "0193a5e0-0000-7000-8000-00000000000a"
--   tenant = "acme"
SELECT session_id, stream_id, seq, kind, toString(toUnixTimestamp64Nano(ts)) AS ts_ns FROM telltale.events WHERE (tenant = {tenant:String}) AND ({journal:UInt8} = 1 OR kind != 'access') AND (session_id = {session:UUID}) AND (file_path = {path:String} OR file_target_path = {path:String}) ORDER BY toUnixTimestamp64Nano(ts), seq, toString(stream_id) LIMIT 101;

-- reads 62 rows, 1888 bytes
--   content = 1
--   journal = 1
--   session = "0193a5e0-0000-7000-8000-00000000000a"
--   since = "1764000000032000000"
--   tenant = "acme"
--   until = "1764000000034000000"
SELECT session_id, stream_id, seq, kind, toString(toUnixTimestamp64Nano(ts)) AS ts_ns FROM telltale.events WHERE (tenant = {tenant:String}) AND ({journal:UInt8} = 1 OR kind != 'access') AND (session_id = {session:UUID}) AND (ts >= {since:DateTime64(9, 'UTC')}) AND (ts < {until:DateTime64(9, 'UTC')}) ORDER BY toUnixTimestamp64Nano(ts), seq, toString(stream_id) LIMIT 101;

-- reads 62 rows, 1931 bytes
--   content = 1
--   journal = 1
--   path = "/w/"
--   session = "0193a5e0-0000-7000-8000-00000000000a"
--   tenant = "acme"
SELECT session_id, stream_id, seq, kind, toString(toUnixTimestamp64Nano(ts)) AS ts_ns FROM telltale.events WHERE (tenant = {tenant:String}) AND ({journal:UInt8} = 1 OR kind != 'access') AND (session_id = {session:UUID}) AND (startsWith(file_path, {path:String}) OR startsWith(file_target_path, {path:String})) ORDER BY toUnixTimestamp64Nano(ts), seq, toString(stream_id) LIMIT 101;

-- reads 62 rows, 1931 bytes
--   content = 1
--   journal = 1
--   path = "/w/out"
--   session = "0193a5e0-0000-7000-8000-00000000000a"
--   tenant = "acme"
SELECT session_id, stream_id, seq, kind, toString(toUnixTimestamp64Nano(ts)) AS ts_ns FROM telltale.events WHERE (tenant = {tenant:String}) AND ({journal:UInt8} = 1 OR kind != 'access') AND (session_id = {session:UUID}) AND (file_path = {path:String} OR file_target_path = {path:String}) ORDER BY toUnixTimestamp64Nano(ts), seq, toString(stream_id) LIMIT 101;

-- reads 62 rows, 1997 bytes
--   content = 1
--   host = "192.0.2.7"
--   journal = 1
--   session = "0193a5e0-0000-7000-8000-00000000000a"
--   tenant = "acme"
SELECT session_id, stream_id, seq, kind, toString(toUnixTimestamp64Nano(ts)) AS ts_ns FROM telltale.events WHERE (tenant = {tenant:String}) AND ({journal:UInt8} = 1 OR kind != 'access') AND (session_id = {session:UUID}) AND (net_host = {host:String} OR net_ip = {host:String}) ORDER BY toUnixTimestamp64Nano(ts), seq, toString(stream_id) LIMIT 101;

-- reads 62 rows, 1997 bytes
--   content = 1
--   host = "example.com"
--   journal = 1
--   session = "0193a5e0-0000-7000-8000-00000000000a"
--   tenant = "acme"
SELECT session_id, stream_id, seq, kind, toString(toUnixTimestamp64Nano(ts)) AS ts_ns FROM telltale.events WHERE (tenant = {tenant:String}) AND ({journal:UInt8} = 1 OR kind != 'access') AND (session_id = {session:UUID}) AND (net_host = {host:String} OR net_ip = {host:String}) ORDER BY toUnixTimestamp64Nano(ts), seq, toString(stream_id) LIMIT 101;

-- reads 62 rows, 2082 bytes
--   call = "call_2"
--   content = 1
--   journal = 1
--   session = "0193a5e0-0000-7000-8000-00000000000a"
--   tenant = "acme"
SELECT session_id, stream_id, seq, kind, toString(toUnixTimestamp64Nano(ts)) AS ts_ns FROM telltale.events WHERE (tenant = {tenant:String}) AND ({journal:UInt8} = 1 OR kind != 'access') AND (session_id = {session:UUID}) AND (tool_call_id = {call:String}) ORDER BY toUnixTimestamp64Nano(ts), seq, toString(stream_id) LIMIT 101;

-- reads 62 rows, 2261 bytes
--   content = 1
--   journal = 1
--   session = "0193a5e0-0000-7000-8000-00000000000a"
--   tenant = "acme"
--   text = "%ECHO hi%"
SELECT session_id, stream_id, seq, kind, toString(toUnixTimestamp64Nano(ts)) AS ts_ns FROM telltale.events WHERE (tenant = {tenant:String}) AND ({journal:UInt8} = 1 OR kind != 'access') AND (session_id = {session:UUID}) AND (prompt ILIKE {text:String} OR text ILIKE {text:String} OR arguments ILIKE {text:String} OR command ILIKE {text:String} OR output ILIKE {text:String} OR argv_line ILIKE {text:String}) ORDER BY toUnixTimestamp64Nano(ts), seq, toString(stream_id) LIMIT 101;
