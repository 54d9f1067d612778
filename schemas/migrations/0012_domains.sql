-- Registrable domains of hosts as entities, and alerts found by their fingerprint. From schemas/entities.ts and
-- schemas/alerts.ts. The domains of what is stored already are made of its hosts; their aggregates may be applied
-- twice, so each of these statements may be repeated.
ALTER TABLE telltale.entities_columns_mv MODIFY QUERY
SELECT tenant, type, value, session_id, min(ts) AS first_ts, max(ts) AS last_ts
FROM (SELECT tenant, session_id, ts, arrayJoin(arrayZip(['host', 'domain', 'ip', 'path', 'path', 'sha256', 'exe', 'tool', 'mcp_server'], [toString(net_host), toString(if(isIPv4String(net_host), '', cutToFirstSignificantSubdomain(lower(trimRight(net_host, '.'))))), toString(net_ip), toString(file_path), toString(file_target_path), toString(file_sha256), toString(exe), toString(tool), toString(mcp_server)])) AS entity, entity.1 AS type, entity.2 AS value
FROM telltale.events
WHERE value != '')
GROUP BY tenant, type, value, session_id
-- ;;
ALTER TABLE telltale.entities COMMENT COLUMN type 'Which sort: host, domain, ip, path, sha256, exe, tool, mcp_server, package, git_remote.'
-- ;;
INSERT INTO telltale.entities
SELECT tenant, 'domain' AS type, domain AS value, session_id, min(first_ts) AS first_ts, max(last_ts) AS last_ts
FROM (SELECT tenant, session_id, first_ts, last_ts, if(isIPv4String(value), '', cutToFirstSignificantSubdomain(lower(trimRight(value, '.')))) AS domain
FROM telltale.entities
WHERE type = 'host' AND domain != '')
GROUP BY tenant, domain, session_id
-- ;;
ALTER TABLE telltale.alerts ADD INDEX IF NOT EXISTS ix_fingerprint fingerprint TYPE bloom_filter(0.001) GRANULARITY 1
-- ;;
ALTER TABLE telltale.alerts MATERIALIZE INDEX IF EXISTS ix_fingerprint
