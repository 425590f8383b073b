/**
 * One request to a gateway: an answer of the expected shape, or an error that says in words what went wrong. No message
 * holds a token: requests carry theirs in headers and bodies, which are not quoted.
 */
import type { z } from "zod";
import { ProblemJson } from "../protocol/connect.ts";
import { CommandFailed, EXIT, exitOf } from "./exit.ts";
import { httpRequest, type HttpAnswer, type HttpRequest } from "./http.ts";

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

/** What Node says of a failed request: an errno such as ECONNREFUSED, TLS's reason, or words. */
function whyUnreachable(error: unknown): string {
  if (!(error instanceof Error)) return "unknown error";
  const { code } = error as { readonly code?: unknown };
  return typeof code === "string" ? code : error.message;
}

/** An answer, whatever it says. @throws CommandFailed when there is none */
export async function ask(url: URL, request: Omit<HttpRequest, "timeoutMs"> = {}): Promise<HttpAnswer> {
  try {
    return await httpRequest(url, { timeoutMs: TIMEOUT_MS, ...request });
  } catch (error) {
    throw new CommandFailed(EXIT.unavailable, `the gateway ${url.origin} could not be reached (${whyUnreachable(error)})`);
  }
}

/** The answer, in its shape. @throws GatewayRefused, or CommandFailed when it is not the gateway's or was cut short. */
export async function answerOf<T>(answer: HttpAnswer, shape: z.ZodType<T>): Promise<T> {
  if (!answer.ok) return refusalOf(answer);
  const { origin, pathname } = answer.url;
  let text: string;
  try {
    text = await answer.text();
  } catch (error) {
    throw new CommandFailed(EXIT.unavailable, `the gateway ${origin} was lost while it answered (${whyUnreachable(error)})`);
  }
  const parsed = shape.safeParse(jsonOf(text));
  if (parsed.success) return parsed.data;
  throw new CommandFailed(EXIT.protocol, `${origin}'s answer to ${pathname} is malformed: is it a gateway, and of this version?`);
}

/** @throws GatewayRefused, or CommandFailed when the answer is not the gateway's. */
export async function refusalOf(answer: HttpAnswer): Promise<never> {
  const text = (await answer.text().catch(() => "")).slice(0, MAX_PROBLEM);
  const problem = ProblemJson.safeParse(jsonOf(text));
  if (problem.success) throw new GatewayRefused(problem.data);
  throw new CommandFailed(
    EXIT.protocol,
    `${answer.url.origin} answered ${answer.status}, but not as a Sallyport gateway does: check the address`,
  );
}

/** Undefined where the text is not JSON, which no shape accepts. */
export function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
