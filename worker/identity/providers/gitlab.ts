/**
 * GitLab CI, hosted and self-managed. Pins: job_project_id (or project_id where the instance does not send it),
 * namespace_id, ref_protected, environment.
 *
 * In a fork's merge-request pipeline that runs inside the target project, `project_*` and `namespace_*` name the fork
 * and `job_project_*` the target: a match on the job's project alone would hold there, so the guard compares the two.
 */
import { outsiderGuard, presentText, type ProviderAdapter } from "./adapter.ts";

export const gitlab: ProviderAdapter = {
  provider: "gitlab",
  required: ["project_id", "namespace_id"],
  read: (claims) => {
    const repository = presentText(claims, "job_project_path") ?? presentText(claims, "project_path");
    const pipeline = presentText(claims, "pipeline_id");
    const issuer = presentText(claims, "iss");
    return {
      repository,
      repository_id: presentText(claims, "job_project_id") ?? presentText(claims, "project_id"),
      owner_id: presentText(claims, "job_namespace_id") ?? presentText(claims, "namespace_id"),
      ref: presentText(claims, "ref_path") ?? presentText(claims, "ref"),
      ref_protected: presentText(claims, "ref_protected"),
      sha: presentText(claims, "sha"),
      event: presentText(claims, "pipeline_source"),
      environment: presentText(claims, "environment"),
      workflow: presentText(claims, "ci_config_ref_uri"),
      runner_environment: presentText(claims, "runner_environment"),
      run_id: pipeline,
      job_id: presentText(claims, "job_id"),
      pipeline: repository,
      actor: presentText(claims, "user_login"),
      actor_id: presentText(claims, "user_id"),
      run_url:
        issuer !== undefined && repository !== undefined && pipeline !== undefined
          ? `${issuer.replace(/\/$/, "")}/${repository}/-/pipelines/${pipeline}`
          : undefined,
    };
  },
  guards: [
    ...outsiderGuard("gitlab"),
    {
      rule: "gitlab-fork",
      lift: "project_id",
      refuses: (claims) => {
        const job = presentText(claims, "job_project_id");
        const source = presentText(claims, "project_id");
        return job !== undefined && job !== source
          ? `a merge request from project ${source ?? "?"} runs in project ${job}: its code is a fork's`
          : null;
      },
    },
  ],
};
