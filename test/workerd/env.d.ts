/** What tests in workerd find in `env`: the gateway's own bindings and those of vitest.config.ts. */
declare namespace Cloudflare {
  interface Env extends Readonly<import("../../durable-objects/env.ts").Env> {
    readonly TEST_MIGRATIONS: import("cloudflare:test").D1Migration[];
  }
}
