/** `/v1/commands` and `/v1/history`: the searchable index, of everybody and of oneself; `/v1/refusals`: the audit of refusals. */
import { Hono } from "hono";
import * as z from "zod";
import { Outcome } from "../../protocol/recording/event.ts";
import { listCommands, searchExpression, type CommandFilters } from "../../store/commands.ts";
import { listRefusals } from "../../store/refusals.ts";
import { badRequest, Filter, readQuery, Time } from "../body.ts";
import type { GatewayContext, GatewayEnv } from "../env.ts";
import { admit, admitTo } from "../guard.ts";

export const commands: Hono<GatewayEnv> = new Hono<GatewayEnv>();

const HistoryFilters = z.object({
  session: Filter.optional(),
  pipeline: Filter.optional(),
  run: Filter.optional(),
  job: Filter.optional(),
  target: Filter.optional(),
  action: Filter.optional(),
  decision: Outcome.optional(),
  since: Time.optional(),
  until: Time.optional(),
  q: z.string().min(1).optional(),
});

/** `force` holds what the caller may not choose. */
async function answer(c: GatewayContext, filters: z.ZodObject, force: CommandFilters): Promise<Response> {
  const query = await readQuery(c, filters);
  if (!query.ok) return query.error;
  const { q, ...rest } = query.value.filters as z.infer<typeof HistoryFilters>;
  if (q === undefined) return c.json(await listCommands(c.env.DB, { ...rest, ...force }, query.value.page));
  const match = searchExpression(q);
  if (!match.ok) return badRequest(c, `q: ${match.error}.`);
  return c.json(await listCommands(c.env.DB, { ...rest, ...force, match: match.value }, query.value.page));
}

commands.get("/v1/commands", async (c) => {
  const admitted = await admitTo(c, "session:read");
  return admitted.ok ? answer(c, HistoryFilters.extend({ identity: Filter.optional() }), {}) : admitted.error;
});

commands.get("/v1/history", async (c) => {
  const admitted = await admit(c);
  return admitted.ok ? answer(c, HistoryFilters, { identity: admitted.value.caller.identity.name }) : admitted.error;
});

const RefusalFilters = z.object({
  ref: Filter.optional(),
  identity: Filter.optional(),
  target: Filter.optional(),
  code: Filter.optional(),
  since: Time.optional(),
  until: Time.optional(),
});

commands.get("/v1/refusals", async (c) => {
  const admitted = await admitTo(c, "session:read");
  if (!admitted.ok) return admitted.error;
  const query = await readQuery(c, RefusalFilters);
  return query.ok ? c.json(await listRefusals(c.env.DB, query.value.filters, query.value.page)) : query.error;
});
