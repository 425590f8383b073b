/**
 * Messages of the control socket that an agent dials to its SiteDO. JSON text, one schema each way.
 * Requests that want an answer carry `id`; the answer repeats it.
 */
import * as z from "zod";
import { ApprovalOutcome, ApprovalRequest } from "./approval.ts";
import { errorCode } from "./stream/control.ts";
import { Workload } from "./workload.ts";

const name = z.string().min(1).max(63);
const id = z.string().min(1).max(64);
const ms = z.number().int().min(0);

export const TARGET_PROTOCOLS = ["postgres", "ssh", "kubernetes", "http", "tunnel"] as const;

/** What an agent announces of a target: facts for policy and clients, never a credential or an address. */
export const TargetAnnouncement = z.object({
  name,
  protocol: z.enum(TARGET_PROTOCOLS),
  environment: z.string().max(63).optional(),
  labels: z.array(z.string().max(63)).max(32).default([]),
  database: z.string().max(63).optional(),
});
export type TargetAnnouncement = z.infer<typeof TargetAnnouncement>;

/** Files of the bundle directory, by path relative to it. */
export const BundleFiles = z.record(z.string().max(512), z.string());
export type BundleFiles = z.infer<typeof BundleFiles>;

/** The text whose SHA-256 (lower-case hex, over UTF-8) is a bundle's digest: `[[path,content],…]` as JSON, paths in UTF-16 order. */
export const bundleDigestText = (files: BundleFiles): string =>
  JSON.stringify(
    Object.keys(files)
      .sort()
      .map((path) => [path, files[path]]),
  );

/** Everything an agent needs to serve one session. The dial secret authorises exactly one session's socket. */
export const Dispatch = z.object({
  type: z.literal("dispatch"),
  session: id,
  target: name,
  identity: name,
  workload: Workload,
  dial_secret: z.string().min(32).max(128),
  /** Absolute, ms since the epoch. */
  started_at: ms,
  deadline: ms,
  bundle: z.number().int().min(1),
  /** Policy ids that allowed `connect`. */
  policies: z.array(z.string().max(256)).max(64),
  /** Approval groups that consented to the session, for the policy context. */
  approvals: z.array(name).max(32).default([]),
  /** What a held command does to its client: waits in the session, or is refused at once with the approval's id. */
  hold: z.enum(["wait", "fail"]).default("wait"),
  /** `run --plan`: only these statements may run (plus harmless session ones), in this order, each as often as it is listed. */
  plan: z
    .object({
      id,
      /** By canonical digest (docs/protocol.md, "Plans"); `approved`: people consented to it. */
      statements: z.array(z.object({ digest: z.string().regex(/^[0-9a-f]{64}$/), approved: z.boolean() })).max(10_000),
      /** The approval, where some of them needed one, and the groups that consented to those. */
      approval: id.optional(),
      approvals: z.array(name).max(32),
    })
    .optional(),
  /** The session is known: its socket was lost, dial again (resume). */
  redial: z.boolean(),
});
export type Dispatch = z.infer<typeof Dispatch>;

/** Text that the edge answers by itself, without waking the object: an agent that sends it shows that its socket is alive. */
export const AGENT_PING = "ping";
export const AGENT_PONG = "pong";

/** A question about a target that needs no session: the agent's protocol room answers (TargetServer.ask). */
export const Question = z.discriminatedUnion("kind", [
  /** `sallyport doctor TARGET`: what the login may do, and which masking guarantee that gives. */
  z.object({ kind: z.literal("posture"), target: name }),
  /** `sallyport plan TARGET`: decide every statement for this identity without running any. */
  z.object({ kind: z.literal("plan"), target: name, identity: name, workload: Workload, text: z.string() }),
]);
export type Question = z.infer<typeof Question>;

export const EdgeToAgent = z.discriminatedUnion("type", [
  z.object({ type: z.literal("welcome"), agent: id, site: name, gateway: z.string().max(256), now: ms }),
  /** The active bundle: at welcome, and on each push or rollback. `version` only grows (GW-27). */
  z.object({ type: z.literal("bundle"), version: z.number().int().min(1), digest: z.string().length(64), files: BundleFiles }),
  Dispatch,
  /** The approval exists and people are asked; until this comes the agent repeats its request after each reconnect. */
  z.object({ type: z.literal("approval_opened"), approval: id, expires_at: ms, url: z.string().max(512) }),
  /** It cannot be asked for: quota, no such session, another digest under the same id. */
  z.object({ type: z.literal("approval_refused"), approval: id, code: errorCode, message: z.string().max(1024) }),
  z.object({ type: z.literal("approval_settled"), approval: id, outcome: ApprovalOutcome }),
  z.object({ type: z.literal("ask"), id, question: Question }),
  z.object({ type: z.literal("kill"), session: id, code: errorCode, message: z.string().max(1024) }),
  /** Agent's own revocation or a duplicate taking its place: close and do not redial before told otherwise. */
  z.object({ type: z.literal("bye"), code: errorCode, message: z.string().max(1024) }),
]);
export type EdgeToAgent = z.infer<typeof EdgeToAgent>;

export const AgentToEdge = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("hello"),
    version: z.string().max(64),
    targets: z.array(TargetAnnouncement).max(500),
    bundle: z.number().int().min(0),
    sessions: z.array(id).max(10_000),
  }),
  /** The agent will not take a dispatched session. */
  z.object({ type: z.literal("refused"), session: id, code: errorCode, message: z.string().max(1024) }),
  /** A session is over at the agent; final. */
  z.object({ type: z.literal("ended"), session: id, code: errorCode, message: z.string().max(1024), at: ms }),
  z.object({ type: z.literal("bundle_applied"), version: z.number().int().min(1), error: z.string().max(4096).optional() }),
  z.object({ type: z.literal("draining") }),
  z.object({ type: z.literal("approval_request"), request: ApprovalRequest }),
  /** The client cancelled, left, or policy no longer holds the command. Idempotent. */
  z.object({ type: z.literal("approval_withdraw"), session: id, approval: id, reason: z.string().max(1024) }),
  z.object({
    type: z.literal("answer"),
    id,
    /** JSON by the question's kind (protocol/posture.ts, protocol/plan.ts), or why there is none. */
    answer: z.union([
      z.object({ ok: z.literal(true), value: z.unknown() }),
      z.object({ ok: z.literal(false), code: errorCode, message: z.string().max(1024) }),
    ]),
  }),
]);
export type AgentToEdge = z.infer<typeof AgentToEdge>;
