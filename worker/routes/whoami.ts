/** `GET /v1/whoami`: what the gateway makes of the token or credential presented. A job's own token is spent by asking. */
import { Hono } from "hono";
import type { Whoami } from "../../protocol/api.ts";
import type { GatewayEnv } from "../env.ts";
import { admit } from "../guard.ts";

export const whoami = new Hono<GatewayEnv>().get("/v1/whoami", async (c) => {
  const admitted = await admit(c);
  if (!admitted.ok) return admitted.error;
  const { caller, bundle } = admitted.value;
  const { name, kind, owner, groups } = caller.identity;
  const answer: Whoami = {
    identity: name,
    kind,
    owner,
    groups: [...groups],
    workload: caller.workload,
    bundle: bundle.version,
    expires_at: caller.expiresAt,
  };
  return c.json(answer, 200, { "cache-control": "no-store" });
});
