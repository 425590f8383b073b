/**
 * The agent's side of approvals: requests for consent on the control socket, and what became of them.
 *
 * Losing the control socket loses nothing: a request is sent again after each reconnect until its outcome is here, a
 * withdrawal until a round trip shows that it arrived. Both are idempotent at the gateway. Each outcome is handed on
 * once. Consent is handed on only while the session's connector is there: where it does not come back, the session ends,
 * the request is withdrawn, and nothing runs (GW-28).
 *
 * It does not decide: what an outcome permits is the protocol room's to ask of the policy.
 */
import { createHash } from "node:crypto";
import type { Logger } from "pino";
import type { AgentToEdge, EdgeToAgent } from "../protocol/agent-control.ts";
import { approvalDigestText, ApprovalRequest } from "../protocol/approval.ts";
import { mintApprovalId, type ApprovalId, type Random, type SessionId } from "../protocol/ids.ts";
import { MAX_AGENT_CONTROL, MAX_PENDING_APPROVALS } from "../protocol/limits.ts";
import type { ApprovalNotice } from "../protocol/stream/control.ts";
import type { ApprovalNews, PendingApproval, SessionApprovals } from "./session.ts";

type Withdrawal = Extract<AgentToEdge, { type: "approval_withdraw" }>;

export interface ApprovalLine {
  /** False: there is no socket, or it is not welcomed yet; `welcomed()` will be called. */
  send(message: AgentToEdge): boolean;
  /** Calls back once the gateway has everything that was sent so far. */
  afterRoundTrip(done: () => void): void;
}

export interface ApprovalsOptions {
  /** The gateway's origin, where people look at approvals. */
  readonly gateway: string;
  readonly line: ApprovalLine;
  readonly random: Random;
  /** ms since the epoch: the gateway's clock, and this machine's. */
  readonly gatewayNow: () => number;
  readonly now: () => number;
  /** The bundle that decides now. */
  readonly bundle: () => number;
  readonly log: Logger;
}

/** What of a session the approvals need. */
export interface ApprovalSession {
  readonly id: SessionId;
  readonly mode: "wait" | "fail";
  /** The connector is there. */
  readonly present: () => boolean;
  readonly tell: (notice: ApprovalNotice) => void;
  /** Runs a room's callback where its faults end this session alone. */
  readonly run: (work: () => void) => void;
}

interface Pending {
  readonly session: ApprovalSession;
  readonly request: ApprovalRequest;
  readonly onNews: (news: ApprovalNews) => void;
  /** Consent that waits for the connector. */
  kept: ApprovalNews | null;
}

export class Approvals {
  readonly #o: ApprovalsOptions;
  readonly #pending = new Map<string, Pending>();
  readonly #withdrawn = new Map<string, Withdrawal>();

  constructor(options: ApprovalsOptions) {
    this.#o = options;
  }

  get size(): number {
    return this.#pending.size;
  }

  session(session: ApprovalSession): SessionApprovals {
    return {
      mode: session.mode,
      mint: () => {
        const approval = mintApprovalId(this.#o.random);
        return { approval, url: `${this.#o.gateway}/approvals/${approval}` };
      },
      request: (approval, request, onNews) => this.#request(session, approval, request, onNews),
      tell: (approval, state, message) => session.tell({ approval, state, message: message.slice(0, 1024) }),
    };
  }

  /** The session is over: nobody waits for its approvals any more. */
  ended(session: SessionId): void {
    for (const [approval, pending] of this.#pending) {
      if (pending.session.id === session && pending.request.mode === "wait") this.#withdraw(approval, "the session ended");
    }
  }

  /** The connector is back: what was kept for it is told. */
  present(session: SessionId): void {
    for (const [approval, pending] of this.#pending) {
      if (pending.session.id === session && pending.kept !== null) this.#last(approval, pending, pending.kept);
    }
  }

  /** The control socket is up and welcomed: everything that the gateway may not have is said again. */
  welcomed(): void {
    for (const { request, kept } of this.#pending.values()) if (kept === null) this.#o.line.send({ type: "approval_request", request });
    if (this.#withdrawn.size > 0) this.#sendWithdrawals([...this.#withdrawn.values()]);
  }

  receive(message: Extract<EdgeToAgent, { type: `approval_${string}` }>): void {
    const pending = this.#pending.get(message.approval);
    // Withdrawn meanwhile, or told before: the gateway may say it again.
    if (pending === undefined) return;
    switch (message.type) {
      case "approval_opened": {
        const { gatewayNow, now } = this.#o;
        const news: ApprovalNews = { type: "opened", expiresAt: message.expires_at - gatewayNow() + now(), url: message.url };
        // Who was refused at once does not wait for the votes.
        if (pending.request.mode === "later") this.#last(message.approval, pending, news);
        else this.#tell(pending, news);
        return;
      }
      case "approval_refused":
        this.#last(message.approval, pending, { type: "refused", code: message.code, message: message.message });
        return;
      case "approval_settled": {
        const news: ApprovalNews = { type: "settled", outcome: message.outcome };
        if (message.outcome.state === "approved" && !pending.session.present()) pending.kept = news;
        else this.#last(message.approval, pending, news);
      }
    }
  }

  #request(
    session: ApprovalSession,
    approval: ApprovalId,
    asked: Parameters<SessionApprovals["request"]>[1],
    onNews: (news: ApprovalNews) => void,
  ): PendingApproval {
    const digest = createHash("sha256").update(approvalDigestText(asked.subject)).digest("hex");
    const mode = session.mode === "wait" ? "wait" : "later";
    const request: ApprovalRequest = { ...asked, approval, session: session.id, mode, digest, bundle: this.#o.bundle() };
    const message = { type: "approval_request", request } as const;
    const pending: Pending = { session, request, onNews, kept: null };
    this.#pending.set(approval, pending);
    const refusal = this.#refusal(message);
    if (refusal !== null) queueMicrotask(() => this.#last(approval, pending, refusal));
    else this.#o.line.send(message);
    return { withdraw: (reason) => this.#withdraw(approval, reason) };
  }

  /** Why it cannot even be sent. */
  #refusal(message: Extract<AgentToEdge, { type: "approval_request" }>): ApprovalNews | null {
    if (!ApprovalRequest.safeParse(message.request).success) {
      // The gateway would take it for a violation of the contract and drop the socket.
      return { type: "refused", code: "too_large", message: "the command has more effects, groups or names than a request can hold" };
    }
    const characters = JSON.stringify(message).length;
    if (characters > MAX_AGENT_CONTROL) {
      // Nothing is cut for the approver, so what does not fit cannot be approved.
      const sentence = `the command and its parameters take ${characters} characters, and what can be shown to an approver is ${MAX_AGENT_CONTROL}`;
      return { type: "refused", code: "too_large", message: sentence };
    }
    if (this.#pending.size <= MAX_PENDING_APPROVALS) return null;
    return { type: "refused", code: "too_many", message: `the agent waits for ${MAX_PENDING_APPROVALS} approvals, its limit` };
  }

  #tell(pending: Pending, news: ApprovalNews): void {
    pending.session.run(() => pending.onNews(news));
  }

  /** Tells it, and forgets the approval: nothing follows. */
  #last(approval: string, pending: Pending, news: ApprovalNews): void {
    if (!this.#pending.delete(approval)) return;
    this.#tell(pending, news);
  }

  #withdraw(approval: string, reason: string): void {
    const pending = this.#pending.get(approval);
    if (pending === undefined) return;
    this.#pending.delete(approval);
    const message: Withdrawal = { type: "approval_withdraw", session: pending.session.id, approval, reason: reason.slice(0, 1024) };
    this.#withdrawn.set(approval, message);
    for (const oldest of this.#withdrawn.keys()) {
      if (this.#withdrawn.size <= MAX_PENDING_APPROVALS) break;
      this.#withdrawn.delete(oldest);
    }
    this.#sendWithdrawals([message]);
  }

  #sendWithdrawals(messages: readonly Withdrawal[]): void {
    const { line } = this.#o;
    const sent = messages.filter((message) => line.send(message));
    if (sent.length === 0) return;
    line.afterRoundTrip(() => {
      for (const { approval } of sent) this.#withdrawn.delete(approval);
    });
  }
}
