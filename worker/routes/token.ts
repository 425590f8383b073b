/**
 * `POST /v1/token`: RFC 8693 exchange, form-encoded, with a DPoP proof; docs/identity.md has the parameters and how RFC 6749's
 * error names map to our codes. The token travels in the body alone: an Authorization header beside it is refused.
 */
import { Hono } from "hono";
import { MAX_TOKEN_BYTES } from "../../protocol/limits.ts";
import { badRequest, readBody } from "../body.ts";
import { activeBundle } from "../bundles.ts";
import type { GatewayEnv } from "../env.ts";
import { exchangeToken } from "../identity/exchange.ts";
import { readProof } from "../identity/presented.ts";
import { readTokenRequest } from "../identity/token-request.ts";
import { refuse } from "../refusal.ts";

/** A token, percent-encoded in part, and the other parameters. */
const MAX_FORM_BYTES = MAX_TOKEN_BYTES + 4096;

export const token = new Hono<GatewayEnv>().post("/v1/token", async (c) => {
  const bundle = await activeBundle(c.env);
  if (bundle === null) return refuse(c, "no_bundle", { reason: "no bundle is active" });
  if (c.req.header("authorization") !== undefined) return badRequest(c, "Send the token as subject_token, and no Authorization header.");
  if (new URL(c.req.url).search !== "") return badRequest(c, "Send the parameters in the body, not in the query.");

  const body = await readBody(c, "application/x-www-form-urlencoded", MAX_FORM_BYTES);
  if (!body.ok) return body.error;
  const form = new URLSearchParams(new TextDecoder().decode(body.value));
  const asked = readTokenRequest(form, bundle.policy.gateway.audience);
  if (!asked.ok) return badRequest(c, `The token request does not fit: ${asked.error}.`);
  const proof = readProof(c.req.raw.headers);
  if (!proof.ok) return refuse(c, proof.error.code, { reason: proof.error.reason });

  const random = (bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> => crypto.getRandomValues(bytes);
  const answer = await exchangeToken({ request: c.req.raw, asked: asked.value, proof: proof.value }, c.env, bundle, Date.now(), random);
  if (!answer.ok) {
    const { code, ...audit } = answer.error;
    return refuse(c, code, audit);
  }
  // RFC 6749 section 5.1.
  return c.json(answer.value, 200, { "cache-control": "no-store", pragma: "no-cache" });
});
