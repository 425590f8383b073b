/** `/v1/healthz`: the Worker runs, and what time it has (ms since the epoch), for `sallyport doctor`. Says nothing of what it holds. */
import { Hono } from "hono";
import type { GatewayEnv } from "../env.ts";

export const health: Hono<GatewayEnv> = new Hono<GatewayEnv>();

health.get("/v1/healthz", (c) => c.json({ status: "ok", now: Date.now() }));
