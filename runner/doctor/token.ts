/**
 * What can be said of a token by reading it: whom it is for, who signed it, how old it is. Nothing here verifies it (the
 * gateway does) and nothing here shows it: only claims by name, which the job's own log may hold.
 */
import { decodeJwt, type JWTPayload } from "jose";
import { MAX_CLOCK_SKEW_S, MAX_TOKEN_AGE_S } from "../../protocol/limits.ts";
import type { Finding } from "./finding.ts";

/** Claims that identities are matched on, by any provider (IDENTITY of the documentation); shown where present. */
const TELLING = [
  "iss",
  "sub",
  "repository_id",
  "repository_owner_id",
  "repository",
  "ref",
  "environment",
  "event_name",
  "job_workflow_ref",
  "runner_environment",
  "project_id",
  "namespace_id",
  "ref_protected",
  "organization_id",
  "pipeline_id",
  "oidc.circleci.com/project-id",
];

/** `audience`: what the gateway expects, as far as this side knows; `now`: ms since the epoch, by the gateway's clock if known. */
export function readToken(token: string, audience: string, now: number): readonly Finding[] {
  let claims: JWTPayload;
  try {
    claims = decodeJwt(token);
  } catch {
    return [{ check: "token", status: "fail", message: "the token is not a JWT: is it the right variable or file?" }];
  }
  return [audienceOf(claims, audience), ageOf(claims, now), tellingOf(claims)];
}

function audienceOf({ aud }: JWTPayload, audience: string): Finding {
  const named = aud === undefined ? [] : [aud].flat();
  if (named.includes(audience)) return { check: "audience", status: "ok", message: `the token is for ${audience}` };
  return {
    check: "audience",
    status: "warn",
    message: `the token is for ${named.length === 0 ? "nobody" : named.join(", ")}, not for ${audience}: ask the CI system for that audience, or set SALLYPORT_AUDIENCE to what the bundle's gateway.yaml says`,
  };
}

function ageOf({ iat, exp }: JWTPayload, now: number): Finding {
  const seconds = Math.floor(now / 1000);
  if (iat === undefined) return { check: "age", status: "fail", message: "the token does not say when it was issued (iat)" };
  if (iat > seconds + MAX_CLOCK_SKEW_S) {
    return {
      check: "age",
      status: "fail",
      message: `the token was issued ${iat - seconds} s in the future: the issuer's clock or this one is wrong`,
    };
  }
  if (exp !== undefined && exp < seconds - MAX_CLOCK_SKEW_S) {
    return { check: "age", status: "fail", message: `the token expired ${seconds - exp} s ago: fetch it in the step that uses it` };
  }
  const age = Math.max(0, seconds - iat);
  if (age <= MAX_TOKEN_AGE_S) return { check: "age", status: "ok", message: `the token is ${age} s old` };
  return {
    check: "age",
    status: "warn",
    message: `the token is ${age} s old: gateways take ${MAX_TOKEN_AGE_S} s unless the bundle allows more for this issuer (max_token_age_s)`,
  };
}

function tellingOf(claims: JWTPayload): Finding {
  const shown = TELLING.flatMap((name) => {
    const value = claims[name];
    return typeof value === "string" || typeof value === "number" ? [`${name}=${value}`] : [];
  });
  return { check: "claims", status: "ok", message: `the token says ${shown.join(", ")}` };
}
