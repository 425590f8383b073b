/**
 * Where a job's OIDC token comes from: found by the environment, in the order of the table. A token is never printed and
 * never put into a process list; what is shown of a source is its name.
 */
import { buildkite } from "./buildkite.ts";
import { circleci } from "./circleci.ts";
import { explicitFile, explicitToken } from "./explicit.ts";
import { github } from "./github.ts";
import { kubernetes } from "./kubernetes.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

export interface TokenSource {
  /** For messages: `GitHub Actions`, `SALLYPORT_TOKEN`, … */
  readonly name: string;
  /** Whether a new token can be had at any time. One that cannot is exchanged once and its credential kept for the job. */
  readonly mintable: boolean;
  /** @throws TokenUnavailable */
  fetch(audience: string): Promise<string>;
}

/** A message for the person, with what to do; no token in it. */
export class TokenUnavailable extends Error {
  override name = "TokenUnavailable";
}

export interface SourceKind {
  /** What it looks for, for `doctor` and for the message when none is found. */
  readonly looksFor: string;
  /** Undefined when this environment is not its own. @throws TokenUnavailable when it is, and something is missing. */
  find(env: Environment): TokenSource | undefined;
}

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
