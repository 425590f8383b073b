/** Which agents are connected now, by asking their sites' objects. A site that does not answer counts as offline. */
import type { Env } from "../durable-objects/env.ts";
import { logError } from "./refusal.ts";

/** Ids of the connected agents of these sites. */
export async function onlineAgents(env: Pick<Env, "SITES">, sites: Iterable<string>): Promise<Set<string>> {
  const asked = await Promise.all(
    [...new Set(sites)].map(async (site) => {
      try {
        return await env.SITES.getByName(site).agents();
      } catch (error) {
        logError("a site's object did not answer", error, { site });
        return [];
      }
    }),
  );
  return new Set(asked.flat().map((agent) => agent.id));
}
