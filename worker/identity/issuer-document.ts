/**
 * Fetches one JSON document from a token issuer. https, or http on loopback for a local issuer; no redirects, a size
 * cap, a deadline (GW-04). Answers what went wrong as a sentence for the audit; throws nothing.
 */
import { ISSUER_TIMEOUT_MS, MAX_ISSUER_DOCUMENT_BYTES } from "../../protocol/limits.ts";
import { err, ok, type Result } from "../../protocol/result.ts";

export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

/** `allowLoopback`: http is taken on loopback; false where an https issuer names the address. */
export function checkIssuerUrl(text: string, allowLoopback: boolean): Result<URL, string> {
  if (!URL.canParse(text)) return err("not a URL");
  const url = new URL(text);
  if (url.username !== "" || url.password !== "") return err("a URL with credentials");
  if (url.protocol === "https:") return ok(url);
  if (url.protocol === "http:" && allowLoopback && isLoopback(url.hostname)) return ok(url);
  return err("neither https nor a local issuer's http on loopback");
}

const isLoopback = (host: string): boolean => host === "localhost" || host === "[::1]" || /^127(?:\.\d{1,3}){3}$/.test(host);

export async function fetchIssuerDocument(fetch: Fetch, address: string, allowLoopback: boolean): Promise<Result<unknown, string>> {
  const url = checkIssuerUrl(address, allowLoopback);
  if (!url.ok) return url;
  try {
    const response = await fetch(url.value.href, {
      redirect: "manual",
      cache: "no-store",
      headers: { accept: "application/json" },
      signal: AbortSignal.timeout(ISSUER_TIMEOUT_MS),
    });
    if (response.status !== 200) {
      await response.body?.cancel();
      return err(
        response.status >= 300 && response.status < 400
          ? `a redirect (${response.status}), which is not followed`
          : `status ${response.status}`,
      );
    }
    const text = await readCapped(response, MAX_ISSUER_DOCUMENT_BYTES);
    return text.ok ? ok(JSON.parse(text.value)) : text;
  } catch (failure) {
    return err(failure instanceof SyntaxError ? "not JSON" : `fetch failed: ${failure instanceof Error ? failure.message : "unknown"}`);
  }
}

/** Counts what arrives; a Content-Length is the peer's word and only saves time. */
async function readCapped(response: Response, limit: number): Promise<Result<string, string>> {
  const tooLarge = err(`larger than ${limit} bytes`);
  if (response.body === null) return err("no body");
  if (Number(response.headers.get("content-length") ?? 0) > limit) {
    await response.body.cancel();
    return tooLarge;
  }
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false });
  let text = "";
  let bytes = 0;
  for await (const chunk of response.body as ReadableStream<Uint8Array>) {
    bytes += chunk.byteLength;
    if (bytes > limit) return tooLarge;
    text += decoder.decode(chunk, { stream: true });
  }
  return ok(text + decoder.decode());
}
