-- reads 2 rows, 122 bytes
--   content = 1
--   journal = 1
--   session = "0193a5e0-0000-7000-8000-00000000000a"
--   tenant = "acme"
SELECT toString(session_id) AS id, toString(toUnixTimestamp64Nano(min(first_ts))) AS started, toString(toUnixTimestamp64Nano(max(last_ts))) AS ended, max(agent) AS agent_name, max(host) AS host_name, max(user) AS user_name FROM telltale.streams WHERE (tenant = {tenant:String}) AND ({journal:UInt8} = 1 OR sensed = 1 OR agent NOT IN ('telltale-access', 'telltale-casework')) AND (session_id = {session:UUID}) GROUP BY session_id LIMIT 1;

-- reads 31 rows, 1415 bytes
--   before_seq = 3
--   before_stream = "0193a5e0-0000-7000-8000-0000000000a1"
--   before_ts = "1764000000020000000"
--   content = 1
--   journal = 1
--   session = "0193a5e0-0000-7000-8000-00000000000a"
--   tenant = "acme"
SELECT 1 AS found FROM telltale.events WHERE (tenant = {tenant:String}) AND ({journal:UInt8} = 1 OR kind != 'access') AND (ts <= {before_ts:DateTime64(9, 'UTC')}) AND ((ts, seq, toString(stream_id)) < ({before_ts:DateTime64(9, 'UTC')}, {before_seq:UInt32}, {before_stream:String})) AND (session_id = {session:UUID}) LIMIT 1;

-- reads 62 rows, 1888 bytes
--   after_seq = 2
--   after_stream = "0193a5e0-0000-7000-8000-0000000000a1"
--   after_ts = "1764000000010000000"
--   before_seq = 6
--   before_stream = "0193a5e0-0000-7000-8000-0000000000a1"
--   before_ts = "1764000000032000000"
--   content = 1
--   journal = 1
--   session = "0193a5e0-0000-7000-8000-00000000000a"
--   tenant = "acme"
SELECT session_id, stream_id, seq, kind, toString(toUnixTimestamp64Nano(ts)) AS ts_ns FROM telltale.events WHERE (tenant = {tenant:String}) AND ({journal:UInt8} = 1 OR kind != 'access') AND (ts >= {after_ts:DateTime64(9, 'UTC')}) AND ((ts, seq, toString(stream_id)) > ({after_ts:DateTime64(9, 'UTC')}, {after_seq:UInt32}, {after_stream:String})) AND (ts <= {before_ts:DateTime64(9, 'UTC')}) AND ((ts, seq, toString(stream_id)) < ({before_ts:DateTime64(9, 'UTC')}, {before_seq:UInt32}, {before_stream:String})) AND (session_id = {session:UUID}) ORDER BY toUnixTimestamp64Nano(ts), seq, toString(stream_id) LIMIT 3;
