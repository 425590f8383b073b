/**
 * Approvals that agents of the site ask for: requests go to the approval's object with who asks, as the session's object
 * knows it; outcomes come back to the agent that holds the session. What is owed to an approval's object (the end of its
 * session, a withdrawal) is kept until it has heard it, and tried again by the site's alarm.
 *
 * An agent asks only for sessions that were given to it: anything else is refused and alarmed. It repeats its requests after
 * each reconnect until it has the outcome, so nothing that is sent to it need be kept here.
 */
import type { AgentToEdge, EdgeToAgent } from "../../protocol/agent-control.ts";
import type { ApprovalOutcome, ApprovalRequest } from "../../protocol/approval.ts";
import type { ErrorCode } from "../../protocol/errors.ts";
import type { Asker, Opened } from "../approval/facts.ts";
import type { Env } from "../env.ts";
import { logAlarm, logWarning, reasonOf } from "../log.ts";
import { retryAfter } from "./limits.ts";
import type { SiteStore } from "./store.ts";

/** Tries to open one before the agent is told that it cannot be; ms to wait between them. */
const OPEN_PAUSES_MS = [0, 100, 500];
/** Withdrawals that are given up: by then the approval has expired. */
const MAX_ATTEMPTS = 20;
/** Withdrawals delivered by one alarm. */
const AT_ONCE = 100;

interface Surroundings {
  /** False: the agent has no connection. */
  send(agent: string, message: EdgeToAgent): boolean;
  /** What is owed, or when, has changed: the alarm must be set anew. */
  changed(): void;
}

type Withdrawal = Extract<AgentToEdge, { type: "approval_withdraw" }>;

export class SiteApprovals {
  readonly #store: SiteStore;
  readonly #env: Pick<Env, "APPROVALS" | "SESSIONS">;
  readonly #around: Surroundings;

  constructor(store: SiteStore, env: Pick<Env, "APPROVALS" | "SESSIONS">, around: Surroundings) {
    this.#store = store;
    this.#env = env;
    this.#around = around;
  }

  /** `site`, `gateway`: of the agent's connection. */
  async requested(agent: string, site: string, gateway: string, request: ApprovalRequest): Promise<void> {
    const { approval, session } = request;
    const refuse = (code: ErrorCode, message: string): void =>
      void this.#around.send(agent, { type: "approval_refused", approval, code, message: message.slice(0, 1024) });
    const notYours = "the session is not this agent's, or is over";
    if (!this.#isGiven(agent, session, approval, "approval_request")) return refuse("not_found", notYours);
    // Before the first await: a withdrawal may follow at once.
    this.#store.putApproval(approval, session, request.mode === "wait");
    const asker = await this.#asker(agent, site, gateway, request);
    const opened: Opened = asker === null ? { ok: false, code: "not_found", message: notYours } : await this.#open(request, asker);
    if (!opened.ok) {
      // An opening that failed half-way may have left an approval that people are asked about.
      if (opened.code === "internal") this.#owe(approval, "the request could not be completed");
      else this.#store.dropApproval(approval);
      return refuse(opened.code, opened.message);
    }
    const { expires_at, url, outcome, consumed } = opened;
    // A `later` request that went on an earlier consent is told only that: `opened` would be its refusal.
    if (!consumed) this.#around.send(agent, { type: "approval_opened", approval, expires_at, url });
    if (outcome !== null && (consumed || request.mode === "wait"))
      this.#around.send(agent, { type: "approval_settled", approval, outcome });
    if (outcome !== null) this.#store.dropApproval(approval);
    // The session ended, or the agent withdrew, while it was being opened.
    await this.deliverDue();
  }

  async withdrawn(agent: string, { session, approval, reason }: Withdrawal): Promise<void> {
    // Of a session that is over the approvals are withdrawn already.
    if (!this.#isGiven(agent, session, approval, "approval_withdraw") || !this.#store.isApprovalOf(approval, session)) return;
    this.#owe(approval, reason);
    await this.deliverDue();
  }

  /** By the approval's object. */
  settled(approval: string, session: string, outcome: ApprovalOutcome): void {
    this.#store.dropApproval(approval);
    const given = this.#store.session(session);
    if (given !== null) this.#around.send(given.agent, { type: "approval_settled", approval, outcome });
    this.#around.changed();
  }

  /** Nobody waits for the approvals of a session that is over. A `later` one stands on its own. */
  sessionEnded(session: string): void {
    this.#store.endApprovals(session, "the session ended", Date.now());
    this.#around.changed();
  }

  async deliverDue(): Promise<void> {
    const due = this.#store.dueWithdrawals(Date.now(), AT_ONCE);
    await Promise.all(due.map(({ approval, reason, attempts }) => this.#withdraw(approval, reason, attempts + 1)));
    if (due.length > 0) this.#around.changed();
  }

  #owe(approval: string, reason: string): void {
    this.#store.oweWithdrawal(approval, reason, Date.now());
    this.#around.changed();
  }

  /** Another agent's session is alarmed; one that has just ended is no wrong-doing. */
  #isGiven(agent: string, session: string, approval: string, said: string): boolean {
    const given = this.#store.session(session);
    if (given !== null && given.agent !== agent) logAlarm("approval_not_of_agent", { agent, session, approval, said });
    return given?.agent === agent && given.end?.by !== "agent";
  }

  /** null: not its session, as the session's object has it. */
  async #asker(agent: string, site: string, gateway: string, { approval, session, subject }: ApprovalRequest): Promise<Asker | null> {
    const view = await this.#env.SESSIONS.getByName(session).state();
    if (view.state !== "active" || view.agent !== agent) return null;
    if (subject.target !== view.facts.target || subject.kind !== "command") {
      logAlarm("approval_not_of_session", { agent, session, approval, target: subject.target, kind: subject.kind });
      return null;
    }
    const { identity, workload } = view.facts;
    return { identity, workload, site, agent, gateway, tell: "site" };
  }

  async #open(request: ApprovalRequest, asker: Asker): Promise<Opened> {
    for (const pause of OPEN_PAUSES_MS) {
      if (pause > 0) await scheduler.wait(pause);
      try {
        return await this.#env.APPROVALS.getByName(request.approval).open(request, asker);
      } catch (thrown) {
        logWarning("approval_not_opened", { approval: request.approval, session: request.session, reason: reasonOf(thrown) });
      }
    }
    return { ok: false, code: "internal", message: "nobody could be asked: the gateway failed to open the approval" };
  }

  async #withdraw(approval: string, reason: string, attempts: number): Promise<void> {
    try {
      const found = await this.#env.APPROVALS.getByName(approval).withdraw(reason);
      // Not there yet: it is being opened, or never came to be.
      if (found || attempts >= MAX_ATTEMPTS) return this.#store.dropApproval(approval);
    } catch (thrown) {
      logWarning("approval_not_withdrawn", { approval, attempts, reason: reasonOf(thrown) });
      if (attempts >= MAX_ATTEMPTS) return this.#store.dropApproval(approval);
    }
    this.#store.putOffWithdrawal(approval, attempts, Date.now() + retryAfter(attempts));
  }
}
