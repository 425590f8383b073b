/**
 * What the policy room takes and gives. No I/O, no clock: the same code decides `connect` at the edge and
 * commands in the agent.
 */
import type { BundleFiles } from "../protocol/agent-control.ts";
import type { Outcome } from "../protocol/recording/event.ts";
import type { Result } from "../protocol/result.ts";
import type { Workload } from "../protocol/workload.ts";
import type { PolicySource } from "./cedar/source.ts";
import type { DetectorClass } from "./detectors.ts";
import type { JsonPath } from "./json-path.ts";

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

/** What an action applies to. Printed form: `orders-db`, `orders-db/public.orders`, `orders-db/public.f()`, `orders-db/[email]`, `gateway`. */
export type Resource =
  | { readonly type: "gateway" }
  | { readonly type: "target"; readonly target: string }
  | { readonly type: "table"; readonly target: string; readonly schema: string; readonly table: string }
  | { readonly type: "schema"; readonly target: string; readonly schema: string }
  | { readonly type: "function"; readonly target: string; readonly schema: string; readonly name: string }
  /** A data class of masking.yaml, as found in one target; `unmask` is asked of it. Printed `orders-db/[card]`. */
  | { readonly type: "class"; readonly target: string; readonly name: string };

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
  /** For `hold`: how it may be held, by the annotations of the policies that hold it; the strictest of them. */
  readonly hold?: HoldTerms | undefined;
  /** The `@reason` of a determining policy, or a general sentence. */
  readonly reason: string;
}

export interface HoldTerms {
  /** `@hold_in_transaction("allow")`: it may be held while a transaction is open; otherwise it is refused there (PG-49). */
  readonly inTransaction: boolean;
  /** `@approval_ttl("15m")`: how long votes are taken, ms. */
  readonly ttl: number;
}

/** How a masked value looks. Every strategy keeps the type's wire format, or becomes NULL where it cannot. */
export type MaskStrategy =
  | { readonly kind: "redact" }
  /** Keeps the last `last` characters, the first `first`, or an e-mail address's domain; the rest becomes `****`. */
  | { readonly kind: "partial"; readonly keep: { readonly first: number; readonly last: number } | "domain" }
  /** Keyed and deterministic: equal values stay equal, so joins and counts still work. */
  | { readonly kind: "hash" }
  | { readonly kind: "null" }
  /** 0, the epoch, the empty string, false: the type's zero. */
  | { readonly kind: "zero" }
  /** Dates to their year, month or day; numbers down to a multiple of `step`; addresses to their network. */
  | { readonly kind: "generalise"; readonly to: "year" | "month" | "day" | { readonly step: number } | "network" };

/**
 * `target/schema.table.column` of masking.yaml: exact names as the catalogue has them, in which `*` stands for any
 * characters (policy/pattern.ts).
 */
export interface ColumnPattern {
  readonly target: string;
  readonly schema: string;
  readonly table: string;
  readonly column: string;
}

export interface DataClass {
  readonly name: string;
  readonly columns: readonly ColumnPattern[];
  /** Lower-case column names with `*`, compared without regard to case, wherever they are in the targets of `targets`. */
  readonly names: readonly string[];
  /** Targets, with `*`, that `names` and `detectors` speak of; empty: all. */
  readonly targets: readonly string[];
  /** Detectors whose findings in text values belong to this class. */
  readonly detectors: readonly DetectorClass[];
  /** For json and jsonb columns named by `columns`: only the values at these paths (`$.contact.email`, `$.items[*].card`) are masked; empty: the whole. */
  readonly paths: readonly JsonPath[];
  readonly mask: MaskStrategy;
}

/** masking.yaml, or of it what concerns one target. */
export interface MaskingRules {
  /** In the file's order: of two classes that name a column the first has it. */
  readonly classes: readonly DataClass[];
}

/** Where a group's approvals are announced. Secrets are the gateway's own (`wrangler secret`), named here. */
export interface ApprovalChannel {
  readonly group: string;
  readonly kind: "slack" | "webhook";
  /** Slack: channel id. */
  readonly channel?: string | undefined;
  /** Slack: workspace id, which every vote must come from. */
  readonly team?: string | undefined;
  /** Webhook: where requests are posted; https, or http on loopback. */
  readonly url?: string | undefined;
  /** Name of the gateway's secret: Slack's bot token and signing secret (JSON), or the webhook's `whsec_…`. */
  readonly secret: string;
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
  readonly masking: MaskingRules;
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
  readonly channels: readonly ApprovalChannel[];
  /** The longest that an approval takes votes, s. */
  readonly approval_ttl_max_s: number;
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
  /** What a held command does to this identity's client, unless the job says `fail` itself. */
  readonly hold: "wait" | "fail";
  /** Humans: who they are in chat. */
  readonly chat: readonly { readonly kind: "slack" | "webhook"; readonly team?: string | undefined; readonly user: string }[];
  /** Any one entry suffices; every claim of an entry must match. Claims are the token's own names. */
  readonly match: readonly { readonly issuer: string; readonly claims: ClaimMatch; readonly allow_weak_match: boolean }[];
  readonly file: string;
}
