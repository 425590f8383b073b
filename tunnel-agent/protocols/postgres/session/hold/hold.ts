/**
 * Holds: a command that policy allows only with people's consent waits in the live session (DESIGN.md, flow 5).
 *
 *     settling    everything forwarded before it is answered first, so that the transaction's status is certain
 *     inspecting  the shell reads the definitions of what it names, and the target's estimate
 *     waiting     people are asked; the client is told, again and again
 *     confirming  consent is here: the definitions are read again (PG-48)
 *
 * Nothing of it reaches the target before consent, and then it is decided anew with the policy of that moment (GW-18).
 * The client's next messages wait. Inside an open transaction, whose locks would be kept, it is refused unless policy
 * says otherwise (PG-49). A cancel, the client's end and the session's end withdraw the request.
 *
 * Sans-IO: requests, withdrawals and inspections are events; news and answers come back in. It covers one command at a
 * time, and what a Bind's consent allows is that portal's first Execute before the next Sync.
 */
import { unreachable } from "../../../../../protocol/result.ts";
import {
  HOLD_DEFINITIONS_MS,
  HOLD_FAIL_ANSWER_MS,
  HOLD_GRACE_MS,
  HOLD_IN_TRANSACTION_MAX_MS,
  HOLD_NOTICE_EVERY_MS,
  HOLD_RECHECK_MS,
  HOLD_TTL_MS,
} from "../../../../../protocol/limits.ts";
import type { ApprovalOutcome } from "../../../../../protocol/approval.ts";
import type { ApprovalId } from "../../../../../protocol/ids.ts";
import type { ApprovalNews } from "../../../../session.ts";
import { writeFields } from "../../codec/backend.ts";
import { writeBare } from "../../codec/frontend.ts";
import { approvalRequired, notRecorded, SQLSTATE, type Refusal } from "../../refusal.ts";
import type { Verdict } from "../authorise.ts";
import type { Core } from "../core.ts";
import { askedOf, sameTerms, type Asked, type Phase } from "./phase.ts";
import { closed, recordState, settled } from "./record.ts";
import { sameDefinitions, subjectOfHeld, type Exact } from "./subject.ts";
import * as words from "./words.ts";
import type { Consent, Held, Inspected } from "./types.ts";

interface Hold {
  readonly held: Held;
  verdict: Verdict;
  policyVersion: number;
  checkAt: number;
  phase: Phase;
}

const NEVER = Number.POSITIVE_INFINITY;

export class Holds {
  readonly #core: Core;
  #hold: Hold | null = null;
  #questions = 0;

  constructor(core: Core) {
    this.#core = core;
  }

  get active(): boolean {
    return this.#hold !== null;
  }

  /** Policy wants consent to `held`; the caller forwards nothing of it and returns. */
  begin(held: Held, verdict: Verdict): void {
    const core = this.#core;
    const { now } = core;
    const policyVersion = core.options.session.policyVersion();
    this.#hold = { held, verdict, policyVersion, checkAt: now + HOLD_RECHECK_MS, phase: { kind: "settling" } };
    if (core.segmentSince !== null) {
      if (core.ran) core.tell((writer) => writeBare(writer, "Flush"));
      else {
        // Parse alone has opened an implicit transaction with locks; there is nothing in it that a Sync of ours would commit.
        core.tell((writer) => writeBare(writer, "Sync"));
        core.expect({ kind: "sync", own: true });
        core.segmentSince = null;
      }
    }
    this.proceed();
  }

  /** To be called after whatever came of the backend: goes on once everything before is answered. */
  proceed(): void {
    const hold = this.#hold;
    const core = this.#core;
    if (hold === null || hold.phase.kind !== "settling" || !core.idle || core.cancelling) return;
    if (core.discarding) {
      // Something before it failed: it is skipped by both sides.
      this.#hold = null;
      return;
    }
    if (!this.#recheck(hold)) return;
    const waits = core.options.session.approvals.mode === "wait";
    if (core.status === "E") return this.#refuse(hold, approvalRequired(hold.verdict.decision));
    if (this.#open && waits && hold.verdict.decision.hold?.inTransaction !== true) {
      return this.#refuse(hold, words.inTransaction(hold.verdict.decision));
    }
    this.#inspect(hold);
  }

  /** Locks are kept while this waits. */
  get #open(): boolean {
    const { status, segmentSince, options } = this.#core;
    return status !== "I" || segmentSince !== null || options.lane?.open() === true;
  }

  /** The shell's answer to an `inspect` event. */
  inspected(question: number, answer: Inspected): void {
    const hold = this.#hold;
    if (hold === null) return;
    const { phase } = hold;
    if (phase.kind === "inspecting" && phase.question === question) {
      if (answer.ok) this.#ask(hold, phase.exact, answer);
      else this.#refuse(hold, words.unreadable);
    } else if (phase.kind === "confirming" && phase.question === question) this.#confirmed(hold, phase, answer);
  }

  /** How the approval goes on; news of another than the one that is waited for is old. */
  news(approval: ApprovalId, news: ApprovalNews): void {
    const hold = this.#hold;
    if (hold === null || hold.phase.kind !== "waiting" || hold.phase.asked.approval !== approval) return;
    const { asked } = hold.phase;
    const { session } = this.#core.options;
    switch (news.type) {
      case "opened":
        if (session.approvals.mode === "fail") this.#later(hold, asked);
        else asked.until = Math.min(asked.until, this.#core.now + news.expiresAt - session.now() + HOLD_GRACE_MS);
        return;
      case "refused":
        settled(this.#core.options.session, asked, "withdrawn", [], news.message);
        return this.#refuse(hold, words.notAsked(news.code, news.message));
      case "settled":
        return this.#outcome(hold, asked, news.outcome);
      default:
        return unreachable(news);
    }
  }

  /** The client cancels; false: nothing is held. */
  cancel(): boolean {
    const hold = this.#hold;
    if (hold === null || hold.phase.kind === "settling") return false;
    this.#withdraw(hold, "the client cancelled the command");
    this.#refuse(hold, words.cancelled);
    return true;
  }

  /** The conversation is over. Never throws: there is nobody left to tell. */
  abandon(reason: string): void {
    const hold = this.#hold;
    if (hold === null) return;
    this.#hold = null;
    const asked = askedOf(hold.phase);
    if (asked === null) return;
    // Once consent is here there is nothing to withdraw; it is used up, and nothing runs.
    const open = hold.phase.kind === "waiting";
    const { session } = this.#core.options;
    if (open) this.#core.emit({ type: "withdraw-approval", approval: asked.approval, reason });
    try {
      if (open) recordState(session, asked, "withdrawn", [], reason);
      closed(session, asked, "cancelled", undefined);
    } catch {
      // The log says so itself: a command without an outcome.
    }
  }

  // ── time ──

  /** Monotonic ms at which `expire()` is due. */
  deadline(): number {
    const hold = this.#hold;
    if (hold === null) return NEVER;
    switch (hold.phase.kind) {
      case "settling":
        return NEVER;
      case "inspecting":
      case "confirming":
        return hold.phase.by;
      case "waiting":
        return Math.min(hold.checkAt, hold.phase.asked.until, hold.phase.asked.noticeAt);
      default:
        return unreachable(hold.phase);
    }
  }

  expire(): void {
    const hold = this.#hold;
    const { now } = this.#core;
    if (hold === null || this.deadline() > now) return;
    const { phase } = hold;
    switch (phase.kind) {
      case "settling":
        return;
      case "inspecting":
        return this.#refuse(hold, words.unreadable);
      case "confirming":
        return this.#confirmed(hold, phase, { ok: false });
      case "waiting": {
        const { asked } = phase;
        if (asked.until <= now) return this.#late(hold, asked);
        if (hold.checkAt <= now && !this.#recheck(hold)) return;
        if (asked.noticeAt <= now) this.#notify(hold, asked);
        return;
      }
      default:
        return unreachable(phase);
    }
  }

  /** Nothing was heard in time. */
  #late(hold: Hold, asked: Asked): void {
    // Who does not wait is told the id in any case: the request stands.
    if (this.#core.options.session.approvals.mode === "fail") return this.#later(hold, asked);
    this.#withdraw(hold, "nobody decided in time", "expired");
    this.#refuse(hold, words.expired(asked.approval));
  }

  /** A new policy decides what is held as if it came now (GW-18). False: it is held no more. */
  #recheck(hold: Hold, loaded = false): boolean {
    const core = this.#core;
    const version = core.options.session.policyVersion();
    hold.checkAt = core.now + HOLD_RECHECK_MS;
    if (version === hold.policyVersion) return true;
    const need = loaded ? null : core.authoriser.mustLoad(hold.held.subject);
    if (need !== null) {
      const { phase } = hold;
      core.load(need, () => {
        if (this.#hold === hold && hold.phase === phase && this.#recheck(hold, true)) this.proceed();
      });
      return false;
    }
    const before = hold.verdict;
    hold.policyVersion = version;
    hold.verdict = core.authoriser.decide(hold.held.subject);
    switch (hold.verdict.decision.outcome) {
      case "deny":
        this.#withdraw(hold, "the policy changed and denies the command");
        this.#refuse(hold, hold.verdict.refusal ?? approvalRequired(hold.verdict.decision));
        return false;
      case "allow":
        this.#withdraw(hold, "the policy changed and allows the command");
        this.#run(hold, null);
        return false;
      case "hold":
        if (hold.phase.kind === "settling" || sameTerms(before, hold.verdict)) return true;
        this.#withdraw(hold, "the policy changed and asks others");
        closed(this.#core.options.session, askedOf(hold.phase), "cancelled", undefined);
        hold.phase = { kind: "settling" };
        this.proceed();
        return false;
      default:
        return unreachable(hold.verdict.decision.outcome);
    }
  }

  // ── asking ──

  #inspect(hold: Hold): void {
    const exact = hold.held.exact();
    if (!exact.ok) return this.#refuse(hold, exact.error);
    this.#questions += 1;
    hold.phase = { kind: "inspecting", question: this.#questions, by: this.#core.now + HOLD_DEFINITIONS_MS, exact: exact.value };
    this.#look(hold, exact.value.estimable);
  }

  #look(hold: Hold, estimate: string | null): void {
    const named = this.#core.authoriser.named(hold.held.subject);
    this.#core.emit({ type: "inspect", question: this.#questions, named, estimate });
  }

  #ask(hold: Hold, exact: Exact, inspected: Inspected & { ok: true }): void {
    const core = this.#core;
    const { session, target } = core.options;
    const { decision, effects } = hold.verdict;
    const { approval, url } = session.approvals.mint();
    const command = core.record(hold.held.via, hold.held.record, hold.verdict, false, approval);
    if (command === null) {
      this.#hold = null;
      return hold.held.refuse(notRecorded);
    }
    session.recorder.approval({ approval, command: command.number, state: "pending" });
    const waits = session.approvals.mode === "wait";
    const open = waits && this.#open;
    const asks = decision.hold?.ttl ?? HOLD_TTL_MS;
    const ttl = open ? Math.min(asks, HOLD_IN_TRANSACTION_MAX_MS) : asks;
    core.emit({
      type: "request-approval",
      approval,
      request: {
        command: command.number,
        subject: subjectOfHeld(target, exact, inspected.objects),
        effects: [...effects],
        needs: decision.approvals.map(({ group, min }) => ({ group, min })),
        policies: [...decision.policies],
        reason: decision.reason.slice(0, 1024),
        ttl,
        in_transaction: open,
        ...(inspected.estimate === undefined ? {} : { estimate: inspected.estimate }),
      },
    });
    const since = core.now;
    const until = since + (waits ? ttl + HOLD_GRACE_MS : HOLD_FAIL_ANSWER_MS);
    const asked: Asked = { approval, url, number: command.number, exact, inspected, since, until, noticeAt: waits ? since : NEVER };
    hold.phase = { kind: "waiting", asked };
    if (!waits) return;
    session.approvals.tell(approval, "waiting", words.waiting(approval, url));
    this.#notify(hold, asked);
  }

  #notify(hold: Hold, asked: Asked): void {
    const core = this.#core;
    const left = asked.until - HOLD_GRACE_MS - core.now;
    const fields = words.notice(asked.approval, asked.url, hold.verdict.decision, core.now - asked.since, left);
    core.say((writer) => writeFields(writer, "NoticeResponse", fields));
    asked.noticeAt = core.now + HOLD_NOTICE_EVERY_MS;
  }

  // ── the outcome ──

  /** The client does not wait: refused now, to be run once it is approved. */
  #later(hold: Hold, asked: Asked): void {
    const { approval, url } = asked;
    this.#core.options.session.approvals.tell(approval, "refused", words.requested(approval, url));
    this.#refuse(hold, words.later(approval, url, hold.verdict.decision));
  }

  #outcome(hold: Hold, asked: Asked, outcome: ApprovalOutcome): void {
    const { state, by, reason } = outcome;
    settled(this.#core.options.session, asked, state, by, reason);
    switch (state) {
      case "approved":
        this.#questions += 1;
        hold.phase = { kind: "confirming", asked, outcome, question: this.#questions, by: this.#core.now + HOLD_DEFINITIONS_MS };
        this.#look(hold, null);
        return;
      case "denied":
        return this.#refuse(hold, words.denied(asked.approval, outcome));
      case "expired":
        return this.#refuse(hold, words.expired(asked.approval));
      case "withdrawn":
        return this.#refuse(hold, words.withdrawn(asked.approval, reason));
      default:
        return unreachable(state);
    }
  }

  /** Consent is here, and what the command names was looked at again: the last decision, and at once the command. */
  #confirmed(hold: Hold, confirming: Extract<Phase, { kind: "confirming" }>, answer: Inspected, loaded = false): void {
    const { asked, outcome } = confirming;
    if (!answer.ok) return this.#refuse(hold, words.unreadable);
    const core = this.#core;
    const need = loaded ? null : core.authoriser.mustLoad(hold.held.subject);
    if (need !== null) {
      const { phase } = hold;
      return core.load(need, () => {
        // It may have ended meanwhile.
        if (this.#hold === hold && hold.phase === phase) this.#confirmed(hold, confirming, answer, true);
      });
    }
    const exact = hold.held.exact();
    const same = exact.ok && sameDefinitions(asked.exact, asked.inspected.objects, exact.value, answer.objects);
    if (!same) return this.#refuse(hold, words.stale(asked.approval));
    const verdict = core.authoriser.decide(hold.held.subject, outcome.groups);
    hold.verdict = verdict;
    if (verdict.decision.outcome === "allow") this.#run(hold, { approval: asked.approval, groups: outcome.groups });
    else if (verdict.decision.outcome === "deny" && verdict.refusal !== null) this.#refuse(hold, verdict.refusal);
    else this.#refuse(hold, words.notEnough(asked.approval, verdict.decision));
  }

  #run(hold: Hold, consent: Consent | null): void {
    const { held, verdict } = hold;
    const core = this.#core;
    const command = core.record(held.via, held.record, verdict, held.controlsTransaction, consent?.approval);
    if (command === null) return this.#refuse(hold, notRecorded);
    closed(this.#core.options.session, askedOf(hold.phase), "ok", undefined);
    this.#hold = null;
    // The client's time to go on counts from here (PG-50).
    if (core.segmentSince !== null) core.segmentSince = core.now;
    held.run(command, verdict, consent);
  }

  #refuse(hold: Hold, refusal: Refusal): void {
    const { held, verdict } = hold;
    const core = this.#core;
    this.#hold = null;
    if (core.segmentSince !== null) core.segmentSince = core.now;
    const asked = askedOf(hold.phase);
    if (asked !== null)
      closed(this.#core.options.session, asked, refusal.code === SQLSTATE.query_canceled ? "cancelled" : "refused", refusal.code);
    else {
      const command = core.record(held.via, held.record, verdict);
      if (command === null) return held.refuse(notRecorded);
      core.outcomes.refused(command, refusal.code);
    }
    held.refuse(refusal);
  }

  #withdraw(hold: Hold, reason: string, state: "withdrawn" | "expired" = "withdrawn"): void {
    const asked = askedOf(hold.phase);
    if (asked === null || hold.phase.kind === "confirming") return;
    this.#core.emit({ type: "withdraw-approval", approval: asked.approval, reason });
    settled(this.#core.options.session, asked, state, [], reason);
  }
}
