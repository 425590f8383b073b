/**
 * Buildkite. Pins: organization_id (one issuer serves every organisation), pipeline_id. Both are optional claims that
 * the job must ask for: `buildkite-agent oidc request-token --claim organization_id,pipeline_id`.
 *
 * A token without organization_id is refused even where a match does not name it: slugs can be renamed and re-used.
 */
import { presentText, type ProviderAdapter } from "./adapter.ts";

export const buildkite: ProviderAdapter = {
  provider: "buildkite",
  required: ["organization_id", "job_id"],
  read: (claims) => {
    const organisation = presentText(claims, "organization_slug");
    const pipeline = presentText(claims, "pipeline_slug");
    const build = presentText(claims, "build_number");
    const job = presentText(claims, "job_id");
    const repository = [organisation, pipeline].filter((part) => part !== undefined).join("/") || undefined;
    const tag = presentText(claims, "build_tag");
    const branch = presentText(claims, "build_branch");
    return {
      repository,
      repository_id: presentText(claims, "pipeline_id"),
      owner_id: presentText(claims, "organization_id"),
      // Buildkite sends bare names; a tag build also carries a branch, and the tag is what it builds.
      ref: tag !== undefined ? `refs/tags/${tag}` : branch !== undefined ? `refs/heads/${branch}` : undefined,
      sha: presentText(claims, "build_commit"),
      event: presentText(claims, "build_source"),
      workflow: presentText(claims, "step_key"),
      runner_environment: presentText(claims, "runner_environment"),
      run_id: build,
      job_id: job,
      pipeline: repository,
      run_url:
        organisation !== undefined && pipeline !== undefined && build !== undefined
          ? `https://buildkite.com/${organisation}/${pipeline}/builds/${build}${job === undefined ? "" : `#${job}`}`
          : undefined,
    };
  },
  guards: [],
};
