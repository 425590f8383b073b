/** `/v1/healthz`: the Worker runs. Says nothing of what it holds. */
import { Hono } from "hono";
import type { GatewayEnv } from "../env.ts";

export const health: Hono<GatewayEnv> = new Hono<GatewayEnv>();

health.get("/v1/healthz", (c) => c.json({ status: "ok" }));
