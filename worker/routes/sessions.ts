/**
 * `/v1/sessions`: list, one, its commands, its recording, its keys, kill. One's own sessions are one's own to see;
 * everybody's need `session:read`. What one may not see answers like what does not exist (GW-24).
 */
import { Hono } from "hono";
import * as z from "zod";
import { KillRequest, SessionState, type KillAnswer, type SessionKeys, type SessionRow } from "../../protocol/api.ts";
import { parseSessionId } from "../../protocol/ids.ts";
import { Outcome } from "../../protocol/recording/event.ts";
import { err, ok, type Result } from "../../protocol/result.ts";
import { findAgent } from "../../store/agents.ts";
import { listCommands } from "../../store/commands.ts";
import { readRecording } from "../../store/recordings.ts";
import { listSessions, readSession } from "../../store/sessions.ts";
import { Filter, readJson, readQuery, Time } from "../body.ts";
import type { GatewayContext, GatewayEnv } from "../env.ts";
import { admit, admitTo, mayOnGateway, type Admitted } from "../guard.ts";
import { refuse } from "../refusal.ts";

export const sessions: Hono<GatewayEnv> = new Hono<GatewayEnv>();

const SessionFilters = z.object({
  identity: Filter.optional(),
  pipeline: Filter.optional(),
  run: Filter.optional(),
  job: Filter.optional(),
  target: Filter.optional(),
  site: Filter.optional(),
  state: SessionState.optional(),
  action: Filter.optional(),
  decision: Outcome.optional(),
  since: Time.optional(),
  until: Time.optional(),
});

sessions.get("/v1/sessions", async (c) => {
  const admitted = await admit(c);
  if (!admitted.ok) return admitted.error;
  const query = await readQuery(c, SessionFilters);
  if (!query.ok) return query.error;
  const filters = ownOrAll(admitted.value, query.value.filters);
  return c.json(filters === null ? { rows: [], cursor: null } : await listSessions(c.env.DB, filters, query.value.page));
});

/** Without `session:read` a list holds one's own rows only; asking for another's is an empty list. */
export function ownOrAll<F extends { readonly identity?: string | undefined }>(admitted: Admitted, filters: F): F | null {
  if (mayOnGateway(admitted, "session:read")) return filters;
  const own = admitted.caller.identity.name;
  return filters.identity === undefined || filters.identity === own ? { ...filters, identity: own } : null;
}

/** The session of the path, if the caller may see it. */
async function visibleSession(c: GatewayContext): Promise<Result<SessionRow, Response>> {
  const admitted = await admit(c);
  if (!admitted.ok) return admitted;
  const identity = admitted.value.caller.identity.name;
  const id = parseSessionId(c.req.param("id"));
  const session = id.ok ? await readSession(c.env.DB, id.value) : null;
  const own = session !== null && session.identity === identity;
  if (session !== null && (own || mayOnGateway(admitted.value, "session:read"))) return ok(session);
  const reason = session === null ? "no such session" : `session ${session.id} is of ${session.identity}`;
  return err(await refuse(c, "not_found", { reason, identity }));
}

sessions.get("/v1/sessions/:id", async (c) => {
  const session = await visibleSession(c);
  return session.ok ? c.json(session.value) : session.error;
});

sessions.get("/v1/sessions/:id/commands", async (c) => {
  const session = await visibleSession(c);
  if (!session.ok) return session.error;
  const query = await readQuery(c, z.object({}));
  return query.ok ? c.json(await listCommands(c.env.DB, { session: session.value.id }, query.value.page)) : query.error;
});

sessions.get("/v1/sessions/:id/recording", async (c) => {
  const session = await visibleSession(c);
  if (!session.ok) return session.error;
  return c.body(readRecording(c.env.RECORDINGS, session.value.id), 200, { "content-type": "application/x-ndjson" });
});

sessions.get("/v1/sessions/:id/keys", async (c) => {
  const session = await visibleSession(c);
  if (!session.ok) return session.error;
  const agent = session.value.agent === null ? null : await findAgent(c.env.DB, session.value.agent);
  const keys =
    agent === null
      ? []
      : [agent].map(({ id, name, public_key, enrolled_at, revoked_at }) => ({ agent: id, name, public_key, enrolled_at, revoked_at }));
  return c.json({ session: session.value.id, keys } satisfies SessionKeys);
});

sessions.post("/v1/sessions/:id/kill", async (c) => {
  const admitted = await admitTo(c, "session:kill");
  if (!admitted.ok) return admitted.error;
  const body = await readJson(c, KillRequest, { optional: true });
  if (!body.ok) return body.error;
  const by = admitted.value.caller.identity.name;
  const id = parseSessionId(c.req.param("id"));
  if (!id.ok || (await readSession(c.env.DB, id.value)) === null) {
    return refuse(c, "not_found", { reason: "no such session to kill", identity: by });
  }
  const message = body.value.reason ?? `Ended by ${by}.`;
  const ended = await c.env.SESSIONS.getByName(id.value).kill("session_killed", message);
  return c.json({ session: id.value, ended } satisfies KillAnswer);
});
