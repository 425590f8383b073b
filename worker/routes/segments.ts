/**
 * `PUT /v1/agent/sessions/:id/segments/:n`: an agent stores a piece of its session's recording. Idempotent: R2 first,
 * written once, then the index; after a failure in between the agent's next try finishes it.
 */
import { Hono } from "hono";
import type { SegmentAnswer } from "../../protocol/api.ts";
import { parseSessionId } from "../../protocol/ids.ts";
import { MAX_SEGMENT_BYTES } from "../../protocol/limits.ts";
import { findAgent } from "../../store/agents.ts";
import { putSegment } from "../../store/recordings.ts";
import { indexSegment, readNeighbours } from "../../store/segments.ts";
import { agentOfSession, readSession } from "../../store/sessions.ts";
import { badRequest, readBody } from "../body.ts";
import type { GatewayContext, GatewayEnv } from "../env.ts";
import { authenticateAgent } from "../identity/agent-token.ts";
import { refuse } from "../refusal.ts";
import { joins, parseSegment } from "../segment.ts";

export const segments: Hono<GatewayEnv> = new Hono<GatewayEnv>();

segments.put("/v1/agent/sessions/:id/segments/:n", async (c) => {
  const authenticated = await authenticateAgent(c.req.raw, c.env, Date.now());
  if (!authenticated.ok) {
    const { code, ...audit } = authenticated.error;
    return refuse(c, code, audit);
  }
  const { agent, site } = authenticated.value;
  const id = parseSessionId(c.req.param("id"));
  const n = /^\d{1,8}$/.test(c.req.param("n")) ? Number(c.req.param("n")) : -1;
  if (n < 0) return badRequest(c, "The segment's number is not one.");
  const owner = id.ok ? await agentOfSession(c.env.DB, id.value, agent, site) : null;
  const session = id.ok && owner === agent ? await readSession(c.env.DB, id.value) : null;
  const enrolled = await findAgent(c.env.DB, agent);
  // The same answer for a session of another agent and for none at all.
  if (session === null || enrolled === null) {
    return refuse(c, "not_found", { reason: `agent ${agent} sent a segment of a session that it does not serve` });
  }
  const body = await readBody(c, "application/x-ndjson", MAX_SEGMENT_BYTES);
  if (!body.ok) return body.error;
  const { identity, target } = session;
  const parsed = await parseSegment(body.value, { session: session.id, agent, public_key: enrolled.public_key, identity, target });
  if (!parsed.ok) return badRequest(c, `Segment ${n}: ${parsed.error}.`);
  const joined = joins(n, parsed.value, await readNeighbours(c.env.DB, session.id, n));
  if (!joined.ok) return conflict(c, agent, n, joined.error);
  const sha256 = await crypto.subtle.digest("SHA-256", body.value);
  const put = await putSegment(c.env.RECORDINGS, session.id, n, body.value, sha256);
  if (put === "different") return conflict(c, agent, n, "other bytes are stored under its number");
  await indexSegment(c.env.DB, session.id, n, { ...parsed.value, bytes: body.value.length, now: Date.now() });
  return c.json({ stored: put === "stored", events: parsed.value.events.length } satisfies SegmentAnswer);
});

const conflict = (c: GatewayContext, agent: string, n: number, reason: string): Promise<Response> =>
  refuse(c, "conflict", { reason: `segment ${n} of agent ${agent}: ${reason}` }, { detail: `Segment ${n}: ${reason}.` });
