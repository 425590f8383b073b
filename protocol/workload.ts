/**
 * `Workload`: what a verified token says about the job that holds it, in one vocabulary for all providers
 * (after Sigstore Fulcio's claim table, IDENTITY.md section 1). Every field but the first three is optional:
 * a provider that does not assert something leaves it out, and a policy that asks for it does not match.
 * Values are the token's own strings, unescaped: escape at display (GW-13, GW-22).
 */
import * as z from "zod";

const text = z.string().max(2048);

export const Workload = z.object({
  /** Which adapter read the token. */
  provider: z.enum(["github", "gitlab", "buildkite", "circleci", "kubernetes", "oidc"]),
  issuer: text,
  subject: text,
  /** Human-readable name of the source repository or project, for display only. */
  repository: text.optional(),
  /** Immutable id of the repository or project. */
  repository_id: text.optional(),
  /** Immutable id of the organisation, namespace or owner. */
  owner_id: text.optional(),
  ref: text.optional(),
  /** "true" or "false", where the provider says whether the ref is protected. */
  ref_protected: text.optional(),
  sha: text.optional(),
  /** What started the run: push, pull_request, schedule, … */
  event: text.optional(),
  /** Deployment environment. */
  environment: text.optional(),
  /** Workflow or pipeline definition. */
  workflow: text.optional(),
  runner_environment: text.optional(),
  /** Searchable id of the pipeline run, of the attempt, of the job. */
  run_id: text.optional(),
  run_attempt: text.optional(),
  job_id: text.optional(),
  /** Display name of the pipeline: repository and workflow. */
  pipeline: text.optional(),
  /** The person or bot that triggered the run; may not approve its commands (GW-11). */
  actor: text.optional(),
  actor_id: text.optional(),
  run_url: text.optional(),
});
export type Workload = z.infer<typeof Workload>;
