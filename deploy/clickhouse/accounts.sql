-- Accounts of a cluster, as DDL: what users.xml is for one server. Run once, by an administrator, after
-- `telltale migrate --cluster telltale`; statements are parted by a line `-- ;;`. Hashes are placeholders: put
-- the SHA-256 of each password there. remote_servers needs <secret>, so that a shard knows who asks.
CREATE USER IF NOT EXISTS telltale_migrate ON CLUSTER 'telltale' IDENTIFIED WITH sha256_hash BY '{migrate}' SETTINGS max_memory_usage = 4294967296
-- ;;
GRANT ON CLUSTER 'telltale' ALL ON telltale.* TO telltale_migrate
-- ;;
GRANT ON CLUSTER 'telltale' SELECT ON system.tables TO telltale_migrate
-- ;;
GRANT ON CLUSTER 'telltale' SELECT ON system.databases TO telltale_migrate
-- ;;
GRANT ON CLUSTER 'telltale' SELECT ON system.parts TO telltale_migrate
-- ;;
GRANT ON CLUSTER 'telltale' SELECT ON system.backups TO telltale_migrate
-- ;;
GRANT ON CLUSTER 'telltale' SELECT ON system.clusters TO telltale_migrate
-- ;;
-- Erasing and restoring look at each server's parts and databases.
GRANT ON CLUSTER 'telltale' REMOTE, CREATE TEMPORARY TABLE ON *.* TO telltale_migrate
-- ;;
GRANT ON CLUSTER 'telltale' CLUSTER ON *.* TO telltale_migrate
-- ;;
CREATE USER IF NOT EXISTS telltale_ingest ON CLUSTER 'telltale' IDENTIFIED WITH sha256_hash BY '{ingest}' SETTINGS max_memory_usage = 4294967296
-- ;;
GRANT ON CLUSTER 'telltale' SELECT, INSERT ON telltale.* TO telltale_ingest
-- ;;
CREATE USER IF NOT EXISTS telltale_query ON CLUSTER 'telltale' IDENTIFIED WITH sha256_hash BY '{query}' SETTINGS max_memory_usage = 1073741824 MAX 1073741824, max_execution_time = 60 MAX 60
-- ;;
GRANT ON CLUSTER 'telltale' SELECT ON telltale.* TO telltale_query
-- ;;
GRANT ON CLUSTER 'telltale' INSERT ON telltale.events TO telltale_query
-- ;;
GRANT ON CLUSTER 'telltale' INSERT ON telltale.events_local TO telltale_query
-- ;;
GRANT ON CLUSTER 'telltale' INSERT ON telltale.dead_letters TO telltale_query
-- ;;
GRANT ON CLUSTER 'telltale' INSERT ON telltale.dead_letters_local TO telltale_query
-- ;;
-- A reader of one tenant, for Grafana: the engine itself leaves out the rows of others. One such block a tenant.
CREATE USER IF NOT EXISTS telltale_grafana_acme ON CLUSTER 'telltale' IDENTIFIED WITH sha256_hash BY '{grafana}' SETTINGS readonly = 2, max_memory_usage = 1073741824 MAX 1073741824, max_execution_time = 60 MAX 60, max_result_rows = 100000 MAX 100000
-- ;;
GRANT ON CLUSTER 'telltale' SELECT ON telltale.* TO telltale_grafana_acme
-- ;;
CREATE ROW POLICY IF NOT EXISTS tenant_acme ON CLUSTER 'telltale' ON telltale.events USING tenant = 'acme' TO telltale_grafana_acme
-- ;;
CREATE ROW POLICY IF NOT EXISTS tenant_acme ON CLUSTER 'telltale' ON telltale.events_local USING tenant = 'acme' TO telltale_grafana_acme
-- ;;
CREATE ROW POLICY IF NOT EXISTS tenant_acme ON CLUSTER 'telltale' ON telltale.dead_letters USING tenant = 'acme' TO telltale_grafana_acme
-- ;;
CREATE ROW POLICY IF NOT EXISTS tenant_acme ON CLUSTER 'telltale' ON telltale.dead_letters_local USING tenant = 'acme' TO telltale_grafana_acme
-- ;;
CREATE ROW POLICY IF NOT EXISTS tenant_acme ON CLUSTER 'telltale' ON telltale.streams USING tenant = 'acme' TO telltale_grafana_acme
-- ;;
CREATE ROW POLICY IF NOT EXISTS tenant_acme ON CLUSTER 'telltale' ON telltale.streams_local USING tenant = 'acme' TO telltale_grafana_acme
-- ;;
CREATE ROW POLICY IF NOT EXISTS tenant_acme ON CLUSTER 'telltale' ON telltale.entities USING tenant = 'acme' TO telltale_grafana_acme
-- ;;
CREATE ROW POLICY IF NOT EXISTS tenant_acme ON CLUSTER 'telltale' ON telltale.entities_local USING tenant = 'acme' TO telltale_grafana_acme
-- ;;
CREATE ROW POLICY IF NOT EXISTS tenant_acme ON CLUSTER 'telltale' ON telltale.alerts USING tenant = 'acme' TO telltale_grafana_acme
-- ;;
CREATE ROW POLICY IF NOT EXISTS tenant_acme ON CLUSTER 'telltale' ON telltale.alerts_local USING tenant = 'acme' TO telltale_grafana_acme
-- ;;
CREATE ROW POLICY IF NOT EXISTS tenant_acme ON CLUSTER 'telltale' ON telltale.erasures USING tenant = 'acme' TO telltale_grafana_acme
-- ;;
CREATE ROW POLICY IF NOT EXISTS tenant_acme ON CLUSTER 'telltale' ON telltale.dead_replays USING tenant = 'acme' TO telltale_grafana_acme
-- ;;
CREATE ROW POLICY IF NOT EXISTS tenant_acme ON CLUSTER 'telltale' ON telltale.alert_states USING tenant = 'acme' TO telltale_grafana_acme
-- ;;
CREATE ROW POLICY IF NOT EXISTS tenant_acme ON CLUSTER 'telltale' ON telltale.baseline USING tenant = 'acme' TO telltale_grafana_acme
-- ;;
CREATE ROW POLICY IF NOT EXISTS tenant_acme ON CLUSTER 'telltale' ON telltale.holds USING tenant = 'acme' TO telltale_grafana_acme
-- ;;
CREATE ROW POLICY IF NOT EXISTS tenant_acme ON CLUSTER 'telltale' ON telltale.removals USING tenant = 'acme' TO telltale_grafana_acme
