/** `/v1/agents`: enrolment tokens, enrolment, list, revocation. */
import { Hono } from "hono";
import * as z from "zod";
import { EnrolmentTokenRequest, EnrolRequest, type AgentRow, type EnrolAnswer, type EnrolmentTokenAnswer } from "../../protocol/api.ts";
import { mintAgentId, mintSecret, parseAgentId, parseSiteName, parseTargetName, type Random } from "../../protocol/ids.ts";
import { ENROLMENT_TTL_S } from "../../protocol/limits.ts";
import { err, ok, type Result } from "../../protocol/result.ts";
import { listAgents, revokeAgent } from "../../store/agents.ts";
import { activeVersion } from "../../store/bundles.ts";
import { enrolAgent, insertEnrolmentToken } from "../../store/enrolment.ts";
import { formatCursor } from "../../store/page.ts";
import { badRequest, readJson, readQuery } from "../body.ts";
import type { GatewayContext, GatewayEnv } from "../env.ts";
import { admitBootstrap, admitTo, presentsBootstrap } from "../guard.ts";
import { onlineAgents } from "../online.ts";
import { refuse } from "../refusal.ts";
import { hex } from "../segment.ts";

export const agents: Hono<GatewayEnv> = new Hono<GatewayEnv>();

const random: Random = (bytes) => crypto.getRandomValues(bytes);

/** Tokens are 256 random bits, so their hash needs neither salt nor slowness. */
const hashToken = async (token: string): Promise<string> => hex(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(token)));

/** Who may make enrolment tokens: its name for the record. */
async function admitEnroller(c: GatewayContext): Promise<Result<string, Response>> {
  if (presentsBootstrap(c)) return admitBootstrap(c, (await activeVersion(c.env.DB))?.version ?? null);
  const admitted = await admitTo(c, "agent:enrol");
  return admitted.ok ? ok(admitted.value.caller.identity.name) : err(admitted.error);
}

agents.post("/v1/agents/enrolment-tokens", async (c) => {
  const enroller = await admitEnroller(c);
  if (!enroller.ok) return enroller.error;
  const body = await readJson(c, EnrolmentTokenRequest);
  if (!body.ok) return body.error;
  const site = parseSiteName(body.value.site);
  if (!site.ok) return badRequest(c, site.error);
  for (const target of body.value.targets ?? []) {
    const name = parseTargetName(target);
    if (!name.ok) return badRequest(c, name.error);
  }
  const now = Date.now();
  const token = mintSecret(random);
  const expires_at = now + (body.value.ttl_s ?? ENROLMENT_TTL_S) * 1000;
  await insertEnrolmentToken(c.env.DB, {
    hash: await hashToken(token),
    site: site.value,
    targets: body.value.targets ?? null,
    created_at: now,
    created_by: enroller.value,
    expires_at,
  });
  return c.json({ token, site: site.value, expires_at } satisfies EnrolmentTokenAnswer, 201);
});

agents.post("/v1/agents/enrol", async (c) => {
  const body = await readJson(c, EnrolRequest);
  if (!body.ok) return body.error;
  const { token, name, public_key } = body.value;
  // An agent's name is shown beside its site's: it follows the same rule.
  const parsed = parseSiteName(name);
  if (!parsed.ok) return badRequest(c, parsed.error.replace("a site name", "an agent name"));
  if (!(await isPublicKey(public_key.x))) return badRequest(c, "public_key is not an Ed25519 public key.");
  const id = mintAgentId(random);
  const enrolled = await enrolAgent(c.env.DB, {
    hash: await hashToken(token),
    agent: id,
    name: parsed.value,
    public_key: public_key.x,
    now: Date.now(),
  });
  if (!enrolled.ok) return refuse(c, "enrolment_invalid", { reason: `enrolment of ${parsed.value}: ${enrolled.error}` });
  return c.json({ agent: id, site: enrolled.value.site, name: enrolled.value.name } satisfies EnrolAnswer, 201);
});

async function isPublicKey(x: string): Promise<boolean> {
  try {
    await crypto.subtle.importKey("jwk", { kty: "OKP", crv: "Ed25519", x }, "Ed25519", false, ["verify"]);
    return true;
  } catch {
    return false;
  }
}

agents.get("/v1/agents", async (c) => {
  const admitted = await admitTo(c, "agent:read");
  if (!admitted.ok) return admitted.error;
  const query = await readQuery(c, z.object({}));
  if (!query.ok) return query.error;
  const { limit, cursor } = query.value.page;
  const all = await listAgents(c.env.DB);
  // Agents are never removed, so the cursor's is there.
  const from = cursor === null ? 0 : all.findIndex((agent) => agent.id === cursor.key) + 1;
  const listed = all.slice(from, from + limit);
  const online = await onlineAgents(
    c.env,
    listed.filter((agent) => agent.revoked_at === null).map((agent) => agent.site),
  );
  const rows = listed.map(({ announced, targets: _allowed, ...agent }): AgentRow => {
    return { ...agent, online: online.has(agent.id), targets: [...announced] };
  });
  const last = listed.at(-1);
  return c.json({ rows, cursor: last !== undefined && from + limit < all.length ? formatCursor({ at: 0, key: last.id }) : null });
});

agents.delete("/v1/agents/:id", async (c) => {
  const admitted = await admitTo(c, "agent:revoke");
  if (!admitted.ok) return admitted.error;
  const identity = admitted.value.caller.identity.name;
  const id = parseAgentId(c.req.param("id"));
  const revoked = id.ok ? await revokeAgent(c.env.DB, id.value, Date.now()) : null;
  if (revoked === null) return refuse(c, "not_found", { reason: "no such agent", identity });
  // D1 already refuses its next dial; this ends its control socket and its sessions now (GW-15).
  await c.env.SITES.getByName(revoked.site).revokeAgent(revoked.id);
  return c.body(null, 204);
});
