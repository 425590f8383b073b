/**
 * The one place where a refusal becomes an answer. The audit (D1) gets the reason, the peer gets the code, its
 * sentence and a reference that finds the reason. The row is written before the answer is sent; when it cannot be,
 * the refusal stands all the same and the log holds the record.
 *
 * Never in either: a token, a secret, a query string.
 */
import type { Env } from "../durable-objects/env.ts";
import { REFERENCE_HEADER, type ProblemJson } from "../protocol/api.ts";
import { ERRORS, type ErrorCode } from "../protocol/errors.ts";
import { insertRefusal, refusalRecord, type NewRefusal } from "../store/refusals.ts";
import { auditText } from "../store/text.ts";
import type { GatewayContext } from "./env.ts";

/** For the audit alone. */
export interface Audit {
  readonly reason: string;
  readonly identity?: string | undefined;
  readonly target?: string | undefined;
  readonly issuer?: string | undefined;
  readonly subject?: string | undefined;
  /** Policy ids that refused; the peer is told these too. */
  readonly policies?: readonly string[] | undefined;
}

/** What the peer may learn besides the code: only ever about what it sent itself. */
export interface Told {
  readonly detail?: string | undefined;
  readonly problems?: ProblemJson["problems"];
}

const ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz";

/** 80 random bits: unguessable enough that quoting one shows that it was received. It authorises nothing. */
function mintReference(): string {
  return `ref_${Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => ALPHABET[byte & 31]).join("")}`;
}

/** RFC 9110 section 11.6.1: a 401 names how to authenticate. RFC 6750 section 3.1: no error code when no token was sent. */
function challenge(code: ErrorCode): string {
  if (code === "token_missing") return "Bearer";
  return code === "proof_invalid" ? 'DPoP error="invalid_dpop_proof"' : 'Bearer error="invalid_token"';
}

/** problem+json (RFC 9457). */
export function problemResponse(code: ErrorCode, ref: string | null, told: Told = {}, policies: readonly string[] = []): Response {
  const { status, sentence } = ERRORS[code];
  const problem: ProblemJson = {
    type: `urn:sallyport:error:${code}`,
    title: sentence,
    status,
    code,
    ...(told.detail === undefined ? {} : { detail: told.detail }),
    ...(ref === null ? {} : { ref }),
    ...(policies.length === 0 ? {} : { policies: [...policies] }),
    ...(told.problems === undefined ? {} : { problems: told.problems }),
  };
  const headers = new Headers({ "content-type": "application/problem+json" });
  if (ref !== null) headers.set(REFERENCE_HEADER, ref);
  if (status === 401) headers.set("www-authenticate", challenge(code));
  return new Response(JSON.stringify(problem), { status, headers });
}

/** Audits a refusal of `request` and makes its answer. Never throws. */
export async function refuseRequest(
  request: { readonly method: string; readonly url: string },
  env: Pick<Env, "DB">,
  code: ErrorCode,
  audit: Audit,
  told: Told = {},
): Promise<Response> {
  const refusal: NewRefusal = {
    ...audit,
    ref: mintReference(),
    at: Date.now(),
    code,
    method: request.method,
    path: new URL(request.url).pathname,
  };
  try {
    await insertRefusal(env.DB, refusal);
  } catch (error) {
    logError("a refusal could not be written to the audit", error, { refusal: refusalRecord(refusal) });
  }
  return problemResponse(code, refusal.ref, told, audit.policies);
}

export function refuse(c: GatewayContext, code: ErrorCode, audit: Audit, told?: Told): Promise<Response> {
  return refuseRequest(c.req.raw, c.env, code, audit, told);
}

/** An exception nobody expected: the peer gets `internal` and the reference, the log the stack. */
export async function refuseUnexpected(c: GatewayContext, error: unknown): Promise<Response> {
  const response = await refuse(c, "internal", { reason: `unexpected: ${error instanceof Error ? error.name : typeof error}` });
  logError("unexpected exception", error, { ref: response.headers.get(REFERENCE_HEADER), path: c.req.path });
  return response;
}

/** One line of JSON. Tokens are blotted out even of messages that should not hold any. */
export function logError(message: string, error: unknown, facts: Readonly<Record<string, unknown>> = {}): void {
  const described =
    error instanceof Error
      ? { name: error.name, message: auditText(error.message, 1024), stack: auditText(error.stack ?? "", 4096) }
      : { name: typeof error };
  console.error(JSON.stringify({ level: "error", message, ...facts, error: described }));
}
