/**
 * What the linter and the bundle's readers know of each token provider (IDENTITY.md, section 1): its public issuer,
 * the claims that are immutable and so may carry an identity, the ones that pin a ref, and how old a token may be.
 * Verifying tokens is worker/identity's work.
 *
 * A claim inside another is named by a pointer: `/kubernetes.io/serviceaccount/uid`.
 */
import type { Workload } from "../protocol/workload.ts";

export type Provider = Workload["provider"];

export interface ProviderEntry {
  /** The issuer that `provider:` alone stands for. */
  readonly issuer?: string;
  /** One of these sets of claims must be in a match, unless it says allow_weak_match. */
  readonly immutable: readonly (readonly string[])[];
  /** Claims that say which ref runs. */
  readonly ref: readonly string[];
  /** The claim that says what started the run, and its values that are a stranger's doing. */
  readonly event?: { readonly claim: string; readonly outsiders: readonly string[] };
  /** Tokens live as long as the job and cannot be minted again, so their age limit may be up to a day. */
  readonly longLived: boolean;
}

export const PROVIDERS: Readonly<Record<Provider, ProviderEntry>> = {
  github: {
    issuer: "https://token.actions.githubusercontent.com",
    immutable: [["repository_id"]],
    ref: ["ref", "job_workflow_ref"],
    event: { claim: "event_name", outsiders: ["pull_request", "pull_request_target"] },
    longLived: false,
  },
  gitlab: {
    issuer: "https://gitlab.com",
    // Not project_id: in a fork's merge request it names the fork's project.
    immutable: [["job_project_id"]],
    ref: ["ref", "ref_protected"],
    event: { claim: "pipeline_source", outsiders: ["merge_request_event", "external_pull_request_event"] },
    longLived: true,
  },
  buildkite: {
    issuer: "https://agent.buildkite.com",
    immutable: [["organization_id", "pipeline_id"]],
    ref: ["build_branch", "build_tag"],
    longLived: false,
  },
  circleci: {
    immutable: [["oidc.circleci.com/project-id"]],
    ref: ["oidc.circleci.com/vcs-ref"],
    longLived: true,
  },
  kubernetes: {
    immutable: [["/kubernetes.io/serviceaccount/uid"]],
    ref: [],
    longLived: true,
  },
  // No table can know a private issuer's claims: an identity needs one besides `sub` and the display names below.
  oidc: { immutable: [], ref: [], longLived: false },
};

export const PROVIDER_NAMES = Object.keys(PROVIDERS) as [Provider, ...Provider[]];

/** Claims that their owner can change, or that a provider hands to somebody else later. */
export const DISPLAY_CLAIMS: ReadonlySet<string> = new Set([
  "email",
  "email_verified",
  "family_name",
  "given_name",
  "name",
  "nickname",
  "picture",
  "preferred_username",
  "profile",
  "unique_name",
  "upn",
]);
