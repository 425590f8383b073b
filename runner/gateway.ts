/**
 * The gateway as a client sees it: its address, and requests that carry the job's session credential with a proof of
 * possession (RFC 9449).
 */
import type { z } from "zod";
import { answerOf, ask, refusalOf } from "./ask.ts";
import { holdCredential } from "./credential.ts";
import { CommandFailed, EXIT } from "./exit.ts";
import type { Environment } from "./identity/types.ts";
import type { HttpAnswer } from "./http.ts";
import { prove } from "./proof.ts";

export interface RequestOptions {
  readonly method?: string;
  readonly query?: Readonly<Record<string, string | number | undefined>>;
  readonly body?: unknown;
}

export interface GatewayClient {
  /** e.g. `https://gate.example.com`. */
  readonly origin: string;
  /** Who the gateway says we are; known after the first request. */
  readonly identity: string | undefined;
  /** Authorization and DPoP for one request. @throws CommandFailed */
  headers(method: string, url: URL): Promise<Record<string, string>>;
  /** @throws CommandFailed */
  request<T>(path: string, answer: z.ZodType<T>, options?: RequestOptions): Promise<T>;
  /** For answers that are streamed. @throws CommandFailed */
  open(path: string, options?: RequestOptions): Promise<HttpAnswer>;
}

/** `--gateway` or SALLYPORT_GATEWAY; https, or http on loopback. @throws CommandFailed */
export function gatewayAddress(option: string | undefined, env: Environment): string {
  const text = option ?? env["SALLYPORT_GATEWAY"];
  if (text === undefined || text === "")
    throw new CommandFailed(EXIT.usage, "which gateway? Set SALLYPORT_GATEWAY or give --gateway https://…");
  if (!URL.canParse(text))
    throw new CommandFailed(EXIT.usage, `the gateway ${JSON.stringify(text)} is not an address: write https://gate.example.com`);
  const url = new URL(text);
  const loopback = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(url.hostname);
  if (url.protocol !== "https:" && !(url.protocol === "http:" && loopback))
    throw new CommandFailed(
      EXIT.usage,
      `the gateway's address must begin with https:// (http:// only on loopback): ${url.protocol}//${url.host}`,
    );
  return url.origin;
}

/** The audience to ask the CI system for: the gateway's own address, unless the bundle chose another. */
export function audienceOf(origin: string, env: Environment): string {
  const chosen = env["SALLYPORT_AUDIENCE"];
  return chosen === undefined || chosen === "" ? origin : chosen;
}

/** Unref'd: nothing waits for it. */
const later = (ms: number, action: () => void): void => void setTimeout(action, ms).unref();

export function openGateway(origin: string, env: Environment, now: () => number = Date.now): GatewayClient {
  const holder = holdCredential({ origin, audience: audienceOf(origin, env), env, now, later });

  const headers = async (method: string, url: URL): Promise<Record<string, string>> => {
    const { access_token, key } = await holder.current();
    return { authorization: `DPoP ${access_token}`, dpop: await prove(key, { method, url, credential: access_token, now: now() }) };
  };

  const send = async (path: string, { method = "GET", query = {}, body }: RequestOptions = {}): Promise<HttpAnswer> => {
    const url = new URL(path, origin);
    for (const [name, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(name, String(value));
    const authorised = await headers(method, url);
    return ask(url, {
      method,
      headers: body === undefined ? authorised : { ...authorised, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  };

  return {
    origin,
    get identity() {
      return holder.identity;
    },
    headers,
    request: async (path, answer, options) => answerOf(await send(path, options), answer),
    open: async (path, options) => {
      const answer = await send(path, options);
      return answer.ok ? answer : refusalOf(answer);
    },
  };
}
