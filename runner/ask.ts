/**
 * One request to a gateway: an answer of the expected shape, or an error that says in words what went wrong. No message
 * holds a token: requests carry theirs in headers and bodies, which are not quoted.
 */
import type { z } from "zod";
import { ProblemJson } from "../protocol/connect.ts";
import { CommandFailed, EXIT, exitOf } from "./exit.ts";

/** Until the headers of the answer, ms. Its body may stream for as long as it flows. */
const TIMEOUT_MS = 30_000;
const MAX_PROBLEM = 256 * 1024;

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

/** What Node says of a failed request: an errno such as ECONNREFUSED, or undici's own words. */
function whyUnreachable(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  if (!(cause instanceof Error)) return "unknown error";
  const { code } = cause as { readonly code?: unknown };
  return typeof code === "string" ? code : cause.message;
}

/** Fetch that says in words why the gateway could not be asked. @throws CommandFailed */
export async function ask(url: URL, init: RequestInit): Promise<Response> {
  const patience = new AbortController();
  const timer = setTimeout(() => patience.abort(new Error(`no answer within ${TIMEOUT_MS / 1000} s`)), TIMEOUT_MS);
  try {
    return await fetch(url, { redirect: "error", signal: patience.signal, ...init });
  } catch (error) {
    throw new CommandFailed(EXIT.unavailable, `the gateway ${url.origin} could not be reached (${whyUnreachable(error)})`);
  } finally {
    clearTimeout(timer);
  }
}

/** The answer, in its shape. @throws GatewayRefused, or CommandFailed when it is not the gateway's or was cut short. */
export async function answerOf<T>(response: Response, shape: z.ZodType<T>): Promise<T> {
  if (!response.ok) return refusalOf(response);
  const { origin, pathname } = new URL(response.url);
  let text: string;
  try {
    text = await response.text();
  } catch (error) {
    throw new CommandFailed(EXIT.unavailable, `the gateway ${origin} was lost while it answered (${whyUnreachable(error)})`);
  }
  const parsed = shape.safeParse(jsonOf(text));
  if (parsed.success) return parsed.data;
  throw new CommandFailed(EXIT.protocol, `${origin}'s answer to ${pathname} is malformed: is it a gateway, and of this version?`);
}

/** @throws GatewayRefused, or CommandFailed when the answer is not the gateway's. */
export async function refusalOf(response: Response): Promise<never> {
  const text = (await response.text().catch(() => "")).slice(0, MAX_PROBLEM);
  const problem = ProblemJson.safeParse(jsonOf(text));
  if (problem.success) throw new GatewayRefused(problem.data);
  throw new CommandFailed(
    EXIT.protocol,
    `${new URL(response.url).origin} answered ${response.status}, but not as a Sallyport gateway does: check the address`,
  );
}

/** Undefined where the text is not JSON, which no shape accepts. */
function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
