/** What an approval is about and what others are told of it. Plain data: most of it crosses RPC. */
import type { ApprovalOutcome, ApprovalRequest, ApprovalState, NoticeRecord, VoteDoor, VoteRecord } from "../../protocol/approval.ts";
import type { ErrorCode } from "../../protocol/errors.ts";
import type { Workload } from "../../protocol/workload.ts";
import type { ApprovalChannel, IdentityDeclaration } from "../../policy/types.ts";

/** Who asks, as the edge knows it: never as the agent says. */
export interface Asker {
  readonly identity: string;
  readonly workload: Workload;
  readonly site: string;
  /** The agent that holds the command; empty for a plan. */
  readonly agent: string;
  /** Public origin of the gateway, for links. */
  readonly gateway: string;
  /** Whether the site's object is told of the outcome. */
  readonly tell: "site" | "nobody";
}

/** Decided when it was opened; never changes. */
export interface ApprovalFacts {
  readonly request: ApprovalRequest;
  readonly asker: Asker;
  /** ms since the epoch. */
  readonly requested_at: number;
  readonly expires_at: number;
}

/** What changes: at most once from pending to an outcome, at most once to used. */
export interface ApprovalRecord {
  readonly outcome: ApprovalOutcome | null;
  /** In order, those refused included. */
  readonly votes: readonly VoteRecord[];
  /** Refused attempts that were not kept. */
  readonly notKept: number;
  readonly use: { readonly by: string; readonly at: number } | null;
  /** The earlier approval whose consent was used up for this one. */
  readonly consentOf: string | null;
}

/** The command that a use is for must be the approved one, by the same identity, in the same pipeline. */
export interface UseClaim {
  /** Approval or plan that the consent goes to. Repeating the claim under the same name is free. */
  readonly by: string;
  readonly identity: string;
  readonly pipeline: string;
  readonly target: string;
  readonly digest: string;
  /** What policy asks for now. */
  readonly needs: ApprovalRequest["needs"];
}

/** Who voted, as the door proved it. */
export type Voter =
  /** An identity of the active bundle, by its own token: with what that token says of it. */
  | { readonly kind: "identity"; readonly name: string; readonly workload: Workload }
  /** A human that the bundle maps the channel's account to. */
  | { readonly kind: "account"; readonly name: string }
  /** An account of the channel that the bundle maps to nobody. */
  | { readonly kind: "unmapped"; readonly account: string };

export interface Ballot {
  readonly voter: Voter;
  readonly door: VoteDoor;
  readonly vote: VoteRecord["vote"];
  /** Of the command that was shown. */
  readonly digest: string;
  readonly reason?: string | undefined;
}

/** Why a vote does not count. Stable; docs/approvals.md explains each. */
export type VoteRefusal =
  | "unmapped"
  | "late"
  | "not_human"
  | "revoked"
  | "requester"
  | "actor"
  | "rule_editor"
  | "not_a_member"
  | "other_command"
  | "duplicate";

export type VoteVerdict =
  | {
      readonly counted: true;
      readonly state: ApprovalState;
      readonly missing: readonly { readonly group: string; readonly missing: number }[];
    }
  | { readonly counted: false; readonly refusal: VoteRefusal; readonly state: ApprovalState };

/** People as the active bundle has them at one moment. */
export interface Electorate {
  readonly bundle: number;
  /** Declared humans by name. */
  readonly humans: ReadonlyMap<string, IdentityDeclaration>;
  /** Who published the active bundle, and the one that held the command. */
  readonly editors: ReadonlySet<string>;
  /** Those of the voters who are revoked. */
  readonly revoked: ReadonlySet<string>;
}

/** What the active bundle says of approvals. */
export interface Charter extends Electorate {
  readonly channels: readonly ApprovalChannel[];
  /** ms. */
  readonly ttlMax: number;
}

/** `outcome`: it has ended already. `consumed`: by the consent of an earlier approval, and it may run now. */
export type Opened =
  | {
      readonly ok: true;
      readonly expires_at: number;
      readonly url: string;
      readonly outcome: ApprovalOutcome | null;
      readonly consumed: boolean;
    }
  | { readonly ok: false; readonly code: ErrorCode; readonly message: string };

/** One thing to tell one channel. */
export interface Notice {
  readonly n: number;
  readonly channel: ApprovalChannel;
  readonly event: NoticeRecord["event"];
  readonly state: NoticeRecord["state"];
  readonly attempts: number;
  readonly error: string | null;
  /** What the channel gave to find the message again; opaque. */
  readonly receipt: string | null;
}

/** How telling a channel went. `after`: ms that the channel asks to be left alone. */
export type Told =
  | { readonly ok: true; readonly receipt: string | null }
  | { readonly ok: false; readonly error: string; readonly retry: boolean; readonly after?: number | undefined };

export const channelName = (channel: ApprovalChannel): string =>
  channel.kind === "slack"
    ? `slack ${channel.channel ?? ""}`
    : // Its path and query may hold secrets.
      `webhook ${URL.canParse(channel.url ?? "") ? new URL(channel.url ?? "").host : ""}`;

/** `ApprovalObject.use()`. */
export type Used = { readonly ok: true; readonly by: readonly string[] } | { readonly ok: false };
