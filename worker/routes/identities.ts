/** `/v1/identities`: list, revoke, restore. Revocation and live sessions are IdentityDO's; declarations are the bundle's. */
import { Hono } from "hono";
import * as z from "zod";
import { RevokeRequest, type IdentityRow, type RevokeAnswer } from "../../protocol/api.ts";
import { parseIdentityName, type IdentityName } from "../../protocol/ids.ts";
import { err, ok, type Result } from "../../protocol/result.ts";
import { formatCursor } from "../../store/page.ts";
import { listSessions } from "../../store/sessions.ts";
import { readJson, readQuery } from "../body.ts";
import type { GatewayContext, GatewayEnv } from "../env.ts";
import { admitTo, type Admitted } from "../guard.ts";
import { refuse } from "../refusal.ts";

export const identities: Hono<GatewayEnv> = new Hono<GatewayEnv>();

identities.get("/v1/identities", async (c) => {
  const admitted = await admitTo(c, "identity:read");
  if (!admitted.ok) return admitted.error;
  const query = await readQuery(c, z.object({}));
  if (!query.ok) return query.error;
  const { limit, cursor } = query.value.page;
  const after = [...admitted.value.bundle.policy.identities.values()]
    .filter(({ name }) => cursor === null || name > cursor.key)
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  const shown = after.slice(0, limit);
  const rows = await Promise.all(
    shown.map(async ({ name, kind, owner, purpose, environment, groups }): Promise<IdentityRow> => {
      const { revoked, live_sessions, last_used_at } = await c.env.IDENTITIES.getByName(name).status();
      return {
        name,
        kind,
        owner,
        purpose,
        environment: environment ?? null,
        groups: [...groups],
        revoked_at: revoked?.at ?? null,
        live_sessions: live_sessions.length,
        last_used_at,
      };
    }),
  );
  const last = shown.at(-1);
  // By name, so the cursor's time says nothing.
  return c.json({ rows, cursor: last !== undefined && after.length > limit ? formatCursor({ at: 0, key: last.name }) : null });
});

/**
 * The path's identity. One that the bundle no longer declares can be revoked as well, as long as it had a session
 * once: a name that was only mistyped must not look revoked.
 */
async function knownIdentity(c: GatewayContext, { caller, bundle }: Admitted): Promise<Result<IdentityName, Response>> {
  const name = parseIdentityName(c.req.param("name"));
  if (name.ok && bundle.policy.identities.has(name.value)) return ok(name.value);
  if (name.ok && (await listSessions(c.env.DB, { identity: name.value }, { limit: 1, cursor: null })).rows.length > 0)
    return ok(name.value);
  const audit = { reason: "no identity of this name in the bundle or in any session", identity: caller.identity.name };
  return err(await refuse(c, "not_found", audit, { detail: "There is no identity of this name." }));
}

identities.post("/v1/identities/:name/revoke", async (c) => {
  const admitted = await admitTo(c, "identity:revoke");
  if (!admitted.ok) return admitted.error;
  const name = await knownIdentity(c, admitted.value);
  if (!name.ok) return name.error;
  const body = await readJson(c, RevokeRequest, { optional: true });
  if (!body.ok) return body.error;
  const by = admitted.value.caller.identity.name;
  if (name.value === by) {
    const detail = "An identity cannot revoke itself: it could not restore itself either. Ask another one that may.";
    return refuse(c, "conflict", { reason: "asked to revoke itself", identity: by }, { detail });
  }
  const revoked = await c.env.IDENTITIES.getByName(name.value).revoke(body.value.reason ?? "", by, Date.now());
  return c.json({
    identity: name.value,
    revoked_at: revoked.revoked_at,
    sessions_ended: [...revoked.sessions_ended],
  } satisfies RevokeAnswer);
});

identities.post("/v1/identities/:name/restore", async (c) => {
  const admitted = await admitTo(c, "identity:revoke");
  if (!admitted.ok) return admitted.error;
  const name = await knownIdentity(c, admitted.value);
  if (!name.ok) return name.error;
  await c.env.IDENTITIES.getByName(name.value).restore(Date.now());
  return c.json({ identity: name.value, revoked_at: null, sessions_ended: [] } satisfies RevokeAnswer);
});
