/**
 * What a connector and the gateway say over HTTP before a session: the answer to the token exchange, a refusal, and the
 * headers of a WebSocket's 101. Part of the API of api.ts, which exports all of this too; apart from it, because
 * `sallyport run` needs these shapes and none of the others, and making a schema costs time at every start.
 */
import * as z from "zod";
import { errorCode } from "./stream/control.ts";

/** On the 101 of connect: the session's id, and the secret that lets the connector redial it. */
export const SESSION_HEADER = "x-sallyport-session";
export const RESUME_HEADER = "x-sallyport-resume";
/** On connect: what a held command does to this job's client, `wait` or `fail`. */
export const HOLD_HEADER = "sallyport-hold";
/** On connect, from the runner: run only what this plan holds. */
export const PLAN_HEADER = "sallyport-plan";
/** On the agent's dial-back: the dispatch's secret. */
export const DIAL_HEADER = "x-sallyport-dial";
/** On every refusal: what to quote to an operator. */
export const REFERENCE_HEADER = "x-sallyport-ref";

/** A place in a bundle where something is wrong; `line` and `column` count from 1. */
export const BundleProblem = z.object({
  file: z.string(),
  line: z.number().optional(),
  column: z.number().optional(),
  severity: z.enum(["error", "warning"]),
  rule: z.string(),
  message: z.string(),
});

/** RFC 9457, with the stable code. */
export const ProblemJson = z.object({
  type: z.string(),
  title: z.string(),
  status: z.number().int(),
  code: errorCode,
  detail: z.string().optional(),
  ref: z.string().optional(),
  /** Policy ids, where a policy refused. */
  policies: z.array(z.string()).optional(),
  /** Bundle problems, for `bundle_invalid`. */
  problems: z.array(BundleProblem).optional(),
});
export type ProblemJson = z.infer<typeof ProblemJson>;

/** RFC 8693 section 2.2.1, with token_type `DPoP` (RFC 9449 section 5). */
export const TokenAnswer = z.object({
  access_token: z.string(),
  issued_token_type: z.literal("urn:ietf:params:oauth:token-type:access_token"),
  token_type: z.literal("DPoP"),
  expires_in: z.number().int(),
  identity: z.string(),
});
export type TokenAnswer = z.infer<typeof TokenAnswer>;
