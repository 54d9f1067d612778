/** The data source, and one query of it: grafana-clickhouse-datasource 4.20. */
import type { Frame } from './panel.ts';

export const DATASOURCE_TYPE = 'grafana-clickhouse-datasource';
export const DATASOURCE_UID = 'telltale';
export const PLUGIN_VERSION = '4.20.0';

/** What its `format` means. */
const FORMATS: Readonly<Record<Frame, number>> = { timeseries: 0, table: 1, logs: 2 };
const QUERY_TYPES: Readonly<Record<Frame, string>> = {
  timeseries: 'timeseries',
  table: 'table',
  logs: 'logs',
};

/** One query as panels, annotations and alert rules hold it. */
export interface Target {
  readonly refId: string;
  readonly datasource: { readonly type: string; readonly uid: string };
  readonly editorType: 'sql';
  readonly rawSql: string;
  readonly format: number;
  readonly queryType: string;
  readonly pluginVersion: string;
}

export const targetOf = (refId: string, rawSql: string, frame: Frame): Target => ({
  refId,
  datasource: { type: DATASOURCE_TYPE, uid: DATASOURCE_UID },
  editorType: 'sql',
  rawSql,
  format: FORMATS[frame],
  queryType: QUERY_TYPES[frame],
  pluginVersion: PLUGIN_VERSION,
});

/**
 * Provisioning of the data source. Address and secret come from Grafana's environment, so nothing
 * secret is in a file: TELLTALE_CLICKHOUSE_HOST, _PORT, _SECURE, _USER and _PASSWORD.
 */
export const datasourceProvisioning = () => ({
  apiVersion: 1,
  datasources: [
    {
      name: 'Telltale',
      uid: DATASOURCE_UID,
      type: DATASOURCE_TYPE,
      access: 'proxy',
      isDefault: true,
      editable: false,
      jsonData: {
        host: '$TELLTALE_CLICKHOUSE_HOST',
        port: '$TELLTALE_CLICKHOUSE_PORT',
        protocol: 'http',
        secure: '$TELLTALE_CLICKHOUSE_SECURE',
        username: '$TELLTALE_CLICKHOUSE_USER',
        defaultDatabase: 'telltale',
        dialTimeout: '10',
        queryTimeout: '60',
        validateSql: true,
      },
      secureJsonData: { password: '$TELLTALE_CLICKHOUSE_PASSWORD' },
    },
  ],
});
