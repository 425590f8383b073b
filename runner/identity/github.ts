/** GitHub Actions: a token for any audience from the job's own endpoint, as often as needed. */
import { TokenUnavailable, type SourceKind } from "./types.ts";

const TIMEOUT_MS = 10_000;
const MAX_ANSWER = 64 * 1024;

export const github: SourceKind = {
  looksFor: "GitHub Actions' ACTIONS_ID_TOKEN_REQUEST_URL",
  find(env) {
    const address = env["ACTIONS_ID_TOKEN_REQUEST_URL"];
    const bearer = env["ACTIONS_ID_TOKEN_REQUEST_TOKEN"];
    if (address === undefined || bearer === undefined) {
      if (env["GITHUB_ACTIONS"] !== "true") return undefined;
      throw new TokenUnavailable(
        "this is a GitHub Actions job without an OIDC token: give the workflow or job `permissions: { id-token: write, contents: read }`",
      );
    }
    return { name: "GitHub Actions", mintable: true, fetch: (audience) => request(address, bearer, audience) };
  },
};

async function request(address: string, bearer: string, audience: string): Promise<string> {
  const url = new URL(address);
  url.searchParams.set("audience", audience);
  let response: Response;
  try {
    response = await fetch(url, {
      headers: { authorization: `bearer ${bearer}` },
      redirect: "error",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch {
    throw new TokenUnavailable("GitHub's token endpoint could not be reached: try again");
  }
  if (!response.ok) throw new TokenUnavailable(`GitHub's token endpoint answered ${response.status}`);
  const text = await response.text();
  let value: unknown;
  try {
    value = text.length > MAX_ANSWER ? undefined : (JSON.parse(text) as { value?: unknown }).value;
  } catch {
    value = undefined;
  }
  if (typeof value !== "string" || value === "") throw new TokenUnavailable("GitHub's token endpoint answered without a token");
  return value;
}
