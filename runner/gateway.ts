/**
 * The gateway as a client sees it: one exchange of the job's token for a session credential, DPoP on every request
 * after, renewal before it expires, problem+json turned into one kind of error.
 */
import type { z } from "zod";
import { ProblemJson, TokenAnswer } from "../protocol/connect.ts";
import { openCredentialStore } from "./credential-store.ts";
import { CommandFailed, EXIT, exitOf } from "./exit.ts";
import { findTokenSource } from "./identity/source.ts";
import { TokenUnavailable, type Environment, type TokenSource } from "./identity/types.ts";
import { makeProofKey, prove, restoreProofKey, type ProofKey } from "./proof.ts";

const EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT = "urn:ietf:params:oauth:token-type:jwt";
const ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token";
/** A credential is renewed when less than this is left of it, ms. */
const RENEW_BEFORE_MS = 5 * 60_000;
const TIMEOUT_MS = 30_000;

/** The gateway refused, with its stable code. */
export class GatewayRefused extends CommandFailed {
  override name = "GatewayRefused";
  readonly problem: ProblemJson;
  constructor(problem: ProblemJson) {
    super(exitOf(problem.code, problem.status), sentenceOf(problem));
    this.problem = problem;
  }
}

export function sentenceOf(problem: ProblemJson): string {
  const policies = problem.policies === undefined || problem.policies.length === 0 ? "" : ` (policy ${problem.policies.join(", ")})`;
  const reference = problem.ref === undefined ? "" : `; reference ${problem.ref}`;
  return `${problem.detail ?? problem.title}${policies} [${problem.code}${reference}]`;
}

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
  request<T>(path: string, answer: z.ZodType<T>, options?: RequestOptions): Promise<T>;
  /** For answers that are streamed. */
  open(path: string, options?: RequestOptions): Promise<Response>;
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
export const audienceOf = (origin: string, env: Environment): string => env["SALLYPORT_AUDIENCE"] ?? origin;

/** Fetch that says in words why the gateway could not be asked. @throws CommandFailed */
export async function ask(url: URL, init: RequestInit): Promise<Response> {
  try {
    return await fetch(url, { redirect: "error", signal: AbortSignal.timeout(TIMEOUT_MS), ...init });
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    const why = cause instanceof Error ? ((cause as NodeJS.ErrnoException).code ?? cause.name) : "unknown error";
    throw new CommandFailed(EXIT.unavailable, `the gateway ${url.origin} could not be reached (${why})`);
  }
}

/** @throws GatewayRefused, or CommandFailed when the answer is not the gateway's. */
export async function refusalOf(response: Response): Promise<never> {
  const text = (await response.text().catch(() => "")).slice(0, 256 * 1024);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    json = undefined;
  }
  const problem = ProblemJson.safeParse(json);
  if (problem.success) throw new GatewayRefused(problem.data);
  throw new CommandFailed(
    EXIT.protocol,
    `${new URL(response.url).origin} answered ${response.status}, but not as a Sallyport gateway does: check the address`,
  );
}

interface Credential {
  readonly access_token: string;
  readonly identity: string;
  readonly expires_at: number;
}

export function openGateway(origin: string, env: Environment, now: () => number = Date.now): GatewayClient {
  const store = openCredentialStore(env, origin);
  let key: ProofKey | undefined;
  let credential: Credential | undefined;
  let source: TokenSource | undefined;
  let exchanging: Promise<Credential> | undefined;

  const post = async (subject: string, type: string, proofKey: ProofKey): Promise<Credential> => {
    const url = new URL("/v1/token", origin);
    const body = new URLSearchParams({ grant_type: EXCHANGE, subject_token: subject, subject_token_type: type });
    const response = await ask(url, {
      method: "POST",
      body,
      headers: { dpop: await prove(proofKey, { method: "POST", url, now: now() }) },
    });
    if (!response.ok) return refusalOf(response);
    const answer = TokenAnswer.safeParse(await response.json());
    if (!answer.success) throw new CommandFailed(EXIT.protocol, "the gateway's answer to the token exchange is malformed");
    return { access_token: answer.data.access_token, identity: answer.data.identity, expires_at: now() + answer.data.expires_in * 1000 };
  };

  /** A credential that is good for a while: the one at hand, a renewed one, a kept one, or a new one. */
  const obtain = async (): Promise<Credential> => {
    const left = credential === undefined ? 0 : credential.expires_at - now();
    if (credential !== undefined && left > RENEW_BEFORE_MS) return credential;
    if (credential !== undefined && key !== undefined && left > 0) {
      try {
        return await post(credential.access_token, ACCESS_TOKEN, key);
      } catch (error) {
        // Still good for now: a gateway that cannot be reached this minute may be the next.
        if (!(error instanceof GatewayRefused) && left > 30_000) return credential;
        if (!(error instanceof GatewayRefused) || source?.mintable === false) throw error;
      }
    }
    source ??= findTokenSource(env);
    const token = await source.fetch(audienceOf(origin, env));
    if (!source.mintable) {
      const kept = store.load(token);
      if (kept !== undefined && kept.expires_at - now() > 0) {
        key = await restoreProofKey(kept.key);
        credential = kept;
        if (kept.expires_at - now() > RENEW_BEFORE_MS) return kept;
        return post(kept.access_token, ACCESS_TOKEN, key);
      }
    }
    key ??= await makeProofKey();
    return post(token, JWT, key);
  };

  const current = async (): Promise<Credential> => {
    if (credential !== undefined && credential.expires_at - now() > RENEW_BEFORE_MS) return credential;
    exchanging ??= obtain().finally(() => {
      exchanging = undefined;
    });
    const fresh = await exchanging.catch((error: unknown) => {
      throw error instanceof TokenUnavailable ? new CommandFailed(EXIT.denied, error.message) : error;
    });
    if (fresh !== credential && source?.mintable === false && key !== undefined) {
      store.save(await source.fetch(audienceOf(origin, env)), { ...fresh, key: key.privateJwk });
    }
    credential = fresh;
    return fresh;
  };

  const headers = async (method: string, url: URL): Promise<Record<string, string>> => {
    const { access_token } = await current();
    if (key === undefined) throw new Error("a credential without its key");
    return { authorization: `DPoP ${access_token}`, dpop: await prove(key, { method, url, credential: access_token, now: now() }) };
  };

  const open = async (path: string, { method = "GET", query = {}, body }: RequestOptions = {}): Promise<Response> => {
    const url = new URL(path, origin);
    for (const [name, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(name, String(value));
    const authorised = await headers(method, url);
    const response = await ask(url, {
      method,
      headers: body === undefined ? authorised : { ...authorised, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return response.ok ? response : refusalOf(response);
  };

  return {
    origin,
    get identity() {
      return credential?.identity;
    },
    headers,
    open,
    async request(path, answer, options) {
      const parsed = answer.safeParse(await (await open(path, options)).json());
      if (!parsed.success)
        throw new CommandFailed(EXIT.protocol, `the gateway's answer to ${path} is malformed: is it of another version?`);
      return parsed.data;
    },
  };
}
