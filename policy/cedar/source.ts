/**
 * Where a compiled policy came from: a grant in YAML, a file of Cedar, or the agent's floor. What the engine, the
 * linter and explain share.
 */
import type { Place } from "../problem.ts";
import type { HoldTerms } from "../types.ts";
import type { PolicyJson } from "./module.ts";

export interface PolicySource {
  /** `identity/orders-ci#grant-1`, `policies/guardrails.cedar#policy0`, or the policy's `@id`. */
  readonly id: string;
  readonly origin: "grant" | "cedar" | "floor";
  readonly effect: "permit" | "forbid";
  /** The Cedar text, as written or as generated. */
  readonly text: string;
  readonly file: string;
  /** Where it begins in `file`. */
  readonly place: Place;
  /** Groups of `@approval`, all of which must consent; empty when it needs none. */
  readonly approvals: readonly string[];
  /** Distinct people of each group: `@approval_min`, default 1. */
  readonly approvalMin: number;
  /** `@hold_in_transaction` and `@approval_ttl`, or their defaults. Of no meaning where `approvals` is empty. */
  readonly hold: HoldTerms;
  readonly reason: string | undefined;
  /** Cedar's JSON form of `text`. */
  readonly json: PolicyJson;
}
