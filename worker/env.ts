/** The Worker's environment as Hono passes it about. */
import type { Context } from "hono";
import type { Env } from "../durable-objects/env.ts";

export interface GatewayEnv {
  Bindings: Env;
}

export type GatewayContext = Context<GatewayEnv>;
