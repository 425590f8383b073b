/**
 * CircleCI: one issuer per organisation, claims in the namespace `oidc.circleci.com/`. Pins: project-id,
 * vcs-origin, vcs-ref.
 *
 * A job that was re-run with SSH has a human in its shell: refused, and no match lifts that. A token that does not say
 * is refused too.
 */
import { presentText, type ProviderAdapter } from "./adapter.ts";

const NAMESPACE = "oidc.circleci.com/";

export const circleci: ProviderAdapter = {
  provider: "circleci",
  required: [`${NAMESPACE}project-id`],
  read: (claims) => {
    const own = (name: string): string | undefined => presentText(claims, NAMESPACE + name);
    const origin = own("vcs-origin");
    return {
      repository: origin,
      repository_id: own("project-id"),
      owner_id: own("org-id") ?? organisationOf(presentText(claims, "iss")),
      ref: own("vcs-ref"),
      workflow: own("pipeline-definition-id"),
      run_id: own("pipeline-id") ?? own("workflow-id"),
      job_id: own("job-id"),
      pipeline: origin,
    };
  },
  guards: [
    {
      rule: "circleci-ssh-rerun",
      refuses: (claims) =>
        presentText(claims, `${NAMESPACE}ssh-rerun`) === "false"
          ? null
          : "the job was re-run with SSH, or the token does not deny it: a human may be inside",
    },
  ],
};

/** Older tokens carry the organisation in the issuer alone: `https://oidc.circleci.com/org/<organisation id>`. */
const organisationOf = (issuer: string | undefined): string | undefined => issuer?.split("/org/")[1] || undefined;
