/**
 * Kubernetes service accounts (projected `serviceAccountToken` with our audience). The useful claims are nested, so
 * matches use pointers: `/kubernetes.io/serviceaccount/uid` (immutable), `/kubernetes.io/namespace`.
 *
 * Legacy tokens from Secrets have no audience, no expiry and flat claims: they fail the required claim here, as
 * they fail the audience before.
 */
import { presentText, resolveClaim, type ProviderAdapter } from "./adapter.ts";

const ACCOUNT_UID = "/kubernetes.io/serviceaccount/uid";
const NAMESPACE = "/kubernetes.io/namespace";

export const kubernetes: ProviderAdapter = {
  provider: "kubernetes",
  required: [ACCOUNT_UID, NAMESPACE],
  read: (claims) => {
    const namespace = resolveClaim(claims, NAMESPACE);
    const account = resolveClaim(claims, "/kubernetes.io/serviceaccount/name");
    return {
      repository: [namespace, account].filter((part) => part !== undefined).join("/") || undefined,
      repository_id: resolveClaim(claims, ACCOUNT_UID),
      owner_id: namespace,
      environment: undefined,
      workflow: account,
      runner_environment: resolveClaim(claims, "/kubernetes.io/node/name"),
      run_id: resolveClaim(claims, "/kubernetes.io/pod/uid"),
      job_id: resolveClaim(claims, "/kubernetes.io/pod/name"),
      pipeline: [namespace, account].filter((part) => part !== undefined).join("/") || undefined,
      actor: presentText(claims, "sub"),
      actor_id: resolveClaim(claims, ACCOUNT_UID),
    };
  },
  guards: [],
};
