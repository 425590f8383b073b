/**
 * One HTTP request on Node's own client, which a session's WebSocket needs anyway: `fetch` would load a second HTTP stack at
 * every start of the command, a third of the time until its first answer. Redirects are not followed: an answer of 3xx
 * is an answer. Certificates are verified, as everywhere.
 */
import type * as Http from "node:http";
import type { IncomingHttpHeaders, IncomingMessage, RequestOptions } from "node:http";
import { createRequire } from "node:module";
import type { Readable } from "node:stream";

// Required, not imported: an import asks for all that node:http exports, and Node 24 loads fetch's stack for some of that.
const load = createRequire(import.meta.url);

/** Of an answer that is taken as a whole, characters. */
const MAX_TEXT = 32 * 1024 * 1024;

export interface HttpRequest {
  readonly method?: string | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly body?: string | undefined;
  /** Until the headers of the answer, and within `text()` between its pieces, ms. `body` may stream for as long as it likes. */
  readonly timeoutMs: number;
}

export interface HttpAnswer {
  readonly url: URL;
  readonly status: number;
  /** 2xx. */
  readonly ok: boolean;
  readonly headers: IncomingHttpHeaders;
  readonly body: Readable;
  /** The whole body. Rejects when it is cut short, or too long to be an answer of a gateway. */
  text(): Promise<string>;
}

/** Rejects with Node's error, whose `code` is an errno or a reason of TLS, when there is no answer. */
export function httpRequest(url: URL, { method = "GET", headers = {}, body, timeoutMs }: HttpRequest): Promise<HttpAnswer> {
  const { request } = (url.protocol === "https:" ? load("node:https") : load("node:http")) as typeof Http;
  const length = body === undefined ? {} : { "content-length": String(Buffer.byteLength(body)) };
  const options: RequestOptions = { method, headers: { "user-agent": "sallyport", ...headers, ...length } };
  return new Promise((resolve, reject) => {
    const outgoing = request(url, options);
    const timer = setTimeout(() => outgoing.destroy(new Error(`no answer within ${timeoutMs / 1000} s`)), timeoutMs);
    outgoing.once("error", (error) => {
      clearTimeout(timer);
      reject(error);
    });
    outgoing.once("response", (incoming) => {
      clearTimeout(timer);
      const status = incoming.statusCode ?? 0;
      resolve({
        url,
        status,
        ok: status >= 200 && status < 300,
        headers: incoming.headers,
        body: incoming,
        text: () => textOf(incoming, timeoutMs),
      });
    });
    outgoing.end(body);
  });
}

async function textOf(incoming: IncomingMessage, timeoutMs: number): Promise<string> {
  incoming.setTimeout(timeoutMs, () => incoming.destroy(new Error(`nothing for ${timeoutMs / 1000} s`)));
  incoming.setEncoding("utf8");
  let text = "";
  for await (const chunk of incoming) {
    text += chunk as string;
    if (text.length > MAX_TEXT) throw new Error(`more than ${MAX_TEXT} characters`);
  }
  return text;
}
