/** CircleCI: `circleci run oidc get` for our audience. */
import { tokenFrom } from "./command.ts";
import type { SourceKind } from "./types.ts";

export const circleci: SourceKind = {
  looksFor: "CIRCLECI=true, with circleci on PATH",
  find: (env) =>
    env["CIRCLECI"] !== "true"
      ? undefined
      : {
          name: "CircleCI",
          mintable: true,
          fetch: (audience) => tokenFrom("circleci", ["run", "oidc", "get", "--claims", JSON.stringify({ aud: audience })]),
        },
};
