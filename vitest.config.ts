/**
 * Three projects: `node` (pure code, agent, runner), `workerd` (Worker and Durable Objects in the real
 * runtime), `e2e` (real processes: workerd, agent, PostgreSQL, psql).
 */
import { cloudflareTest, readD1Migrations } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";
import { SLACK_BOT_TOKEN, SLACK_PORT, SLACK_SIGNING_SECRET, WEBHOOK_SECRET } from "./test/support/chat-secrets.ts";

export default defineConfig(async () => ({
  test: {
    projects: [
      { test: { name: "node", include: ["test/node/**/*.test.ts"], environment: "node", testTimeout: 20_000 } },
      {
        plugins: [
          cloudflareTest({
            wrangler: { configPath: "./wrangler.toml" },
            miniflare: {
              bindings: {
                TEST_MIGRATIONS: await readD1Migrations("./migrations"),
                SALLYPORT_BOOTSTRAP_SECRET: "bootstrap-for-tests-only-0123456789",
                SALLYPORT_SLACK_API: `http://127.0.0.1:${SLACK_PORT}/api`,
                SLACK_DBA: JSON.stringify({ bot_token: SLACK_BOT_TOKEN, signing_secret: SLACK_SIGNING_SECRET }),
                DBA_WEBHOOK: WEBHOOK_SECRET,
              },
            },
          }),
        ],
        test: {
          name: "workerd",
          include: ["test/workerd/**/*.test.ts"],
          globalSetup: ["./test/support/issuer-server.ts", "./test/support/chat-server.ts"],
          setupFiles: ["./test/workerd/setup.ts"],
          testTimeout: 20_000,
        },
      },
      {
        test: {
          name: "e2e",
          include: ["test/e2e/**/*.test.ts"],
          environment: "node",
          testTimeout: 120_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
    ],
  },
}));
