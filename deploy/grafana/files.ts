/** The files that Grafana's provisioning reads, all generated: `npm run gen`. */
import { stringify } from 'yaml';
import { ALERTS_DASHBOARD } from './alerts.ts';
import { APPROVALS_DASHBOARD } from './approvals.ts';
import { grafanaDashboard } from './build.ts';
import { datasourceProvisioning } from './datasource.ts';
import { FLEET_DASHBOARD } from './fleet.ts';
import { NETWORK_DASHBOARD } from './network.ts';
import type { Dashboard } from './panel.ts';
import { PIPELINE_DASHBOARD } from './pipeline.ts';
import { alertingProvisioning } from './rules.ts';
import { SESSION_DASHBOARD } from './session.ts';

export const DASHBOARDS: readonly Dashboard[] = [
  FLEET_DASHBOARD,
  SESSION_DASHBOARD,
  NETWORK_DASHBOARD,
  APPROVALS_DASHBOARD,
  ALERTS_DASHBOARD,
  PIPELINE_DASHBOARD,
];

const FOLDER = 'deploy/grafana/provisioning';

/** Where the container finds the dashboards' JSON: beside this file, mounted whole. */
const dashboardsProvisioning = () => ({
  apiVersion: 1,
  providers: [
    {
      name: 'Telltale',
      folder: 'Telltale',
      type: 'file',
      allowUiUpdates: false,
      options: { path: '/etc/grafana/provisioning/dashboards' },
    },
  ],
});

const yaml = (about: string, value: unknown): string =>
  `# ${about} Written by \`npm run gen\`.\n${stringify(value, { lineWidth: 0 })}`;

/** Path (from the root of the project) and text of each. */
export const grafanaFiles = (): readonly { readonly path: string; readonly text: string }[] => [
  {
    path: `${FOLDER}/datasources/telltale.yaml`,
    text: yaml(
      'The data source; its address and account come from the environment.',
      datasourceProvisioning(),
    ),
  },
  {
    path: `${FOLDER}/dashboards/telltale.yaml`,
    text: yaml('Where the dashboards are.', dashboardsProvisioning()),
  },
  ...DASHBOARDS.map((dashboard) => ({
    path: `${FOLDER}/dashboards/${dashboard.uid}.json`,
    text: `${JSON.stringify(grafanaDashboard(dashboard), null, 2)}\n`,
  })),
  {
    path: `${FOLDER}/alerting/telltale.yaml`,
    text: yaml('Alert rules.', alertingProvisioning()),
  },
];
