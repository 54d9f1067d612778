-- reads 2 rows, 124 bytes
--   agent = "' OR 1=1 --"
--   content = 1
--   journal = 1
--   recorded = 1
--   tenant = "acme"
SELECT toString(session_id) AS id, toString(toUnixTimestamp64Nano(min(first_ts))) AS started, toString(toUnixTimestamp64Nano(max(last_ts))) AS ended, max(agent) AS agent_name, max(host) AS host_name, max(user) AS user_name FROM telltale.streams WHERE (tenant = {tenant:String}) AND ({journal:UInt8} = 1 OR sensed = 1 OR agent NOT IN ('telltale-access', 'telltale-casework')) GROUP BY session_id HAVING (max(sensed = 1 OR agent NOT IN ('telltale-access', 'telltale-casework')) = {recorded:UInt8}) AND (agent_name = {agent:String}) ORDER BY min(first_ts) DESC, id DESC LIMIT 101;

-- reads 2 rows, 124 bytes
--   content = 1
--   host = "box-2"
--   journal = 1
--   recorded = 1
--   tenant = "acme"
SELECT toString(session_id) AS id, toString(toUnixTimestamp64Nano(min(first_ts))) AS started, toString(toUnixTimestamp64Nano(max(last_ts))) AS ended, max(agent) AS agent_name, max(host) AS host_name, max(user) AS user_name FROM telltale.streams WHERE (tenant = {tenant:String}) AND ({journal:UInt8} = 1 OR sensed = 1 OR agent NOT IN ('telltale-access', 'telltale-casework')) GROUP BY session_id HAVING (max(sensed = 1 OR agent NOT IN ('telltale-access', 'telltale-casework')) = {recorded:UInt8}) AND (host_name = {host:String}) ORDER BY min(first_ts) DESC, id DESC LIMIT 101;

-- reads 2 rows, 124 bytes
--   content = 1
--   journal = 1
--   recorded = 1
--   tenant = "acme"
--   until = "1764000000000000000"
SELECT toString(session_id) AS id, toString(toUnixTimestamp64Nano(min(first_ts))) AS started, toString(toUnixTimestamp64Nano(max(last_ts))) AS ended, max(agent) AS agent_name, max(host) AS host_name, max(user) AS user_name FROM telltale.streams WHERE (tenant = {tenant:String}) AND ({journal:UInt8} = 1 OR sensed = 1 OR agent NOT IN ('telltale-access', 'telltale-casework')) GROUP BY session_id HAVING (max(sensed = 1 OR agent NOT IN ('telltale-access', 'telltale-casework')) = {recorded:UInt8}) AND (min(first_ts) < {until:DateTime64(9, 'UTC')}) ORDER BY min(first_ts) DESC, id DESC LIMIT 101;

-- reads 2 rows, 124 bytes
--   content = 1
--   journal = 1
--   recorded = 1
--   tenant = "acme"
SELECT toString(session_id) AS id, toString(toUnixTimestamp64Nano(min(first_ts))) AS started, toString(toUnixTimestamp64Nano(max(last_ts))) AS ended, max(agent) AS agent_name, max(host) AS host_name, max(user) AS user_name FROM telltale.streams WHERE (tenant = {tenant:String}) AND ({journal:UInt8} = 1 OR sensed = 1 OR agent NOT IN ('telltale-access', 'telltale-casework')) GROUP BY session_id HAVING (max(sensed = 1 OR agent NOT IN ('telltale-access', 'telltale-casework')) = {recorded:UInt8}) ORDER BY min(first_ts) DESC, id DESC LIMIT 6;
