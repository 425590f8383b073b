/**
 * GitHub Actions (github.com, GHES and ghe.com: the issuer is the bundle's). Pins: repository_id,
 * repository_owner_id, environment, ref, event_name, job_workflow_ref.
 *
 * `sub` is never parsed: it is a template that organisations customise, and its format changed in 2026.
 */
import { outsiderGuard, presentText, type ProviderAdapter } from "./adapter.ts";

/** An enterprise may have its slug appended as a path. */
const HOSTED_ISSUER = "https://token.actions.githubusercontent.com";

export const github: ProviderAdapter = {
  provider: "github",
  required: ["repository_id", "repository_owner_id", "event_name"],
  read: (claims) => {
    const repository = presentText(claims, "repository");
    const workflow = presentText(claims, "workflow");
    const run = presentText(claims, "run_id");
    const attempt = presentText(claims, "run_attempt");
    return {
      repository,
      repository_id: presentText(claims, "repository_id"),
      owner_id: presentText(claims, "repository_owner_id"),
      ref: presentText(claims, "ref"),
      ref_protected: presentText(claims, "ref_protected"),
      sha: presentText(claims, "sha"),
      event: presentText(claims, "event_name"),
      environment: presentText(claims, "environment"),
      // The workflow file that defines the job; of a reusable workflow it is the called one, which is what runs.
      workflow: presentText(claims, "job_workflow_ref") ?? presentText(claims, "workflow_ref"),
      runner_environment: presentText(claims, "runner_environment"),
      run_id: run,
      run_attempt: attempt,
      job_id: presentText(claims, "check_run_id"),
      pipeline: [repository, workflow].filter((part) => part !== undefined).join(" / ") || undefined,
      actor: presentText(claims, "actor"),
      actor_id: presentText(claims, "actor_id"),
      run_url: runUrl(presentText(claims, "iss"), repository, run, attempt),
    };
  },
  guards: outsiderGuard("github"),
};

/** Only github.com's pages are where the issuer says nothing of them; elsewhere the host is not in the token. */
function runUrl(
  issuer: string | undefined,
  repository: string | undefined,
  run: string | undefined,
  attempt: string | undefined,
): string | undefined {
  if (repository === undefined || run === undefined || issuer === undefined) return undefined;
  if (issuer !== HOSTED_ISSUER && !issuer.startsWith(`${HOSTED_ISSUER}/`)) return undefined;
  return `https://github.com/${repository}/actions/runs/${run}${attempt === undefined ? "" : `/attempts/${attempt}`}`;
}
