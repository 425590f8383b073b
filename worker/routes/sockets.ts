/**
 * An agent's sockets: its control socket (to its site's object) and its dial-back for one session (to that session's).
 * Both need the agent's own token; the dial-back also needs the secret of the dispatch, which the object checks.
 * Site and name come from the agent's enrolment, never from the request.
 */
import { Hono } from "hono";
import { dialBackUpgrade } from "../../durable-objects/session/upgrade.ts";
import { controlUpgrade } from "../../durable-objects/site/upgrade.ts";
import { DIAL_HEADER } from "../../protocol/api.ts";
import { parseSessionId } from "../../protocol/ids.ts";
import { err, type Result } from "../../protocol/result.ts";
import type { GatewayContext, GatewayEnv } from "../env.ts";
import { authenticateAgent, type VerifiedAgent } from "../identity/agent-token.ts";
import { gatewayOrigin } from "../identity/origin.ts";
import { refuse } from "../refusal.ts";
import { passUpgrade, wantsWebSocket } from "../upgrade.ts";

export const sockets: Hono<GatewayEnv> = new Hono<GatewayEnv>();

async function dialling(c: GatewayContext): Promise<Result<VerifiedAgent, Response>> {
  // Before the token is looked at: it counts once.
  if (!wantsWebSocket(c)) return err(await refuse(c, "upgrade_required", { reason: "no WebSocket upgrade" }));
  const verified = await authenticateAgent(c.req.raw, c.env, Date.now());
  if (verified.ok) return verified;
  const { code, ...audit } = verified.error;
  return err(await refuse(c, code, audit));
}

sockets.get("/v1/agent/control", async (c) => {
  const agent = await dialling(c);
  if (!agent.ok) return agent.error;
  const { agent: id, name, site } = agent.value;
  const facts = { agent: id, name, site, gateway: gatewayOrigin(c.req.raw, c.env) };
  return passUpgrade(c, () => c.env.SITES.getByName(site).fetch(controlUpgrade(facts)), { subject: id }, "agent_unready");
});

sockets.get("/v1/sessions/:id/agent", async (c) => {
  const agent = await dialling(c);
  if (!agent.ok) return agent.error;
  const { agent: id, site } = agent.value;
  const session = parseSessionId(c.req.param("id"));
  const secret = c.req.header(DIAL_HEADER) ?? "";
  if (!session.ok || secret === "") {
    return refuse(c, "not_found", { reason: session.ok ? "no dial secret was presented" : session.error, subject: id });
  }
  return passUpgrade(
    c,
    () => c.env.SESSIONS.getByName(session.value).fetch(dialBackUpgrade(id, site, secret)),
    { subject: id },
    "agent_unready",
  );
});
