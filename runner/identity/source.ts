/**
 * Where a job's OIDC token comes from: found by the environment, in the order of the table. A token is never printed and
 * never put into a process list; what is shown of a source is its name.
 */
import { buildkite } from "./buildkite.ts";
import { circleci } from "./circleci.ts";
import { explicitFile, explicitToken } from "./explicit.ts";
import { github } from "./github.ts";
import { kubernetes } from "./kubernetes.ts";
import { TokenUnavailable, type Environment, type SourceKind, type TokenSource } from "./types.ts";

export const SOURCES: readonly SourceKind[] = [explicitToken, explicitFile, github, buildkite, circleci, kubernetes];

/** @throws TokenUnavailable */
export function findTokenSource(env: Environment): TokenSource {
  for (const kind of SOURCES) {
    const source = kind.find(env);
    if (source !== undefined) return source;
  }
  throw new TokenUnavailable(
    `no token source found. Looked for:\n${SOURCES.map((kind) => `  - ${kind.looksFor}`).join("\n")}\nIn GitLab, Bitbucket and Jenkins, put the job's OIDC token into SALLYPORT_TOKEN (docs/identity.md).`,
  );
}
