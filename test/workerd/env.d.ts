/** What tests in workerd find in `env`: the gateway's own bindings and those of vitest.config.ts. */
import type { D1Migration } from "cloudflare:test";
import type { Env as GatewayEnv } from "../../durable-objects/env.ts";

declare global {
  namespace Cloudflare {
    interface Env extends GatewayEnv {
      readonly TEST_MIGRATIONS: D1Migration[];
    }
  }
}
