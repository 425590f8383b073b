/**
 * The gateway's HTTP API: shapes of requests and answers, shared by worker/ and runner/. Routes:
 *
 *   GET    /v1/healthz                                   open
 *   POST   /v1/token                                     RFC 8693 exchange, form-encoded, DPoP header (RFC 9449)
 *   GET    /v1/whoami   POST /v1/can   GET /v1/history   GET /v1/targets        any identity, about itself
 *   GET    /v1/targets/:target/connect                   WebSocket; 101 carries SESSION_HEADER and RESUME_HEADER
 *   GET    /v1/targets/:target/posture                   target:inspect; the level alone for who may connect
 *   POST   /v1/targets/:target/plans                      connect; protocol/plan.ts
 *   GET    /v1/plans    GET /v1/plans/:id                 session:read, or the plan's own identity
 *   GET    /v1/sessions/:id/resume                       WebSocket; Authorization: Resume <secret>
 *   GET    /v1/sessions/:id/agent                        WebSocket; agent JWT and DIAL_HEADER
 *   GET    /v1/agent/control                             WebSocket; agent JWT
 *   PUT    /v1/agent/sessions/:id/segments/:n            agent JWT; NDJSON; idempotent
 *   POST   /v1/agents/enrolment-tokens                   agent:enrol (or the bootstrap secret while no bundle is active)
 *   POST   /v1/agents/enrol                              enrolment token in the body
 *   GET    /v1/agents      DELETE /v1/agents/:id         agent:read, agent:revoke
 *   POST   /v1/bundles     GET /v1/bundles  GET /v1/bundles/active              policy:publish, policy:read
 *   POST   /v1/bundles/rollback                          policy:publish
 *   GET    /v1/sessions    GET /v1/sessions/:id          session:read, or the session's own identity
 *   GET    /v1/sessions/:id/commands  /recording  /keys  likewise
 *   GET    /v1/commands    GET /v1/refusals              session:read
 *   POST   /v1/sessions/:id/kill                         session:kill
 *   GET    /v1/approvals   GET /v1/approvals/:id         one's own, those one may decide, or approval:read (the list: session:read too)
 *   POST   /v1/approvals/:id/votes                       a human of a needed group; never the requester
 *   POST   /v1/chat/slack/actions                        Slack's signature (v0, HMAC-SHA256)
 *   POST   /v1/chat/webhook/votes                        Standard Webhooks' signature
 *   GET    /approvals/:id                                open: a page that says how to vote, the same for every id
 *   GET    /v1/identities  POST /v1/identities/:name/revoke  /restore           identity:read, identity:revoke
 *
 * Refusals are problem+json (`ProblemJson`). Lists are pages, newest first (agents, targets and identities by
 * name), with `?limit=` (≤ 200) and `?cursor=`. Filters of sessions and commands: `identity pipeline run job target
 * action decision since until`, of sessions also `site state`, of commands `session q` (words to search); of
 * refusals `ref identity target code since until`; of approvals `state identity target session since until`. Times are ms since the epoch or ISO 8601.
 */
import * as z from "zod";
import { BundleFiles, TargetAnnouncement } from "./agent-control.ts";
import { ApprovalState, VoteRecord } from "./approval.ts";
import { BundleProblem } from "./connect.ts";
import { EffectRecord, Outcome } from "./recording/event.ts";
import { Workload } from "./workload.ts";

export * from "./connect.ts";

const ms = z.number().int().min(0);

/** `GET /v1/healthz`. `now`: the gateway's clock. */
export const Health = z.object({ status: z.literal("ok"), now: ms });

export const Whoami = z.object({
  identity: z.string(),
  kind: z.enum(["non-human", "human"]),
  owner: z.string(),
  groups: z.array(z.string()),
  workload: Workload,
  bundle: z.number().int(),
  expires_at: ms.optional(),
});
export type Whoami = z.infer<typeof Whoami>;

/** `action` defaults to `connect`; `resource` to the target itself, else `schema.table`. */
export const CanQuestion = z.object({ target: z.string(), action: z.string().optional(), resource: z.string().max(256).optional() });
export const CanAnswer = z.object({
  outcome: Outcome,
  action: z.string(),
  resource: z.string(),
  policies: z.array(z.string()),
  approvals: z.array(z.object({ group: z.string(), min: z.number().int() })),
  reason: z.string(),
});
export type CanAnswer = z.infer<typeof CanAnswer>;

export const TargetRow = TargetAnnouncement.extend({ site: z.string(), online: z.boolean(), connect: Outcome });
export type TargetRow = z.infer<typeof TargetRow>;

export const SessionState = z.enum(["opening", "active", "ended"]);
export const SessionRow = z.object({
  id: z.string(),
  identity: z.string(),
  target: z.string(),
  protocol: z.string(),
  site: z.string(),
  agent: z.string().nullable(),
  state: SessionState,
  started_at: ms,
  ended_at: ms.nullable(),
  deadline: ms,
  end_code: z.string().nullable(),
  end_message: z.string().nullable(),
  bundle: z.number().int(),
  workload: Workload,
  commands: z.number().int(),
  denied: z.number().int(),
  sealed: z.boolean(),
});
export type SessionRow = z.infer<typeof SessionRow>;

export const CommandRow = z.object({
  session: z.string(),
  command: z.number().int(),
  at: ms,
  identity: z.string(),
  target: z.string(),
  pipeline: z.string().nullable(),
  run_id: z.string().nullable(),
  job_id: z.string().nullable(),
  via: z.string(),
  text: z.string(),
  truncated: z.boolean(),
  shape: z.string().nullable(),
  effects: z.array(EffectRecord),
  decision: Outcome,
  policies: z.array(z.string()),
  reason: z.string().nullable(),
  bundle: z.number().int(),
  status: z.string().nullable(),
  code: z.string().nullable(),
  tag: z.string().nullable(),
  rows: z.number().int().nullable(),
  ms: z.number().nullable(),
});
export type CommandRow = z.infer<typeof CommandRow>;

/** A refused request at the edge, with the reason that the peer did not get. */
export const RefusalRow = z.object({
  ref: z.string(),
  at: ms,
  code: z.string(),
  reason: z.string(),
  identity: z.string().nullable(),
  target: z.string().nullable(),
  issuer: z.string().nullable(),
  subject: z.string().nullable(),
  path: z.string(),
});
export type RefusalRow = z.infer<typeof RefusalRow>;

/** An approval in the list: who, what, when and how it ended. The command itself is only in the whole (`Approval`). */
export const ApprovalRow = z.object({
  id: z.string(),
  kind: z.enum(["command", "plan"]),
  mode: z.enum(["wait", "later"]),
  /** One whose time is over is `expired`, whether or not its object has said so yet. */
  state: ApprovalState,
  identity: z.string(),
  target: z.string(),
  site: z.string(),
  session: z.string(),
  command: z.number().int().nullable(),
  digest: z.string(),
  groups: z.array(z.string()),
  requested_at: ms,
  expires_at: ms,
  ended_at: ms.nullable(),
  by: z.array(z.string()),
  reason: z.string().nullable(),
  used_at: ms.nullable(),
});
export type ApprovalRow = z.infer<typeof ApprovalRow>;

/** `digest`: of the command that was shown to the voter; a vote for any other is refused. */
export const VoteRequest = z.object({
  vote: VoteRecord.shape.vote,
  digest: z.string().regex(/^[0-9a-f]{64}$/),
  reason: z.string().min(1).max(1024).optional(),
});
export type VoteRequest = z.infer<typeof VoteRequest>;

/** The vote counted. `needs`: what is still missing, by group; empty once the approval has ended. */
export const VoteAnswer = z.object({
  approval: z.string(),
  state: ApprovalState,
  needs: z.array(z.object({ group: z.string(), missing: z.number().int() })),
});
export type VoteAnswer = z.infer<typeof VoteAnswer>;

export const AgentRow = z.object({
  id: z.string(),
  name: z.string(),
  site: z.string(),
  public_key: z.string(),
  online: z.boolean(),
  version: z.string().nullable(),
  bundle: z.number().int().nullable(),
  enrolled_at: ms,
  last_seen_at: ms.nullable(),
  revoked_at: ms.nullable(),
  targets: z.array(TargetAnnouncement),
});
export type AgentRow = z.infer<typeof AgentRow>;

export const BundleRow = z.object({
  version: z.number().int(),
  digest: z.string(),
  published_at: ms,
  published_by: z.string(),
  active: z.boolean(),
  note: z.string().nullable(),
  rolled_back_from: z.number().int().nullable(),
});
export type BundleRow = z.infer<typeof BundleRow>;
export const BundlePush = z.object({
  files: BundleFiles,
  note: z.string().max(1024).optional(),
  /** Refuse when another version is active; 0: when any is. */
  expect_active: z.number().int().min(0).optional(),
  /** Accept a bundle that lets nobody publish the next one. */
  allow_lockout: z.boolean().optional(),
});
export type BundlePush = z.infer<typeof BundlePush>;
/** Publishes the files of version `to` again, as a new version. */
export const BundleRollback = BundlePush.omit({ files: true }).extend({ to: z.number().int().min(1) });
/** `sites`: who was told. A site that could not be reached takes the version when its agents connect. */
export const BundlePushAnswer = BundleRow.extend({
  warnings: z.array(BundleProblem),
  sites: z.array(z.object({ site: z.string(), delivered: z.boolean() })),
});
export type BundlePushAnswer = z.infer<typeof BundlePushAnswer>;
export const ActiveBundleAnswer = BundleRow.extend({ files: BundleFiles });
export type ActiveBundleAnswer = z.infer<typeof ActiveBundleAnswer>;

export const EnrolmentTokenRequest = z.object({
  site: z.string(),
  targets: z.array(z.string()).max(500).optional(),
  ttl_s: z
    .number()
    .int()
    .min(60)
    .max(7 * 24 * 3600)
    .optional(),
});
export const EnrolmentTokenAnswer = z.object({ token: z.string(), site: z.string(), expires_at: ms });
export type EnrolmentTokenAnswer = z.infer<typeof EnrolmentTokenAnswer>;
/** `public_key`: the agent's Ed25519 public key as a JWK (OKP), RFC 8037. */
export const EnrolRequest = z.object({
  token: z.string().max(256),
  name: z.string(),
  public_key: z.object({ kty: z.literal("OKP"), crv: z.literal("Ed25519"), x: z.string().length(43) }),
});
export const EnrolAnswer = z.object({ agent: z.string(), site: z.string(), name: z.string() });
export type EnrolAnswer = z.infer<typeof EnrolAnswer>;

export const KillRequest = z.object({ reason: z.string().max(512).optional() });
/** `ended`: false when it was over already. */
export const KillAnswer = z.object({ session: z.string(), ended: z.boolean() });
export type KillAnswer = z.infer<typeof KillAnswer>;
export const RevokeRequest = z.object({ reason: z.string().max(512).optional() });
export const RevokeAnswer = z.object({ identity: z.string(), revoked_at: ms.nullable(), sessions_ended: z.array(z.string()) });
export type RevokeAnswer = z.infer<typeof RevokeAnswer>;
export const IdentityRow = z.object({
  name: z.string(),
  kind: z.enum(["non-human", "human"]),
  owner: z.string(),
  purpose: z.string(),
  environment: z.string().nullable(),
  groups: z.array(z.string()),
  revoked_at: ms.nullable(),
  live_sessions: z.number().int(),
  last_used_at: ms.nullable(),
});
export type IdentityRow = z.infer<typeof IdentityRow>;

/** What `verify` needs: the Ed25519 public key (`x` of the JWK, base64url) of the agent that recorded the session. */
export const SessionKeys = z.object({
  session: z.string(),
  keys: z.array(z.object({ agent: z.string(), name: z.string(), public_key: z.string(), enrolled_at: ms, revoked_at: ms.nullable() })),
});
export type SessionKeys = z.infer<typeof SessionKeys>;

export const SegmentAnswer = z.object({ stored: z.boolean(), events: z.number().int() });
export type SegmentAnswer = z.infer<typeof SegmentAnswer>;

/** A page of rows. */
export const page = <T extends z.ZodType>(row: T) => z.object({ rows: z.array(row), cursor: z.string().nullable() });
