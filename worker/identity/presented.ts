/**
 * Where a request may carry its token: exactly one Authorization header, `Bearer` with an OIDC token or `DPoP` with a
 * session credential and one DPoP header (RFC 6750 section 2.1, RFC 9449 section 7.1). Pure.
 *
 * Not accepted: tokens in the query (RFC 6750 section 2.3: they end up in logs), in a body, or in a WebSocket subprotocol.
 */
import { MAX_TOKEN_BYTES } from "../../protocol/limits.ts";
import { ok, type Result } from "../../protocol/result.ts";
import { refused, type Refused } from "./caller.ts";

export type Presented =
  | { readonly scheme: "bearer"; readonly token: string }
  | { readonly scheme: "dpop"; readonly credential: string; readonly proof: string };

/** RFC 9110 section 11.2. No comma, so a repeated header (the runtime joins them with ", ") cannot pass. */
const TOKEN68 = /^[A-Za-z0-9\-._~+/]+=*$/;
const AUTHORIZATION = /^(Bearer|DPoP) +(\S+)$/i;
const QUERY_NAMES = ["access_token", "id_token", "token", "subject_token"] as const;

export function readPresented(request: Request): Result<Presented, Refused> {
  const query = new URL(request.url).searchParams;
  const inQuery = QUERY_NAMES.find((name) => query.has(name));
  if (inQuery !== undefined)
    return refused("bad_request", `a token in the query string (${inQuery}): it must come in the Authorization header`);

  const header = request.headers.get("authorization");
  if (header === null || header.trim() === "") return refused("token_missing", "no Authorization header");
  if (header.length > MAX_TOKEN_BYTES)
    return refused("too_large", `Authorization of ${header.length} characters, limit ${MAX_TOKEN_BYTES}`);
  if (header.includes(",")) return refused("token_invalid", "more than one Authorization header or credential");
  const [, scheme, token] = AUTHORIZATION.exec(header) ?? [];
  if (scheme === undefined || token === undefined || !TOKEN68.test(token)) {
    return refused("token_invalid", "Authorization is neither `Bearer <token>` nor `DPoP <credential>`");
  }

  const proof = readProof(request.headers);
  if (scheme.toLowerCase() === "bearer") {
    // RFC 9449 section 7.2: a bound credential presented as Bearer must not be taken, so a proof beside Bearer is a mistake.
    if (proof.ok) return refused("token_invalid", "a DPoP proof beside Bearer: a session credential is sent as `DPoP <credential>`");
    return ok({ scheme: "bearer", token });
  }
  return proof.ok ? ok({ scheme: "dpop", credential: token, proof: proof.value }) : proof;
}

/** RFC 9449 section 4.3, check 1: not more than one DPoP header. */
export function readProof(headers: Headers): Result<string, Refused> {
  const proof = headers.get("dpop");
  if (proof === null) return refused("proof_invalid", "no DPoP header");
  if (proof.length > MAX_TOKEN_BYTES) return refused("too_large", `DPoP of ${proof.length} characters, limit ${MAX_TOKEN_BYTES}`);
  if (proof.includes(",")) return refused("proof_invalid", "more than one DPoP header");
  return ok(proof);
}
