/** The services: migrate, ingest, query, seal, witness; with what keeps them up and lets them be found. */
import {
  authority,
  CONTAINER_GUARDS,
  image,
  kafkaEnvironment,
  labels,
  type Manifest,
  NAMESPACE,
  POD_GUARDS,
  podOf,
  resources,
  SETTINGS,
  type Service,
  scratch,
  secret,
  storeEnvironment,
} from './pods.ts';

const DATA = '/var/lib/telltale';
export const INGEST_REPLICAS = 3;
const QUERY_REPLICAS = 2;
export const PARTITIONS = 12;

/** What differs from place to place; an overlay says it. */
const settings: Manifest = {
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name: SETTINGS },
  data: {
    'kafka-brokers': 'telltale-kafka-bootstrap.kafka.svc:9093',
    'store-address': 'clickhouse-telltale.clickhouse.svc:8443',
    // How many replicas each shard has; empty for one server.
    'store-replicas': '',
    'alertmanager-url': 'http://alertmanager-operated.monitoring.svc:9093',
  },
};

const namespace: Manifest = {
  apiVersion: 'v1',
  kind: 'Namespace',
  metadata: {
    name: NAMESPACE,
    labels: {
      'pod-security.kubernetes.io/enforce': 'restricted',
      'pod-security.kubernetes.io/enforce-version': 'v1.30',
    },
  },
};

const account: Manifest = {
  apiVersion: 'v1',
  kind: 'ServiceAccount',
  metadata: { name: 'telltale' },
  automountServiceAccountToken: false,
};

const alertmanager = {
  name: 'TELLTALE_ALERTMANAGER',
  valueFrom: { configMapKeyRef: { name: SETTINGS, key: 'alertmanager-url' } },
};

const worker = (component: string, args: readonly string[]): Service => ({
  component,
  args,
  environment: [...storeEnvironment('ingest'), ...kafkaEnvironment('ingest'), alertmanager],
  mounts: [
    authority,
    secret('store', 'telltale-store-ingest'),
    secret('kafka', 'telltale-kafka-ingest'),
  ],
  // A worker's bound is 586 MB with three brokers (ingest/README.md); one core is one worker's most.
  resources: resources('500m', '640Mi', '2', '1Gi'),
  graceSeconds: 60,
});

const ingest = worker('ingest', ['ingest', '--query-url', 'https://telltale-query:4560']);

const query: Service = {
  component: 'query',
  args: [
    'query',
    '--host=0.0.0.0',
    '--port=4560',
    `--data=${DATA}`,
    '--tokens=/run/telltale/tokens/tokens.json',
    '--tls-cert=/run/telltale/tls/tls.crt',
    '--tls-key=/run/telltale/tls/tls.key',
  ],
  environment: storeEnvironment('query'),
  mounts: [
    authority,
    secret('store', 'telltale-store-query'),
    secret('tokens', 'telltale-tokens'),
    secret('tls', 'telltale-query-tls'),
  ],
  resources: resources('500m', '512Mi', '2', '2Gi'),
  ports: { https: 4560 },
  claim: { name: 'journal', at: DATA },
  graceSeconds: 30,
};

const seal: Service = {
  component: 'seal',
  args: [
    'seal',
    `--dir=${DATA}`,
    '--host=0.0.0.0',
    '--port=4561',
    '--tls-cert=/run/telltale/tls/tls.crt',
    '--tls-key=/run/telltale/tls/tls.key',
  ],
  environment: storeEnvironment('ingest'),
  mounts: [authority, secret('store', 'telltale-store-ingest'), secret('tls', 'telltale-seal-tls')],
  resources: resources('100m', '256Mi', '1', '512Mi'),
  ports: { https: 4561 },
  claim: { name: 'log', at: DATA },
  graceSeconds: 30,
};

const witness: Service = {
  component: 'witness',
  args: ['witness', `--dir=${DATA}`, '--host=0.0.0.0', '--port=4562', '--log=$(LOG_KEY)'],
  environment: [
    {
      name: 'LOG_KEY',
      valueFrom: { configMapKeyRef: { name: 'telltale-log-key', key: 'vkey' } },
    },
  ],
  mounts: [],
  resources: resources('50m', '96Mi', '500m', '256Mi'),
  ports: { http: 4562 },
  claim: { name: 'memory', at: DATA },
  graceSeconds: 30,
};

function deployment(service: Service, replicas: number): Manifest {
  const { component } = service;
  // A worker is given its partitions back when the new one joins: one at a time is enough.
  const strategy = { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } };
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: `telltale-${component}`, labels: labels(component) },
    spec: {
      replicas,
      strategy,
      selector: { matchLabels: labels(component) },
      template: podOf(service),
    },
  };
}

function statefulSet(service: Service, replicas: number, size: string): Manifest {
  const { component, claim } = service;
  const storage = {
    metadata: { name: claim?.name },
    spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: size } } },
  };
  return {
    apiVersion: 'apps/v1',
    kind: 'StatefulSet',
    metadata: { name: `telltale-${component}`, labels: labels(component) },
    spec: {
      replicas,
      serviceName: `telltale-${component}`,
      podManagementPolicy: 'Parallel',
      selector: { matchLabels: labels(component) },
      template: podOf(service),
      volumeClaimTemplates: [storage],
    },
  };
}

const service = ({ component, ports = {} }: Service): Manifest => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: `telltale-${component}`, labels: labels(component) },
  spec: {
    selector: labels(component),
    ports: Object.entries(ports).map(([name, port]) => ({ name, port, targetPort: name })),
  },
});

const budget = (component: string): Manifest => ({
  apiVersion: 'policy/v1',
  kind: 'PodDisruptionBudget',
  metadata: { name: `telltale-${component}`, labels: labels(component) },
  spec: { maxUnavailable: 1, selector: { matchLabels: labels(component) } },
});

interface Errand {
  readonly component: string;
  readonly args: readonly string[];
  readonly environment: readonly object[];
  readonly mounts: Service['mounts'];
}

/** A job that runs once and ends; it is done by the image of `migrate`, which has every command. */
const jobOf = ({ component, args, environment, mounts }: Errand) => ({
  backoffLimit: 5,
  activeDeadlineSeconds: 3600,
  ttlSecondsAfterFinished: 3600,
  template: {
    metadata: { labels: labels(component) },
    spec: {
      restartPolicy: 'Never',
      serviceAccountName: 'telltale',
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      securityContext: POD_GUARDS,
      containers: [
        {
          name: component,
          image: image('migrate'),
          args,
          env: environment,
          resources: resources('100m', '128Mi', '1', '512Mi'),
          securityContext: CONTAINER_GUARDS,
          volumeMounts: mounts.map(({ name, at, volume }) => ({
            name,
            mountPath: at,
            ...('emptyDir' in volume ? {} : { readOnly: true }),
          })),
        },
      ],
      volumes: mounts.map(({ name, volume }) => ({ name, ...volume })),
    },
  },
});

/** Run before each new version of the others; a service refuses a store of another version. */
const migration = (): Manifest => ({
  apiVersion: 'batch/v1',
  kind: 'Job',
  metadata: { name: 'telltale-migrate', labels: labels('migrate') },
  spec: jobOf({
    component: 'migrate',
    args: ['migrate', '--partitions', String(PARTITIONS)],
    environment: [...storeEnvironment('migrate'), ...kafkaEnvironment('migrate')],
    mounts: [
      authority,
      secret('store', 'telltale-store-migrate'),
      secret('kafka', 'telltale-kafka-migrate'),
    ],
  }),
});

const POLICY = '/run/telltale/policy';

/** Each night what the policy lets go of; one that is late is not run beside the next. */
export const retention = (): Manifest => ({
  apiVersion: 'batch/v1',
  kind: 'CronJob',
  metadata: { name: 'telltale-retention', labels: labels('retention') },
  spec: {
    schedule: '17 2 * * *',
    timeZone: 'Etc/UTC',
    concurrencyPolicy: 'Forbid',
    startingDeadlineSeconds: 3600,
    jobTemplate: {
      spec: jobOf({
        component: 'retention',
        args: [
          ...['retention', 'run', `--policy=${POLICY}/policy.yaml`],
          ...[`--access=${DATA}`, '--by=telltale-retention'],
        ],
        environment: storeEnvironment('migrate'),
        mounts: [
          authority,
          secret('store', 'telltale-store-migrate'),
          {
            name: 'policy',
            at: POLICY,
            volume: { configMap: { name: 'telltale-retention-policy' } },
          },
          // Its journal is in the table before the job ends.
          scratch('journal', DATA, '64Mi'),
          scratch('tmp', '/tmp', '64Mi'),
        ],
      }),
    },
  },
});

/** Rules over the fleet run in one worker alone: it is one that is never two. */
function fleetWorker(): Manifest {
  const service = {
    ...worker('ingest-fleet', [...ingest.args, '--fleet-rules']),
  };
  const one = deployment(service, 1);
  const pod = podOf(service);
  const [container] = pod.spec.containers;
  const template = {
    ...pod,
    spec: { ...pod.spec, containers: [{ ...container, image: image('ingest') }] },
  };
  return { ...one, spec: { ...(one.spec as object), strategy: { type: 'Recreate' }, template } };
}

/** Manifests of the services, by the file that they stand in. */
export const serviceFiles = (): Readonly<Record<string, readonly Manifest[]>> => ({
  namespace: [namespace, account, settings],
  migrate: [migration()],
  ingest: [deployment(ingest, INGEST_REPLICAS), fleetWorker(), budget('ingest')],
  query: [statefulSet(query, QUERY_REPLICAS, '1Gi'), service(query), budget('query')],
  seal: [statefulSet(seal, 1, '10Gi'), service(seal)],
});

/** The witness, which is of use only where those who run the log have no hand on it. */
export const witnessFiles = (): readonly Manifest[] => [
  statefulSet(witness, 1, '1Gi'),
  service(witness),
];
