/**
 * The gateway's composition root: the HTTP app of all routes, the scheduled cleaning, and the Durable Object classes. Every answer that is
 * not a WebSocket carries the same defensive headers; there is no CORS, since no browser page is a client.
 */
import { Hono } from "hono";
import type { Env } from "../durable-objects/env.ts";
import type { GatewayEnv } from "./env.ts";
import { forget } from "./forget.ts";
import { problemResponse, refuseUnexpected } from "./refusal.ts";
import { agents } from "./routes/agents.ts";
import { approvals } from "./routes/approvals.ts";
import { bundles } from "./routes/bundles.ts";
import { chat } from "./routes/chat.ts";
import { commands } from "./routes/commands.ts";
import { connect } from "./routes/connect.ts";
import { health } from "./routes/health.ts";
import { identities } from "./routes/identities.ts";
import { plans } from "./routes/plans.ts";
import { posture } from "./routes/posture.ts";
import { segments } from "./routes/segments.ts";
import { sessions } from "./routes/sessions.ts";
import { sockets } from "./routes/sockets.ts";
import { targets } from "./routes/targets.ts";
import { token } from "./routes/token.ts";
import { whoami } from "./routes/whoami.ts";

export { ApprovalDO } from "./approvals.ts";
export { IdentityDO } from "../durable-objects/identity/object.ts";
export { SessionDO } from "../durable-objects/session/object.ts";
export { SiteDO } from "../durable-objects/site/object.ts";

const HEADERS = {
  "cache-control": "no-store",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "referrer-policy": "no-referrer",
  "strict-transport-security": "max-age=31536000",
  "x-content-type-options": "nosniff",
};

const app = new Hono<GatewayEnv>();

app.use(async (c, next) => {
  await next();
  // A coupled socket's 101 is passed on untouched, which lets the Worker leave its path.
  if (c.res.status === 101) return;
  for (const [name, value] of Object.entries(HEADERS)) c.res.headers.set(name, value);
});

for (const routes of [
  health,
  token,
  whoami,
  targets,
  posture,
  plans,
  connect,
  sockets,
  sessions,
  commands,
  bundles,
  agents,
  segments,
  identities,
  approvals,
  chat,
]) {
  app.route("/", routes);
}

// No route: nobody was refused anything, so there is nothing to audit.
app.notFound(() => problemResponse("not_found", null));
app.onError((error, c) => refuseUnexpected(c, error));

export default {
  fetch: app.fetch,
  /** By the cron trigger of wrangler.toml. */
  scheduled: (_controller, env) => forget(env, Date.now()),
} satisfies ExportedHandler<Env>;
