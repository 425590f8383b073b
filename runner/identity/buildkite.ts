/** Buildkite: `buildkite-agent oidc request-token`. */
import { tokenFrom } from "./command.ts";
import type { SourceKind } from "./types.ts";

export const buildkite: SourceKind = {
  looksFor: "BUILDKITE=true, with buildkite-agent on PATH",
  find: (env) =>
    env["BUILDKITE"] !== "true"
      ? undefined
      : {
          name: "Buildkite",
          mintable: true,
          fetch: (audience) => tokenFrom("buildkite-agent", ["oidc", "request-token", "--audience", audience, "--lifetime", "300"]),
        },
};
