/** How many workers there are, by how far their group is behind: two forms, of which one is taken. */
import type { Manifest } from './pods.ts';
import { INGEST_REPLICAS, PARTITIONS } from './services.ts';

/** Messages that a worker may be behind before there is another: one batch's most (ingest/cut.ts). */
const LAG_A_WORKER = 2_000;
/** The fleet's worker is a member of the group too; a member beyond the partitions has nothing to do. */
export const WORKERS_MAX = PARTITIONS - 1;
const SETTLE_SECONDS = 600;

const target = { apiVersion: 'apps/v1', kind: 'Deployment', name: 'telltale-ingest' };
/** Each change moves partitions: down is slow. */
const behavior = {
  scaleUp: { policies: [{ type: 'Pods', value: 2, periodSeconds: 60 }] },
  scaleDown: {
    stabilizationWindowSeconds: SETTLE_SECONDS,
    policies: [{ type: 'Pods', value: 1, periodSeconds: 120 }],
  },
};

/** By the metrics API: prometheus-adapter serves `telltale_ingest_lag`, the largest of all pods. */
export const horizontalPodAutoscaler = (): Manifest => ({
  apiVersion: 'autoscaling/v2',
  kind: 'HorizontalPodAutoscaler',
  metadata: { name: 'telltale-ingest' },
  spec: {
    scaleTargetRef: target,
    minReplicas: INGEST_REPLICAS,
    maxReplicas: WORKERS_MAX,
    metrics: [
      {
        type: 'External',
        external: {
          metric: { name: 'telltale_ingest_lag' },
          target: { type: 'AverageValue', averageValue: String(LAG_A_WORKER) },
        },
      },
    ],
    behavior,
  },
});

/** By KEDA, which asks the brokers itself. */
export const scaledObject = (): readonly Manifest[] => [
  {
    apiVersion: 'keda.sh/v1alpha1',
    kind: 'TriggerAuthentication',
    metadata: { name: 'telltale-kafka' },
    spec: {
      secretTargetRef: [
        { parameter: 'password', name: 'telltale-kafka-keda', key: 'password' },
        { parameter: 'username', name: 'telltale-kafka-keda', key: 'username' },
      ],
      configMapTargetRef: [{ parameter: 'ca', name: 'telltale-ca', key: 'ca.crt' }],
    },
  },
  {
    apiVersion: 'keda.sh/v1alpha1',
    kind: 'ScaledObject',
    metadata: { name: 'telltale-ingest' },
    spec: {
      scaleTargetRef: target,
      minReplicaCount: INGEST_REPLICAS,
      maxReplicaCount: WORKERS_MAX,
      advanced: { horizontalPodAutoscalerConfig: { behavior } },
      triggers: [
        {
          type: 'kafka',
          metadata: {
            bootstrapServersFromEnv: 'KAFKA_BROKERS',
            consumerGroup: 'telltale-ingest',
            topic: 'telltale.events',
            lagThreshold: String(LAG_A_WORKER),
            sasl: 'scram_sha512',
            tls: 'enable',
          },
          authenticationRef: { name: 'telltale-kafka' },
        },
      ],
    },
  },
];
