/** A pod's projected service account token, mounted for our audience. */
import { existsSync } from "node:fs";
import { readTokenFile } from "./explicit.ts";
import type { SourceKind } from "./types.ts";

/** Where docs/identity.md says to mount it. The default service account token has another audience and is not used. */
export const PROJECTED_TOKEN = "/var/run/secrets/sallyport/token";

export const kubernetes: SourceKind = {
  looksFor: `a projected Kubernetes token at ${PROJECTED_TOKEN}`,
  find: (env) =>
    env["KUBERNETES_SERVICE_HOST"] === undefined || !existsSync(PROJECTED_TOKEN)
      ? undefined
      : { name: "Kubernetes service account", mintable: false, fetch: () => readTokenFile(PROJECTED_TOKEN, "the projected token") },
};
