/** The manifests against Kubernetes' own schemas, and against rules that a cluster would not tell. */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { Ajv } from 'ajv';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { FOLDERS } from '../../../deploy/kubernetes/files.ts';
import type { Manifest } from '../../../deploy/kubernetes/pods.ts';
import { WORKERS_MAX } from '../../../deploy/kubernetes/scale.ts';
import { PARTITIONS } from '../../../deploy/kubernetes/services.ts';

const root = path.resolve(import.meta.dirname, '../../..');
const here = path.join(root, 'deploy/kubernetes');
const schemas = JSON.parse(
  fs.readFileSync(path.join(root, 'test/fixtures/kubernetes/schemas.json'), 'utf8'),
) as { kinds: Record<string, object>; definitions: object };
const readme = fs.readFileSync(path.join(here, 'README.md'), 'utf8');
const version = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8')).version;

interface Container {
  readonly name: string;
  readonly image: string;
  readonly args?: readonly string[];
  readonly env?: readonly { name: string; value?: string; valueFrom?: object }[];
  readonly resources: { readonly limits: object; readonly requests: object };
  readonly securityContext: object;
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[];
  readonly [key: string]: unknown;
}
interface PodSpec {
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly volumes: readonly { readonly name: string }[];
  readonly automountServiceAccountToken: boolean;
  readonly securityContext: object;
}
interface Workload {
  readonly manifest: Manifest;
  readonly labels: Readonly<Record<string, string>>;
  readonly pod: PodSpec;
}

const manifestsOf = (folder: string) => Object.values(FOLDERS[folder]?.files ?? {}).flat();
/** What is applied together: a component stands on the base. */
const folders = Object.keys(FOLDERS).map((name) => {
  const under = name.startsWith('components/') ? manifestsOf('base') : [];
  return [name, [...under, ...manifestsOf(name)]] as const;
});
const all = Object.keys(FOLDERS).flatMap(manifestsOf);

function workloadOf(manifest: Manifest): Workload[] {
  type Spec = { template?: { metadata: { labels: never }; spec: PodSpec } };
  const spec = manifest.spec as Spec & { jobTemplate?: { spec: Spec } };
  if (manifest.kind === 'Pod')
    return [{ manifest, labels: manifest.metadata.labels as never, pod: manifest.spec as never }];
  const { template } = spec?.jobTemplate?.spec ?? spec ?? {};
  return template === undefined
    ? []
    : [{ manifest, labels: template.metadata.labels, pod: template.spec }];
}
const workloads = all.flatMap(workloadOf);

/** All names that a key of this name gives, wherever it stands. */
function named(value: unknown, key: string, field: string): string[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) =>
    name === key ? [(inner as Record<string, string>)[field] ?? ''] : named(inner, key, field),
  );
}

interface Selector {
  readonly matchLabels?: Readonly<Record<string, string>>;
  readonly matchExpressions?: readonly { readonly key: string; readonly values: string[] }[];
}
const selects = (
  { matchLabels = {}, matchExpressions = [] }: Selector,
  labels: Workload['labels'],
) =>
  Object.entries(matchLabels).every(([key, value]) => labels[key] === value) &&
  matchExpressions.every(({ key, values }) => values.includes(labels[key] ?? ''));

const ajv = new Ajv({ strict: false, allErrors: true });
ajv.addSchema({ $id: 'all', definitions: schemas.definitions });

function faultsOf(manifests: readonly Manifest[]): string[] {
  return manifests.flatMap((manifest) => {
    const kind = `${manifest.apiVersion}/${manifest.kind}`;
    const schema = schemas.kinds[kind] as { $ref: string } | undefined;
    if (schema === undefined) return [`${kind}: no schema`];
    const validate = ajv.getSchema(`all${schema.$ref}`);
    if (validate === undefined) return [`${kind}: no definition`];
    if (validate(manifest)) return [];
    return (validate.errors ?? []).map(
      ({ instancePath, message, params }) =>
        `${kind} ${manifest.metadata.name} ${instancePath}: ${message} ${JSON.stringify(params)}`,
    );
  });
}

describe('the Kubernetes manifests', () => {
  it('are valid by the schemas of Kubernetes and KEDA, with no field that these do not know', () => {
    expect(faultsOf(all)).toEqual([]);
    const [job] = all.filter(({ kind }) => kind === 'Job');
    const wrong = { ...(job as Manifest), spec: { ...(job?.spec as object), backofLimit: 1 } };
    expect(faultsOf([wrong]).join()).toMatch(/backofLimit/);
    const [cron] = all.filter(({ kind }) => kind === 'CronJob');
    const late = { ...(cron as Manifest), spec: { ...(cron?.spec as object), timezone: 'UTC' } };
    expect(faultsOf([late]).join()).toMatch(/timezone/);
  });

  it('guard every container, bound it, and pin its image', () => {
    for (const { manifest, pod } of workloads) {
      expect(pod.automountServiceAccountToken, manifest.metadata.name).toBe(false);
      expect(pod.securityContext).toMatchObject({
        runAsNonRoot: true,
        seccompProfile: { type: 'RuntimeDefault' },
      });
      for (const one of [...(pod.initContainers ?? []), ...pod.containers]) {
        const where = `${manifest.metadata.name}/${one.name}`;
        expect(one.securityContext, where).toEqual({
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ['ALL'] },
        });
        for (const bound of ['cpu', 'memory', 'ephemeral-storage']) {
          expect(one.resources.limits, where).toHaveProperty(bound);
          expect(one.resources.requests, where).toHaveProperty(bound);
        }
        expect(one.image, where).toMatch(/^[a-z./-]+:\d+\.\d+\.\d+$|@sha256:[0-9a-f]{64}$/);
        if (one.image.startsWith('telltale-')) expect(one.image).toMatch(`:${version}`);
        const volumes = pod.volumes.map(({ name }) => name);
        const claims = named(manifest, 'metadata', 'name');
        for (const { name } of one.volumeMounts) expect([...volumes, ...claims]).toContain(name);
      }
    }
  });

  it('ask each service for its life and its readiness', () => {
    const services = workloads.filter(({ manifest }) =>
      /Deployment|StatefulSet/.test(manifest.kind),
    );
    expect(services).toHaveLength(5);
    for (const { pod } of services) {
      const [one] = pod.containers;
      expect(one).toMatchObject({
        startupProbe: { httpGet: { path: '/healthz', port: 'health' } },
        livenessProbe: { httpGet: { path: '/healthz', port: 'health' } },
        readinessProbe: { httpGet: { path: '/readyz', port: 'health' } },
      });
      expect(one?.env).toContainEqual({ name: 'TELLTALE_HEALTH', value: '0.0.0.0:9464' });
    }
  });

  it('name no secret or map of settings that is neither here nor told of', () => {
    for (const [folder, manifests] of folders) {
      const maps = manifests.filter(({ kind }) => kind === 'ConfigMap');
      const here = maps.map(({ metadata }) => metadata.name);
      const wanted = [
        ...named(manifests, 'secret', 'secretName'),
        ...named(manifests, 'configMap', 'name'),
        ...named(manifests, 'configMapKeyRef', 'name'),
      ];
      for (const name of wanted)
        expect(here.includes(name) || readme.includes(`\`${name}\``), `${folder}: ${name}`).toBe(
          true,
        );
      for (const { key, name } of manifests.flatMap((one) => settingsKeys(one)))
        if (here.includes(name))
          expect(maps.find(({ metadata }) => metadata.name === name)?.data).toHaveProperty(key);
    }
  });

  it('hold no secret themselves', () => {
    expect(all.filter(({ kind }) => kind === 'Secret')).toEqual([]);
    for (const { pod } of workloads)
      for (const { env = [] } of [...(pod.initContainers ?? []), ...pod.containers])
        for (const { name, value } of env)
          if (/PASSWORD|SECRET|TOKEN/.test(name)) expect(value).toMatch(/^\/run\/telltale\//);
  });

  it('deny all traffic first, and select pods with each policy', () => {
    for (const [folder, manifests] of folders) {
      const own = manifests.flatMap(workloadOf);
      if (own.length === 0) continue;
      const policies = manifests.filter(({ kind }) => kind === 'NetworkPolicy');
      const specs = policies.map(({ spec }) => spec as { podSelector: Selector });
      expect(specs, folder).toContainEqual({ podSelector: {}, policyTypes: ['Ingress', 'Egress'] });
      for (const [i, { podSelector }] of specs.entries())
        expect(
          own.some(({ labels }) => selects(podSelector, labels)),
          `${folder}: ${policies[i]?.metadata.name}`,
        ).toBe(true);
    }
  });

  it('select pods with each service, budget and scale', () => {
    for (const { kind, metadata, spec } of all) {
      const { selector, replicas, scaleTargetRef } = (spec ?? {}) as {
        selector?: Selector & Readonly<Record<string, string>>;
        replicas?: number;
        scaleTargetRef?: { name: string };
      };
      const by = kind === 'Service' ? { matchLabels: selector as never } : selector;
      if (by !== undefined)
        expect(
          workloads.some(({ labels }) => selects(by, labels)),
          metadata.name,
        ).toBe(true);
      if (scaleTargetRef !== undefined)
        expect(
          all.some((one) => one.kind === 'Deployment' && one.metadata.name === scaleTargetRef.name),
        ).toBe(true);
      if ((replicas ?? 1) > 1)
        expect(
          all.some(
            (one) => one.kind === 'PodDisruptionBudget' && one.metadata.name === metadata.name,
          ),
        ).toBe(true);
    }
    // A member of the group without a partition has nothing to do; the fleet's worker has one.
    expect(WORKERS_MAX).toBe(PARTITIONS - 1);
  });

  it('are put together by Kustomize', () => {
    let kustomize: (folder: string) => string;
    try {
      execFileSync('kubectl', ['version', '--client'], { stdio: 'ignore' });
      kustomize = (folder) =>
        execFileSync('kubectl', ['kustomize', path.join(here, folder)], { encoding: 'utf8' });
    } catch {
      console.warn('SKIPPED: kubectl is not there, so no overlay was built');
      return;
    }
    const built = parseAllDocuments(kustomize('overlays/example')).map((one) =>
      (one as { toJS(): Manifest }).toJS(),
    );
    expect(faultsOf(built)).toEqual([]);
    const job = built.find(({ kind }) => kind === 'Job');
    expect(JSON.stringify(job)).toContain('"--cluster=telltale"');
    for (const one of built.filter(({ kind }) => kind !== 'Namespace'))
      expect(one.metadata.namespace, one.metadata.name).toBe('telltale');
  });
});

/** Keys that are asked of a map of settings. */
function settingsKeys(value: unknown): { key: string; name: string }[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) =>
    name === 'configMapKeyRef' ? [inner as { key: string; name: string }] : settingsKeys(inner),
  );
}
