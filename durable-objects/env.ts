/** Bindings of wrangler.toml, as the Worker and its Durable Objects see them. */
import type { ApprovalObject } from "./approval/object.ts";
import type { IdentityDO } from "./identity/object.ts";
import type { SessionDO } from "./session/object.ts";
import type { SiteDO } from "./site/object.ts";

export interface Env {
  readonly SESSIONS: DurableObjectNamespace<SessionDO>;
  readonly SITES: DurableObjectNamespace<SiteDO>;
  readonly IDENTITIES: DurableObjectNamespace<IdentityDO>;
  readonly APPROVALS: DurableObjectNamespace<ApprovalObject>;
  readonly DB: D1Database;
  readonly RECORDINGS: R2Bucket;
  /** Public origin, e.g. `https://gate.example.com`; empty: the request's own. */
  readonly SALLYPORT_ORIGIN: string;
  readonly SALLYPORT_COUPLING: "coupled" | "relay";
  /** Accepted for the first push and enrolment only, until a bundle is active. */
  readonly SALLYPORT_BOOTSTRAP_SECRET?: string;
  /** Slack's Web API elsewhere than at slack.com: https, or http on loopback (a stand-in). */
  readonly SALLYPORT_SLACK_API?: string;
  /** Set by `sallyport dev` alone: origin of the local issuer (worker/identity/dev-issuer.ts). */
  readonly SALLYPORT_DEV_ISSUER?: string;
}
