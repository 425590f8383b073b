/**
 * Plans: SQL that was decided statement by statement before any of it runs. What the agent answers the question with
 * (`PlanAnswer`), what the gateway keeps and tells (`Plan`). Texts for people are masked by the detectors; the exact text
 * is the requester's own, kept with the plan and shown to those who are asked to consent.
 */
import * as z from "zod";
import { ApprovalNeed, ApprovalOutcome } from "./approval.ts";
import { EffectRecord, Outcome } from "./recording/event.ts";
import { Workload } from "./workload.ts";

const ms = z.number().int().min(0);
const hex64 = z.string().regex(/^[0-9a-f]{64}$/);
const index = z.number().int().min(0);

export const PlannedStatement = z.object({
  /** UTF-16 indexes into the plan's text, and the line it begins on, from 1. */
  start: index,
  end: index,
  line: z.number().int().min(1),
  /** Canonical digest (docs/protocol.md, "Plans"). */
  digest: hex64,
  /** After detectors and without secrets: what may be listed. */
  text: z.string(),
  effects: z.array(EffectRecord).max(5_000),
  decision: Outcome,
  policies: z.array(z.string().max(256)).max(64),
  /** Why it is not simply allowed. */
  reason: z.string().max(1024).optional(),
  /** For `hold`: who must consent, and how long votes are taken, ms. */
  needs: z.array(ApprovalNeed).max(32),
  ttl: ms.optional(),
});
export type PlannedStatement = z.infer<typeof PlannedStatement>;

/** The agent's answer. */
export const PlanAnswer = z.object({
  statements: z.array(PlannedStatement).min(1).max(10_000),
  /** What names in the texts depend on: database, role, search_path. */
  environment: z.record(z.string().max(63), z.string().max(4096)),
  bundle: index,
});
export type PlanAnswer = z.infer<typeof PlanAnswer>;

export const PlanRequest = z.object({ text: z.string().min(1) });
export type PlanRequest = z.infer<typeof PlanRequest>;

/** `allowed` and `approved` may be run, once; the rest not. `used`: a session ran by it. */
export const PlanState = z.enum(["allowed", "pending", "approved", "denied", "expired", "withdrawn", "used"]);
export type PlanState = z.infer<typeof PlanState>;

/** As `POST /v1/targets/:target/plans` and `GET /v1/plans/:id` answer. */
export const Plan = z.object({
  id: z.string(),
  identity: z.string(),
  target: z.string(),
  workload: Workload,
  state: PlanState,
  /** SHA-256 of the text's UTF-8, hex. */
  text_sha256: hex64,
  statements: z.array(PlannedStatement),
  bundle: index,
  created_at: ms,
  /** From then on it cannot be run. */
  expires_at: ms,
  /** The approval of its held statements, where there are some, and how it ended. */
  approval: z.string().optional(),
  outcome: ApprovalOutcome.optional(),
  /** The session that ran by it. */
  used_by: z.string().optional(),
});
export type Plan = z.infer<typeof Plan>;

/** A row of `GET /v1/plans`. */
export const PlanRow = z.object({
  id: z.string(),
  identity: z.string(),
  target: z.string(),
  verdict: z.enum(["allowed", "held", "denied"]),
  approval: z.string().nullable(),
  bundle: index,
  created_at: ms,
  expires_at: ms,
  used_by: z.string().nullable(),
  text_sha256: hex64,
});
export type PlanRow = z.infer<typeof PlanRow>;
