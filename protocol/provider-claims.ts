/**
 * What a provider's token looks like: for each provider its usual issuer and the claim set of an ordinary job (a push
 * to a protected default branch that deploys to `production`), in the provider's own names and types.
 * The local issuer signs tokens of these shapes, and the adapters in worker/identity/providers/ are tested on them.
 *
 * Guarantees nothing about a real token: verification never reads this file. The registered claims that the
 * issuer sets when it signs (iss, aud, iat, nbf, exp, jti) are not in it.
 */
import type { Workload } from "./workload.ts";

export type Provider = Workload["provider"];
export type Claims = Readonly<Record<string, unknown>>;

interface ProviderShape {
  /** The hosted service's issuer; self-hosted instances and CircleCI's organisations have their own. */
  readonly issuer: string;
  readonly claims: Claims;
}

const SHA = "3f2a9d1c5b7e4f60a8c1d2e3f4a5b6c7d8e9f0a1";
const CIRCLE_ORG = "8f0c7d3e-5a41-4d2b-9f6e-1b2c3d4e5f60";
const CIRCLE_PROJECT = "2c1f4b6a-7d8e-4f90-a1b2-c3d4e5f60718";

const SHAPES: Readonly<Record<Provider, ProviderShape>> = {
  github: {
    issuer: "https://token.actions.githubusercontent.com",
    claims: {
      sub: "repo:acme@4242/shop@7070:environment:production",
      actor: "mira",
      actor_id: "1001",
      base_ref: "",
      check_run_id: "51515151515",
      environment: "production",
      environment_node_id: "EN_kwDOAB12cd4AbCdE",
      event_name: "push",
      head_ref: "",
      job_workflow_ref: "acme/shop/.github/workflows/deploy.yml@refs/heads/main",
      job_workflow_sha: SHA,
      ref: "refs/heads/main",
      ref_protected: "true",
      ref_type: "branch",
      repository: "acme/shop",
      repository_id: "7070",
      repository_owner: "acme",
      repository_owner_id: "4242",
      repository_visibility: "private",
      run_attempt: "1",
      run_id: "9090909090",
      run_number: "17",
      runner_environment: "github-hosted",
      sha: SHA,
      workflow: "deploy",
      workflow_ref: "acme/shop/.github/workflows/deploy.yml@refs/heads/main",
      workflow_sha: SHA,
    },
  },
  gitlab: {
    issuer: "https://gitlab.com",
    claims: {
      sub: "project_path:acme/shop:ref_type:branch:ref:main",
      namespace_id: "4242",
      namespace_path: "acme",
      project_id: "7070",
      project_path: "acme/shop",
      project_visibility: "private",
      job_namespace_id: "4242",
      job_namespace_path: "acme",
      job_project_id: "7070",
      job_project_path: "acme/shop",
      user_id: "1001",
      user_login: "mira",
      user_email: "mira@example.com",
      user_access_level: "maintainer",
      pipeline_id: "80808080",
      pipeline_source: "push",
      job_id: "5151515151",
      ref: "main",
      ref_type: "branch",
      ref_path: "refs/heads/main",
      ref_protected: "true",
      environment: "production",
      environment_protected: "true",
      deployment_tier: "production",
      runner_id: 12270807,
      runner_environment: "gitlab-hosted",
      sha: SHA,
      ci_config_ref_uri: "gitlab.com/acme/shop//.gitlab-ci.yml@refs/heads/main",
      ci_config_sha: SHA,
    },
  },
  buildkite: {
    issuer: "https://agent.buildkite.com",
    claims: {
      sub: `organization:acme:pipeline:shop-deploy:ref:refs/heads/main:commit:${SHA}:step:deploy`,
      organization_slug: "acme",
      organization_id: "0184990a-4770-4c1b-9a5e-2f0c5b1d7e11",
      pipeline_slug: "shop-deploy",
      pipeline_id: "0184990a-4772-4d3c-8b6f-3a1d6c2e8f22",
      build_number: 42,
      build_branch: "main",
      build_tag: null,
      build_commit: SHA,
      build_source: "webhook",
      step_key: "deploy",
      job_id: "0184990a-477b-4fa8-9968-496074483cee",
      agent_id: "0184990a-4782-42b5-afc1-16715b10b8ff",
      runner_environment: "buildkite-hosted",
    },
  },
  circleci: {
    issuer: `https://oidc.circleci.com/org/${CIRCLE_ORG}`,
    claims: {
      sub: `org/${CIRCLE_ORG}/project/${CIRCLE_PROJECT}/user/5d6e7f80-9a0b-4c1d-8e2f-304152637485/vcs-origin/github.com/acme/shop/vcs-ref/refs/heads/main`,
      "oidc.circleci.com/org-id": CIRCLE_ORG,
      "oidc.circleci.com/project-id": CIRCLE_PROJECT,
      "oidc.circleci.com/context-ids": ["61728394-a5b6-4c7d-8e9f-0a1b2c3d4e5f"],
      "oidc.circleci.com/pipeline-id": "7b8c9d0e-1f20-4132-8435-465768798a9b",
      "oidc.circleci.com/pipeline-definition-id": "90a1b2c3-d4e5-4f60-8172-8394a5b6c7d8",
      "oidc.circleci.com/workflow-id": "a1b2c3d4-e5f6-4071-8283-94a5b6c7d8e9",
      "oidc.circleci.com/job-id": "b2c3d4e5-f607-4182-8394-a5b6c7d8e9f0",
      "oidc.circleci.com/vcs-origin": "github.com/acme/shop",
      "oidc.circleci.com/vcs-ref": "refs/heads/main",
      "oidc.circleci.com/ssh-rerun": false,
    },
  },
  kubernetes: {
    issuer: "https://kubernetes.default.svc.cluster.local",
    claims: {
      sub: "system:serviceaccount:shop:deployer",
      "kubernetes.io": {
        namespace: "shop",
        node: { name: "node-3", uid: "517eb86e-b863-451b-bf70-86cb61439a3a" },
        pod: { name: "deployer-6c9f", uid: "0d8b260e-ef0e-45fb-be8e-ff44f97722e8" },
        serviceaccount: { name: "deployer", uid: "e6a8680e-d103-4cce-80ea-03acbbeacf7d" },
      },
    },
  },
  oidc: {
    issuer: "https://issuer.example.com",
    claims: { sub: "00u1a2b3c4", client_id: "batch-reports" },
  },
};

/** The claims of an ordinary job of this provider, without what the issuer sets; a fresh copy each time. */
export const defaultClaims = (provider: Provider): Record<string, unknown> => structuredClone({ ...SHAPES[provider].claims });

/** The hosted service's `iss`. */
export const usualIssuer = (provider: Provider): string => SHAPES[provider].issuer;
