/** People as a test plays them: keeps what is asked, and answers when the test says so. */
import type { ApprovalOutcome } from "../../../../protocol/approval.ts";
import { mintApprovalId, type ApprovalId } from "../../../../protocol/ids.ts";
import type { ApprovalNews, SessionApprovals } from "../../../../tunnel-agent/session.ts";

type Request = Parameters<SessionApprovals["request"]>[1];

export interface Asked {
  readonly approval: ApprovalId;
  readonly request: Request;
  /** Why it was withdrawn. */
  withdrawn: string | undefined;
  news(news: ApprovalNews): void;
  settle(state: ApprovalOutcome["state"], more?: Partial<ApprovalOutcome>): void;
}

export class ScriptedApprovals implements SessionApprovals {
  mode: "wait" | "fail" = "wait";
  readonly asked: Asked[] = [];
  readonly told: string[] = [];
  #waiting: (() => void)[] = [];

  mint(): { approval: ApprovalId; url: string } {
    const approval = mintApprovalId((bytes) => crypto.getRandomValues(bytes));
    return { approval, url: `https://gate.example.com/approvals/${approval}` };
  }

  request(approval: ApprovalId, request: Request, onNews: (news: ApprovalNews) => void) {
    const asked: Asked = {
      approval,
      request,
      withdrawn: undefined,
      news: onNews,
      settle: (state, more = {}) =>
        onNews({ type: "settled", outcome: { state, at: Date.now(), groups: state === "approved" ? ["dba"] : [], by: ["anna"], ...more } }),
    };
    this.asked.push(asked);
    for (const resolve of this.#waiting.splice(0)) resolve();
    return { withdraw: (reason: string) => void (asked.withdrawn ??= reason) };
  }

  tell(_: ApprovalId, state: string, message: string): void {
    this.told.push(`${state}: ${message}`);
  }

  /** The request of this number, from 0, once it has been made. */
  async at(index: number): Promise<Asked> {
    for (;;) {
      const asked = this.asked[index];
      if (asked !== undefined) return asked;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  get last(): Asked {
    const last = this.asked.at(-1);
    if (last === undefined) throw new Error("nothing was asked");
    return last;
  }
}
