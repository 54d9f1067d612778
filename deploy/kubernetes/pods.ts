/** What every pod has in common: its guards, its probes, and where its settings come from. */

export const NAMESPACE = 'telltale';
export const HEALTH_PORT = 9464;
/** Of package.json, as the images are tagged; whoever has a registry gives digests by an overlay. */
export const VERSION = '0.1.0';
export const SETTINGS = 'telltale-settings';
/** Made outside of these files; `README.md` says what each holds. */
export const CA = 'telltale-ca';

const USER = 10_001;
const MOUNTED = '/run/telltale';

export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly [key: string]: unknown };
  readonly [key: string]: unknown;
}

export const labels = (component: string) => ({
  'app.kubernetes.io/name': 'telltale',
  'app.kubernetes.io/component': component,
});

/** As Pod Security's profile `restricted` has it, with a user of our own. */
export const POD_GUARDS = {
  runAsNonRoot: true,
  runAsUser: USER,
  runAsGroup: USER,
  fsGroup: USER,
  seccompProfile: { type: 'RuntimeDefault' },
} as const;

export const CONTAINER_GUARDS = {
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ['ALL'] },
} as const;

export const image = (component: string): string => `telltale-${component}:${VERSION}`;

export const resources = (cpu: string, memory: string, cpuMax: string, memoryMax: string) => ({
  requests: { cpu, memory, 'ephemeral-storage': '64Mi' },
  limits: { cpu: cpuMax, memory: memoryMax, 'ephemeral-storage': '512Mi' },
});

const ofSettings = (name: string, key: string) => ({
  name,
  valueFrom: { configMapKeyRef: { name: SETTINGS, key } },
});

/** The store over TLS as one of its accounts; the password comes from a file. */
export const storeEnvironment = (account: string) => [
  ofSettings('STORE_ADDRESS', 'store-address'),
  ofSettings('TELLTALE_STORE_REPLICAS', 'store-replicas'),
  { name: 'TELLTALE_STORE', value: `https://telltale_${account}@$(STORE_ADDRESS)` },
  { name: 'TELLTALE_STORE_PASSWORD_FILE', value: `${MOUNTED}/store/password` },
  { name: 'TELLTALE_STORE_CA_FILE', value: `${MOUNTED}/ca/ca.crt` },
];

/** The brokers over TLS as one of their accounts. */
export const kafkaEnvironment = (account: string) => [
  ofSettings('KAFKA_BROKERS', 'kafka-brokers'),
  { name: 'KAFKA_CA_FILE', value: `${MOUNTED}/ca/ca.crt` },
  { name: 'KAFKA_SASL_MECHANISM', value: 'scram-sha-512' },
  { name: 'KAFKA_SASL_USERNAME', value: `telltale-${account}` },
  { name: 'KAFKA_SASL_PASSWORD_FILE', value: `${MOUNTED}/kafka/password` },
];

const healthEnvironment = { name: 'TELLTALE_HEALTH', value: `0.0.0.0:${HEALTH_PORT}` };

interface Mount {
  readonly name: string;
  readonly at: string;
  readonly volume: Readonly<Record<string, unknown>>;
}

/** A secret's keys as files that their group alone may read. */
export const secret = (name: string, secretName: string): Mount => ({
  name,
  at: `${MOUNTED}/${name}`,
  volume: { secret: { secretName, defaultMode: 0o440 } },
});

export const authority: Mount = {
  name: 'ca',
  at: `${MOUNTED}/ca`,
  volume: { configMap: { name: CA } },
};

/** A folder that lives as long as the pod. */
export const scratch = (name: string, at: string, sizeLimit: string): Mount => ({
  name,
  at,
  volume: { emptyDir: { sizeLimit } },
});

const temporary = scratch('tmp', '/tmp', '64Mi');

export interface Service {
  readonly component: string;
  readonly args: readonly string[];
  readonly environment: readonly object[];
  readonly mounts: readonly Mount[];
  readonly resources: ReturnType<typeof resources>;
  /** By name; the health server's is there besides. */
  readonly ports?: Readonly<Record<string, number>>;
  /** A claim of a StatefulSet, by name and place. */
  readonly claim?: { readonly name: string; readonly at: string };
  /** How long it may take to end: it finishes what is at hand. */
  readonly graceSeconds: number;
}

const probe = (path: string, periodSeconds: number, failureThreshold: number) => ({
  httpGet: { path, port: 'health' },
  periodSeconds,
  timeoutSeconds: 5,
  failureThreshold,
});

function containerOf(service: Service) {
  const { component, args, environment, claim, ports = {} } = service;
  const mounts = [...service.mounts, temporary].map(({ name, at, volume }) => ({
    name,
    mountPath: at,
    ...('emptyDir' in volume ? {} : { readOnly: true }),
  }));
  return {
    name: component,
    image: image(component),
    args,
    env: [...environment, healthEnvironment],
    ports: Object.entries({ ...ports, health: HEALTH_PORT }).map(([name, containerPort]) => ({
      name,
      containerPort,
    })),
    // A store that is away is no reason to start anew: liveness asks the process alone.
    startupProbe: probe('/healthz', 2, 60),
    livenessProbe: probe('/healthz', 10, 6),
    readinessProbe: probe('/readyz', 10, 3),
    resources: service.resources,
    securityContext: CONTAINER_GUARDS,
    volumeMounts: claim ? [...mounts, { name: claim.name, mountPath: claim.at }] : mounts,
  };
}

/** The pod of a service: it has no right to ask the cluster's API, and keeps apart from its like. */
export function podOf(service: Service) {
  const { component, graceSeconds } = service;
  return {
    metadata: { labels: labels(component) },
    spec: {
      serviceAccountName: 'telltale',
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      terminationGracePeriodSeconds: graceSeconds,
      securityContext: POD_GUARDS,
      topologySpreadConstraints: [
        {
          maxSkew: 1,
          topologyKey: 'topology.kubernetes.io/zone',
          whenUnsatisfiable: 'ScheduleAnyway',
          labelSelector: { matchLabels: labels(component) },
        },
      ],
      containers: [containerOf(service)],
      volumes: [...service.mounts, temporary].map(({ name, volume }) => ({ name, ...volume })),
    },
  };
}
