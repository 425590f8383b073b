/**
 * The form of `POST /v1/token` (RFC 8693 section 2.1), strictly. Pure.
 *
 * RFC 6749 section 3.2 lets a server ignore parameters that it does not know; this one refuses them, because the parameters that exist
 * (scope, resource, actor_token, …) narrow what is issued, and ignoring one would issue more than was asked for.
 */
import { err, ok, type Result } from "../../protocol/result.ts";

export const GRANT_TYPE = "urn:ietf:params:oauth:grant-type:token-exchange";
export const ACCESS_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token";
/** A job's OIDC token, by either name (RFC 8693 section 3). */
const ID_TOKEN_TYPES: readonly string[] = ["urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token"];

const PARAMETERS: readonly string[] = ["grant_type", "subject_token", "subject_token_type", "requested_token_type", "audience"];

export type TokenRequest =
  /** A job's token for a credential. */
  | { readonly kind: "exchange"; readonly token: string }
  /** A credential for its successor. */
  | { readonly kind: "renewal"; readonly credential: string };

/** `audience`: the gateway's, the only one it issues for. The error is about what was sent and may be told. */
export function readTokenRequest(form: URLSearchParams, audience: string): Result<TokenRequest, string> {
  const given = new Map<string, string>();
  for (const [name, value] of form) {
    if (!PARAMETERS.includes(name))
      return err(`the parameter ${JSON.stringify(name.slice(0, 64))} is not known; known are ${PARAMETERS.join(", ")}`);
    if (given.has(name)) return err(`${name} is given twice`);
    if (value === "") return err(`${name} is empty`);
    given.set(name, value);
  }
  if (given.get("grant_type") !== GRANT_TYPE) return err(`grant_type must be ${GRANT_TYPE}`);
  const requested = given.get("requested_token_type") ?? ACCESS_TOKEN_TYPE;
  if (requested !== ACCESS_TOKEN_TYPE) return err(`requested_token_type must be ${ACCESS_TOKEN_TYPE}`);
  if ((given.get("audience") ?? audience) !== audience) return err("audience is not this gateway's");
  const token = given.get("subject_token");
  if (token === undefined) return err("subject_token is missing");
  const type = given.get("subject_token_type") ?? "";
  if (ID_TOKEN_TYPES.includes(type)) return ok({ kind: "exchange", token });
  if (type === ACCESS_TOKEN_TYPE) return ok({ kind: "renewal", credential: token });
  return err(`subject_token_type must be one of ${[...ID_TOKEN_TYPES, ACCESS_TOKEN_TYPE].join(", ")}`);
}
