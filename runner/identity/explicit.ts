/** SALLYPORT_TOKEN, SALLYPORT_TOKEN_FILE: a token that the pipeline hands over itself (GitLab's id_tokens, Bitbucket, Jenkins, anything). */
import { readFile } from "node:fs/promises";
import { TokenUnavailable, type SourceKind } from "./types.ts";

/** A JWT in compact form; RFC 7519 section 3. Only its shape: the gateway verifies it. */
const COMPACT = /^[\w-]+\.[\w-]+\.[\w-]+$/;

function checked(text: string, where: string): string {
  const token = text.trim();
  if (COMPACT.test(token)) return token;
  throw new TokenUnavailable(`${where} does not hold a JWT: expected three base64url parts joined by dots, got ${token.length} characters`);
}

export const explicitToken: SourceKind = {
  looksFor: "SALLYPORT_TOKEN, the token itself",
  find(env) {
    const token = env["SALLYPORT_TOKEN"];
    if (token === undefined || token === "") return undefined;
    return { name: "SALLYPORT_TOKEN", mintable: false, fetch: async () => checked(token, "SALLYPORT_TOKEN") };
  },
};

export const explicitFile: SourceKind = {
  looksFor: "SALLYPORT_TOKEN_FILE, a file that holds it and may be renewed",
  find(env) {
    const path = env["SALLYPORT_TOKEN_FILE"];
    if (path === undefined || path === "") return undefined;
    return { name: "SALLYPORT_TOKEN_FILE", mintable: false, fetch: () => readTokenFile(path, "SALLYPORT_TOKEN_FILE") };
  },
};

/** Read at each use: projected tokens are renewed in place. @throws TokenUnavailable */
export async function readTokenFile(path: string, what: string): Promise<string> {
  try {
    return checked(await readFile(path, "utf8"), `${what} (${path})`);
  } catch (error) {
    if (error instanceof TokenUnavailable) throw error;
    throw new TokenUnavailable(`${what}: ${path} cannot be read (${(error as NodeJS.ErrnoException).code ?? "unknown error"})`);
  }
}
