/**
 * A compact JWS whose payload is a JSON object (RFC 7515 section 7.1, RFC 7519 section 7.2), verified by jose. Says nothing of the
 * claims. The error is for the audit: jose's stable code, or the kind of a failure (a key that cannot be imported), never
 * a piece of the token.
 */
import { compactVerify, errors, type CompactJWSHeaderParameters, type CompactVerifyGetKey } from "jose";
import type { Claims } from "../../protocol/provider-claims.ts";
import { err, ok, type Result } from "../../protocol/result.ts";
import { isObject } from "./providers/adapter.ts";

export interface VerifiedJws {
  readonly header: CompactJWSHeaderParameters;
  readonly claims: Claims;
}

/** `key` picks the key by the header; `algorithms` is the whole of what is accepted. */
export async function verifyJws(
  token: string,
  key: CompactVerifyGetKey,
  algorithms: readonly string[],
): Promise<Result<VerifiedJws, string>> {
  try {
    const { payload, protectedHeader } = await compactVerify(token, key, { algorithms: [...algorithms] });
    const claims: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(payload));
    return isObject(claims) ? ok({ header: protectedHeader, claims }) : err("the payload is not a JSON object");
  } catch (failure) {
    if (failure instanceof errors.JOSEError) return err(`${failure.code}: ${failure.message}`);
    return err(failure instanceof Error ? failure.name : "unknown failure");
  }
}
