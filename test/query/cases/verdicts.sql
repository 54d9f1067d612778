-- reads 2 rows, 122 bytes
--   content = 1
--   journal = 1
--   session = "0193a5e0-0000-7000-8000-00000000000a"
--   tenant = "acme"
SELECT toString(session_id) AS id, toString(toUnixTimestamp64Nano(min(first_ts))) AS started, toString(toUnixTimestamp64Nano(max(last_ts))) AS ended, max(agent) AS agent_name, max(host) AS host_name, max(user) AS user_name FROM telltale.streams WHERE (tenant = {tenant:String}) AND ({journal:UInt8} = 1 OR sensed = 1 OR agent NOT IN ('telltale-access', 'telltale-casework')) AND (session_id = {session:UUID}) GROUP BY session_id LIMIT 1;

-- reads 62 rows, 1957 bytes
--   content = 1
--   decisions = ["allow","approved"]
--   journal = 1
--   session = "0193a5e0-0000-7000-8000-00000000000a"
--   tenant = "acme"
SELECT session_id, stream_id, seq, kind, toString(toUnixTimestamp64Nano(ts)) AS ts_ns FROM telltale.events WHERE (tenant = {tenant:String}) AND ({journal:UInt8} = 1 OR kind != 'access') AND (session_id = {session:UUID}) AND (has({decisions:Array(String)}, toString(decision))) ORDER BY toUnixTimestamp64Nano(ts), seq, toString(stream_id) LIMIT 101;

-- reads 62 rows, 2022 bytes
--   content = 1
--   decisions = ["deny","denied","cancelled"]
--   journal = 1
--   session = "0193a5e0-0000-7000-8000-00000000000a"
--   tenant = "acme"
SELECT session_id, stream_id, seq, kind, toString(toUnixTimestamp64Nano(ts)) AS ts_ns, decision, decided_by FROM telltale.events WHERE (tenant = {tenant:String}) AND ({journal:UInt8} = 1 OR kind != 'access') AND (session_id = {session:UUID}) AND (has({decisions:Array(String)}, toString(decision))) ORDER BY toUnixTimestamp64Nano(ts), seq, toString(stream_id) LIMIT 101;
