/**
 * What is left of the plan that a session runs by (`run --plan`): its statements by digest, in order. One that ran, and
 * those before it that were passed over, cannot run any more: a plan is run forwards, once. Shared by the session's
 * connections. Pure state; whether a statement may run, policy decides besides.
 */
import type { Dispatch } from "../protocol/agent-control.ts";
import type { SessionPlan } from "./session.ts";

export class PlanLedger implements SessionPlan {
  readonly id: string;
  readonly approval: string | undefined;
  readonly approvals: readonly string[];
  readonly #statements: NonNullable<Dispatch["plan"]>["statements"];
  #next = 0;

  constructor({ id, statements, approval, approvals }: NonNullable<Dispatch["plan"]>) {
    this.id = id;
    this.approval = approval;
    this.approvals = approvals;
    this.#statements = statements;
  }

  find(digests: readonly string[]): readonly number[] | null {
    const found: number[] = [];
    let from = this.#next;
    for (const digest of digests) {
      const at = this.#statements.findIndex((statement, index) => index >= from && statement.digest === digest);
      if (at < 0) return null;
      found.push(at);
      from = at + 1;
    }
    return found;
  }

  approved(index: number): boolean {
    return this.#statements[index]?.approved ?? false;
  }

  take(indexes: readonly number[]): void {
    this.#next = Math.max(this.#next, ...indexes.map((index) => index + 1));
  }
}
