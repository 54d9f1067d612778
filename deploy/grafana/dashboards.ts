/** The dashboards, in the order in which somebody on call opens them. */
import { ALERTS_DASHBOARD } from './alerts.ts';
import { APPROVALS_DASHBOARD } from './approvals.ts';
import { FLEET_DASHBOARD } from './fleet.ts';
import { NETWORK_DASHBOARD } from './network.ts';
import type { Dashboard } from './panel.ts';
import { PIPELINE_DASHBOARD } from './pipeline.ts';
import { SESSION_DASHBOARD } from './session.ts';

export const DASHBOARDS: readonly Dashboard[] = [
  FLEET_DASHBOARD,
  SESSION_DASHBOARD,
  NETWORK_DASHBOARD,
  APPROVALS_DASHBOARD,
  ALERTS_DASHBOARD,
  PIPELINE_DASHBOARD,
];
