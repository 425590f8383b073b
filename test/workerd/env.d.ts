/** What tests in workerd find in `env` (the gateway's own bindings and those of vitest.config.ts) and in `exports` (the Worker). */
import type { D1Migration } from "cloudflare:test";
import type { Env as GatewayEnv } from "../../durable-objects/env.ts";
import type * as Gateway from "../../worker/index.ts";

declare global {
  namespace Cloudflare {
    interface Env extends GatewayEnv {
      readonly TEST_MIGRATIONS: D1Migration[];
    }
    interface GlobalProps {
      readonly mainModule: typeof Gateway;
    }
  }
}
