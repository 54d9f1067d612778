-- Whether a stream holds anything that was sensed: what tells it from a journal of the query service.
-- The new view is there before the old one goes; what both take in is the same minimum and maximum.
ALTER TABLE telltale.streams ADD COLUMN IF NOT EXISTS sensed SimpleAggregateFunction(max, UInt8) DEFAULT 1 COMMENT 'Whether anything but the protocol and the service’s own records is in it.'
-- ;;
CREATE MATERIALIZED VIEW IF NOT EXISTS telltale.streams_of_events TO telltale.streams AS
SELECT tenant, session_id, stream_id, min(ts) AS first_ts, max(ts) AS last_ts, max(seq) AS last_seq,
  max(toString(agent)) AS agent, max(toString(host)) AS host, max(toString(user)) AS user,
  max(kind NOT IN ('session.open', 'session.heartbeat', 'session.close', 'gap', 'sensor', 'alert', 'annotation', 'access')) AS sensed
FROM telltale.events GROUP BY tenant, session_id, stream_id
-- ;;
DROP VIEW IF EXISTS telltale.streams_mv
