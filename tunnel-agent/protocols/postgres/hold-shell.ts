/**
 * What a session machine's holds need of the world: people are asked through the session's approvals, and the target
 * about what a held command names and how it would run it. Answers go back into the machine as they come.
 *
 * The plan is asked for on a connection of the agent's own, never on the client's, and only of statements that the
 * machine offers (PG-39). Its text passes the detectors and is bounded; without one the approver simply sees none.
 */
import { HOLD_DEFINITIONS_MS, HOLD_ESTIMATE_BYTES, HOLD_ESTIMATE_MS } from "../../../protocol/limits.ts";
import type { ApprovalId } from "../../../protocol/ids.ts";
import type { PendingApproval, SessionContext } from "../../session.ts";
import type { Definition, Inspected, Named } from "./session/hold/types.ts";
import type { SessionMachine } from "./session/machine.ts";
import type { SessionEvent } from "./session/types.ts";

export type HoldEvent = Extract<SessionEvent, { type: "inspect" | "request-approval" | "withdraw-approval" }>;

/** The target's answers. Both may reject: then there is none. */
export interface HoldSources {
  /** What defines each object that is named, or could be. */
  definitions(named: Named): Promise<readonly Definition[]>;
  /** EXPLAIN's text; null where there is none to be had without running something. */
  estimate(sql: string, named: Named): Promise<string | null>;
}

export interface HoldShellOptions {
  readonly session: Pick<SessionContext, "approvals" | "maskText" | "log">;
  readonly sources: HoldSources;
  readonly machine: SessionMachine;
  /** One turn of the machine. */
  readonly do: (turn: () => SessionEvent[]) => void;
}

export class HoldShell {
  readonly #o: HoldShellOptions;
  #pending: { readonly approval: ApprovalId; readonly request: PendingApproval } | null = null;

  constructor(options: HoldShellOptions) {
    this.#o = options;
  }

  perform(event: HoldEvent): void {
    const { session, machine } = this.#o;
    switch (event.type) {
      case "inspect":
        void this.#inspect(event.named, event.estimate).then((answer) => this.#o.do(() => machine.inspected(event.question, answer)));
        return;
      case "request-approval": {
        const { approval } = event;
        const request = session.approvals.request(approval, event.request, (news) =>
          this.#o.do(() => machine.approvalNews(approval, news)),
        );
        this.#pending = { approval, request };
        return;
      }
      case "withdraw-approval":
        if (this.#pending?.approval === event.approval) this.#pending.request.withdraw(event.reason);
        this.#pending = null;
    }
  }

  async #inspect(named: Named, sql: string | null): Promise<Inspected> {
    const { sources, session } = this.#o;
    try {
      const [objects, estimate] = await Promise.all([
        within(HOLD_DEFINITIONS_MS, sources.definitions(named)),
        sql === null ? null : within(HOLD_ESTIMATE_MS, sources.estimate(sql, named)).catch(() => null),
      ]);
      return { ok: true, objects, ...(estimate === null ? {} : { estimate: bounded(session.maskText(estimate)) }) };
    } catch (error) {
      session.log.warn({ reason: error instanceof Error ? error.message : "unknown" }, "definitions for an approval could not be read");
      return { ok: false };
    }
  }
}

/** At most HOLD_ESTIMATE_BYTES characters, and it says so. */
function bounded(text: string): string {
  const cut = "\n(the rest of the plan is not shown)";
  return text.length <= HOLD_ESTIMATE_BYTES ? text : `${text.slice(0, HOLD_ESTIMATE_BYTES - cut.length)}${cut}`;
}

function within<T>(ms: number, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms);
    timer.unref();
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
