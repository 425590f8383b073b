/** Where a hold stands. hold.ts moves it on. */
import type { ApprovalOutcome } from "../../../../../protocol/approval.ts";
import type { ApprovalId } from "../../../../../protocol/ids.ts";
import { unreachable } from "../../../../../protocol/result.ts";
import type { Verdict } from "../authorise.ts";
import type { Exact } from "./subject.ts";
import type { Inspected } from "./types.ts";

/** A request that people were asked. */
export interface Asked {
  readonly approval: ApprovalId;
  readonly url: string;
  /** The command as held, in the recording. */
  readonly number: number;
  readonly exact: Exact;
  readonly inspected: Inspected & { readonly ok: true };
  /** Monotonic ms. */
  readonly since: number;
  until: number;
  noticeAt: number;
}

export type Phase =
  | { readonly kind: "settling" }
  | { readonly kind: "inspecting"; readonly question: number; readonly by: number; readonly exact: Exact }
  | { readonly kind: "waiting"; readonly asked: Asked }
  | {
      readonly kind: "confirming";
      readonly asked: Asked;
      readonly outcome: ApprovalOutcome;
      readonly question: number;
      readonly by: number;
    };

/** The request that is out, if there is one. */
export function askedOf(phase: Phase): Asked | null {
  switch (phase.kind) {
    case "settling":
    case "inspecting":
      return null;
    case "waiting":
    case "confirming":
      return phase.asked;
    default:
      return unreachable(phase);
  }
}

/** Whether two verdicts ask the same people on the same terms. */
export function sameTerms(a: Verdict, b: Verdict): boolean {
  const print = ({ decision }: Verdict): string =>
    JSON.stringify([decision.approvals.map(({ group, min }) => `${group} ${min}`).toSorted(), decision.hold]);
  return print(a) === print(b);
}
