/**
 * What the policy room takes and gives. No I/O, no clock: the same code decides `connect` at the edge and
 * commands in the agent.
 */
import type { BundleFiles } from "../protocol/agent-control.ts";
import type { Outcome } from "../protocol/recording/event.ts";
import type { Result } from "../protocol/result.ts";
import type { Workload } from "../protocol/workload.ts";
import type { PolicySource } from "./cedar/source.ts";

/** A place in the bundle where something is wrong, and what to write instead. `line` and `column` count from 1. */
export interface Problem {
  readonly file: string;
  readonly line?: number;
  readonly column?: number;
  readonly severity: "error" | "warning";
  /** Stable, e.g. `match-weak`, `yaml-syntax`, `cedar-type`. */
  readonly rule: string;
  readonly message: string;
}

/** What an action applies to. Printed form: `orders-db`, `orders-db/public.orders`, `orders-db/public.f()`, `gateway`. */
export type Resource =
  | { readonly type: "gateway" }
  | { readonly type: "target"; readonly target: string }
  | { readonly type: "table"; readonly target: string; readonly schema: string; readonly table: string }
  | { readonly type: "schema"; readonly target: string; readonly schema: string }
  | { readonly type: "function"; readonly target: string; readonly schema: string; readonly name: string };

export interface DecisionRequest {
  readonly identity: string;
  /** `connect`, `pg:select`, `policy:publish`, …; an action the schema does not know is denied. */
  readonly action: string;
  readonly resource: Resource;
  readonly context: {
    /** Groups that have approved this exact command. */
    readonly approvals: readonly string[];
    readonly workload: Workload;
    /** ms since the epoch. */
    readonly now: number;
  };
}

export interface Decision {
  readonly outcome: Outcome;
  /** Ids of the policies that determined it, for the record and the refusal's text. Empty when nothing permits. */
  readonly policies: readonly string[];
  /** For `hold`: who must consent. */
  readonly approvals: readonly { readonly group: string; readonly min: number }[];
  /** The `@reason` of a determining policy, or a general sentence. */
  readonly reason: string;
}

/** Facts about targets that policies may use; the agent's announcement, not the client's word. */
export interface TargetFacts {
  readonly name: string;
  readonly protocol: string;
  readonly environment?: string | undefined;
  readonly labels: readonly string[];
}

/** One policy's part in a decision. `near-miss`: a permit of which all but one part holds. */
export interface ExplainedPolicy {
  readonly id: string;
  readonly effect: "permit" | "forbid";
  readonly file: string;
  readonly line: number;
  readonly verdict: "permits" | "forbids" | "waits" | "near-miss";
  readonly why: string;
}

export interface Explanation {
  readonly decision: Decision;
  readonly policies: readonly ExplainedPolicy[];
  /** The whole, several lines, for a terminal. Holds names from the bundle and the request: escape control characters. */
  readonly text: string;
}

/** A bundle that parsed, type-checked and compiled. Immutable. */
export interface Policy {
  readonly gateway: GatewayConfig;
  readonly identities: ReadonlyMap<string, IdentityDeclaration>;
  /** By id, grants' permits included: for `explain` and for showing where a decision came from. */
  readonly policies: ReadonlyMap<string, PolicySource>;
  /** Problems of severity `warning`. */
  readonly warnings: readonly Problem[];
  /**
   * Never throws: what cannot be decided is a deny whose reason says so. Every resource but `gateway` needs its
   * target's facts: without them a forbid on an environment or a label could not fire, so the answer is deny.
   */
  decide(request: DecisionRequest, target?: TargetFacts): Decision;
  /** In words, for people: slower than `decide`, whose answer it holds. */
  explain(request: DecisionRequest, target?: TargetFacts): Explanation;
  /** All of them must be allowed: any deny ⇒ deny, else any hold ⇒ hold (union of approvals), else allow. Empty ⇒ deny. */
  decideAll(requests: readonly DecisionRequest[], target?: TargetFacts): Decision;
}

/** `floor`: an agent's own Cedar files, by path; they may hold only `forbid` and no bundle overrides them. */
export type CompileBundle = (files: BundleFiles, floor?: BundleFiles) => Result<Policy, readonly Problem[]>;

export interface IssuerConfig {
  /** Exact `iss`. */
  readonly issuer: string;
  readonly provider: Workload["provider"];
  /** Overrides discovery; https, or http on loopback. */
  readonly jwks_uri?: string | undefined;
  /** Asymmetric JWS algorithms accepted; default RS256 and ES256. */
  readonly algorithms: readonly string[];
  /** Exact audience for tokens of this issuer; default the gateway's. */
  readonly audience: string;
  /** s; default MAX_TOKEN_AGE_S, up to 24 h for providers whose tokens live as long as the job. */
  readonly max_token_age_s: number;
}

export interface GatewayConfig {
  readonly audience: string;
  readonly issuers: readonly IssuerConfig[];
  /** Longest session, s. */
  readonly session_max_s: number;
  readonly sessions_per_identity: number;
  /** How long an agent may decide with a bundle it could not refresh, s. */
  readonly policy_max_stale_s: number;
  readonly retention_days: number;
}

/** A claim must equal one of the strings. */
export type ClaimMatch = Readonly<Record<string, readonly string[]>>;

export interface IdentityDeclaration {
  readonly name: string;
  readonly kind: "non-human" | "human";
  readonly owner: string;
  readonly purpose: string;
  readonly environment?: string | undefined;
  readonly groups: readonly string[];
  /** Any one entry suffices; every claim of an entry must match. Claims are the token's own names. */
  readonly match: readonly { readonly issuer: string; readonly claims: ClaimMatch; readonly allow_weak_match: boolean }[];
  readonly file: string;
}
