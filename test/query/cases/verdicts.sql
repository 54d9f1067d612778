-- reads 2 rows, 122 bytes
--   content = 1
--   journal = 1
--   session = "0193a5e0-0000-7000-8000-00000000000a"
--   tenant = "acme"
SELECT toString(session_id) AS id, toString(toUnixTimestamp64Nano(minIf(first_ts, {journal:UInt8} = 1 OR sensed = 1 OR agent NOT IN ('telltale-access', 'telltale-casework')))) AS started, toString(toUnixTimestamp64Nano(maxIf(last_ts, {journal:UInt8} = 1 OR sensed = 1 OR agent NOT IN ('telltale-access', 'telltale-casework')))) AS ended, maxIf(agent, {journal:UInt8} = 1 OR sensed = 1 OR agent NOT IN ('telltale-access', 'telltale-casework')) AS agent_name, maxIf(host, {journal:UInt8} = 1 OR sensed = 1 OR agent NOT IN ('telltale-access', 'telltale-casework')) AS host_name, maxIf(user, {journal:UInt8} = 1 OR sensed = 1 OR agent NOT IN ('telltale-access', 'telltale-casework')) AS user_name, toString(toUnixTimestamp64Nano(min(first_ts))) AS lowest, toString(toUnixTimestamp64Nano(max(last_ts))) AS highest FROM telltale.streams WHERE (tenant = {tenant:String}) AND (session_id = {session:UUID}) GROUP BY session_id HAVING (max({journal:UInt8} = 1 OR sensed = 1 OR agent NOT IN ('telltale-access', 'telltale-casework'))) LIMIT 1;

-- reads 62 rows, 1957 bytes
--   content = 1
--   decisions = ["allow","approved"]
--   highest = "1764000099000000000"
--   journal = 1
--   lowest = "1764000000000000000"
--   session = "0193a5e0-0000-7000-8000-00000000000a"
--   tenant = "acme"
SELECT session_id, stream_id, seq, kind, toString(toUnixTimestamp64Nano(ts)) AS ts_ns FROM telltale.events WHERE (tenant = {tenant:String}) AND ({journal:UInt8} = 1 OR kind != 'access') AND (session_id = {session:UUID}) AND (ts >= {lowest:DateTime64(9, 'UTC')} AND ts <= {highest:DateTime64(9, 'UTC')}) AND (has({decisions:Array(String)}, toString(decision))) ORDER BY toUnixTimestamp64Nano(ts), seq, toString(stream_id) LIMIT 101;

-- reads 62 rows, 2022 bytes
--   content = 1
--   decisions = ["deny","denied","cancelled"]
--   highest = "1764000099000000000"
--   journal = 1
--   lowest = "1764000000000000000"
--   session = "0193a5e0-0000-7000-8000-00000000000a"
--   tenant = "acme"
SELECT session_id, stream_id, seq, kind, toString(toUnixTimestamp64Nano(ts)) AS ts_ns, decision, decided_by FROM telltale.events WHERE (tenant = {tenant:String}) AND ({journal:UInt8} = 1 OR kind != 'access') AND (session_id = {session:UUID}) AND (ts >= {lowest:DateTime64(9, 'UTC')} AND ts <= {highest:DateTime64(9, 'UTC')}) AND (has({decisions:Array(String)}, toString(decision))) ORDER BY toUnixTimestamp64Nano(ts), seq, toString(stream_id) LIMIT 101;
