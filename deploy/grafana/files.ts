/** The files that Grafana's provisioning reads, all generated: `npm run gen`. */
import { stringify } from 'yaml';
import { grafanaDashboard } from './build.ts';
import { DASHBOARDS } from './dashboards.ts';
import { datasourceProvisioning } from './datasource.ts';
import { alertingProvisioning } from './rules.ts';

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
