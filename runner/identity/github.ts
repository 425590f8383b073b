/** GitHub Actions: a token for any audience from the job's own endpoint, as often as needed. */
import { setTimeout as pause } from "node:timers/promises";
import { httpRequest, type HttpAnswer } from "../http.ts";
import { TokenUnavailable, type SourceKind } from "./types.ts";

const TIMEOUT_MS = 10_000;
const MAX_ANSWER = 64 * 1024;
/** Before the second and the third try: the endpoint has bad moments. */
const PAUSES_MS = [250, 1_000];

export const github: SourceKind = {
  looksFor: "GitHub Actions' ACTIONS_ID_TOKEN_REQUEST_URL",
  find(env) {
    const address = env["ACTIONS_ID_TOKEN_REQUEST_URL"] ?? "";
    const bearer = env["ACTIONS_ID_TOKEN_REQUEST_TOKEN"] ?? "";
    if (address === "" || bearer === "") {
      if (env["GITHUB_ACTIONS"] !== "true") return undefined;
      throw new TokenUnavailable(
        "this is a GitHub Actions job without an OIDC token: give the workflow or job `permissions: { id-token: write, contents: read }`",
      );
    }
    return { name: "GitHub Actions", mintable: true, fetch: (audience) => request(address, bearer, audience) };
  },
};

async function request(address: string, bearer: string, audience: string): Promise<string> {
  if (!URL.canParse(address)) throw new TokenUnavailable("ACTIONS_ID_TOKEN_REQUEST_URL is not an address");
  const url = new URL(address);
  url.searchParams.set("audience", audience);
  for (let tries = 0; ; tries += 1) {
    const answer = await once(url, bearer);
    if (typeof answer === "string") return answer;
    const wait = answer.transient ? PAUSES_MS[tries] : undefined;
    if (wait === undefined) throw new TokenUnavailable(answer.failure);
    await pause(wait);
  }
}

async function once(url: URL, bearer: string): Promise<string | { readonly failure: string; readonly transient: boolean }> {
  let answer: HttpAnswer;
  let text: string;
  try {
    answer = await httpRequest(url, { headers: { authorization: `bearer ${bearer}` }, timeoutMs: TIMEOUT_MS });
    text = await answer.text();
  } catch {
    return { failure: "GitHub's token endpoint could not be reached: try again", transient: true };
  }
  const { ok, status } = answer;
  if (!ok) return { failure: `GitHub's token endpoint answered ${status}`, transient: status === 429 || status >= 500 };
  let value: unknown;
  try {
    value = text.length > MAX_ANSWER ? undefined : (JSON.parse(text) as { value?: unknown }).value;
  } catch {
    value = undefined;
  }
  if (typeof value === "string" && value !== "") return value;
  return { failure: "GitHub's token endpoint answered without a token", transient: false };
}
