/**
 * An approval: a request for human consent to one exact command or plan, as the agent words it, the edge keeps it and
 * people see it. The digest is over everything that gives the command its meaning; what is shown is what was hashed.
 */
import * as z from "zod";
import { EffectRecord } from "./recording/event.ts";
import { Workload } from "./workload.ts";

const name = z.string().min(1).max(63);
const ms = z.number().int().min(0);
const hex64 = z.string().regex(/^[0-9a-f]{64}$/);

/** One parameter of the command: text, SQL NULL, or binary bytes in hex. */
export const ApprovalParameter = z.union([z.string(), z.null(), z.object({ hex: z.string() })]);
export type ApprovalParameter = z.infer<typeof ApprovalParameter>;

/** The exact command that is to be consented to. Nothing of it is masked or cut: people consent to what will run. */
export const ApprovalSubject = z.object({
  /** `command`: one held command. `plan`: statements in order, each of which may run once. */
  kind: z.enum(["command", "plan"]),
  target: name,
  protocol: z.string().max(32),
  /** One entry for a command; a plan's held statements in order. */
  statements: z
    .array(z.object({ text: z.string(), parameters: z.array(ApprovalParameter).max(65_535).optional() }))
    .min(1)
    .max(10_000),
  /** What names in the text depend on, in the protocol's words: database, role, search_path. */
  environment: z.record(z.string().max(63), z.string().max(4096)),
  /** Definitions of the objects it names, as the target had them (PG-48); empty where there are none. */
  objects: z.array(z.object({ name: z.string().max(512), definition: hex64 })).max(5_000),
});
export type ApprovalSubject = z.infer<typeof ApprovalSubject>;

/** The text whose SHA-256 (lower-case hex, over UTF-8) is a subject's digest: JSON with keys in this order. */
export function approvalDigestText(subject: ApprovalSubject): string {
  const { kind, target, protocol, statements, environment, objects } = subject;
  return JSON.stringify([
    "sallyport-approval-v1",
    kind,
    target,
    protocol,
    statements.map(({ text, parameters }) => [text, parameters ?? []]),
    Object.keys(environment)
      .sort()
      .map((key) => [key, environment[key]]),
    objects.map(({ name: object, definition }) => `${object} ${definition}`).sort(),
  ]);
}

/** What one group must give: votes of `min` different people. */
export const ApprovalNeed = z.object({ group: name, min: z.number().int().min(1).max(20) });
export type ApprovalNeed = z.infer<typeof ApprovalNeed>;

/** The agent's request. The edge adds who asks (from the session it dispatched) and keeps the whole. */
export const ApprovalRequest = z.object({
  /** Minted by the agent, 128 random bits; a repeated request with the same id and digest is the same approval. */
  approval: z.string().regex(/^apr_[0-9a-z]{26}$/),
  session: z.string().min(1).max(64),
  /** Its number in the recording; absent for a plan. */
  command: z.number().int().min(0).optional(),
  /** `wait`: the command is held in the live session. `later`: refused now; it may run once after approval. */
  mode: z.enum(["wait", "later"]),
  subject: ApprovalSubject,
  digest: hex64,
  effects: z.array(EffectRecord).max(5_000),
  needs: z.array(ApprovalNeed).min(1).max(32),
  /** Policies that hold it, and their sentence. */
  policies: z.array(z.string().max(256)).max(64),
  reason: z.string().max(1024),
  bundle: z.number().int().min(1),
  /** How long votes are taken; the edge caps it. ms. */
  ttl: ms,
  /** The session holds locks while it waits (PG-49). */
  in_transaction: z.boolean().default(false),
  /** The target's estimate, where asking for it runs nothing (PG-39): EXPLAIN's text. */
  estimate: z.string().max(16_384).optional(),
});
export type ApprovalRequest = z.infer<typeof ApprovalRequest>;

/** Exactly one of the last four is an approval's end. `used`: an approved `later` request that has run. */
export const ApprovalState = z.enum(["pending", "approved", "denied", "expired", "withdrawn"]);
export type ApprovalState = z.infer<typeof ApprovalState>;

export const VoteDoor = z.enum(["slack", "webhook", "api"]);
export type VoteDoor = z.infer<typeof VoteDoor>;

/** One person's vote that counted, or an attempt that did not (`refused` says why). */
export const VoteRecord = z.object({
  at: ms,
  /** The declared human; for a refused vote of nobody known: the channel's own id of them. */
  voter: z.string().max(256),
  door: VoteDoor,
  vote: z.enum(["approve", "deny"]),
  groups: z.array(name).max(64),
  reason: z.string().max(1024).optional(),
  refused: z.string().max(64).optional(),
});
export type VoteRecord = z.infer<typeof VoteRecord>;

/** How it ended, for the agent, the recording and people. */
export const ApprovalOutcome = z.object({
  state: z.enum(["approved", "denied", "expired", "withdrawn"]),
  at: ms,
  /** Groups whose need is met; policy decides again with them. */
  groups: z.array(name).max(32),
  /** Who consented or refused, by declared name. */
  by: z.array(z.string().max(256)).max(64),
  reason: z.string().max(1024).optional(),
});
export type ApprovalOutcome = z.infer<typeof ApprovalOutcome>;

/** What became of telling one channel of a request or its outcome. */
export const NoticeRecord = z.object({
  /** `slack C0123456`, `webhook hooks.example.com`. */
  channel: z.string().max(256),
  event: z.enum(["requested", "settled"]),
  state: z.enum(["due", "sent", "failed", "skipped"]),
  attempts: z.number().int().min(0),
  error: z.string().max(512).optional(),
});
export type NoticeRecord = z.infer<typeof NoticeRecord>;

/** The whole, as `GET /v1/approvals/:id` answers. */
export const Approval = ApprovalRequest.extend({
  identity: name,
  workload: Workload,
  site: name,
  agent: z.string(),
  state: ApprovalState,
  requested_at: ms,
  expires_at: ms,
  votes: z.array(VoteRecord),
  outcome: ApprovalOutcome.optional(),
  /** Attempts to vote that were refused after the object stopped keeping each; all are in the audit of refusals. */
  refused_votes_not_kept: z.number().int().min(0).default(0),
  /** When an approved `later` request ran, and the approval or plan that its consent went to. */
  used_at: ms.optional(),
  used_by: z.string().max(64).optional(),
  /** The earlier approval whose consent this request used up instead of asking again. */
  consent_of: z.string().max(64).optional(),
  notices: z.array(NoticeRecord).default([]),
});
export type Approval = z.infer<typeof Approval>;
