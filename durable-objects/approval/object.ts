/**
 * An approval's object, named by the approval's id. A thin shell around machine.ts: it recomputes the digest, asks D1 for
 * quotas and earlier consent, keeps the truth in SQLite (store.ts), and tells the site, D1 and the channels what happened.
 *
 * Guarantees: exactly one outcome, stored before anybody hears of it; judged by the people of the bundle that is active
 * at that moment; the outcome reaches the site and D1 even if that takes retries; a channel is told a bounded number of times.
 * What needs the compiled bundle or speaks to chat is the Worker's and comes by the two abstract methods
 * (worker/approvals.ts). It trusts its callers, which are the gateway's own: who voted was proved by the door.
 */
import { DurableObject } from "cloudflare:workers";
import { approvalDigestText, type Approval, type ApprovalRequest } from "../../protocol/approval.ts";
import { ERRORS, type ErrorCode } from "../../protocol/errors.ts";
import { APPROVALS_PER_IDENTITY, APPROVALS_PER_SESSION, CHAT_ATTEMPTS, MAX_APPROVAL_BYTES } from "../../protocol/limits.ts";
import { unreachable } from "../../protocol/result.ts";
import { findConsents, insertApproval, settleApproval } from "../../store/approvals.ts";
import type { Env } from "../env.ts";
import { logInfo, logWarning, reasonOf } from "../log.ts";
import type { ApprovalFacts, ApprovalRecord, Asker, Ballot, Charter, Notice, Opened, Told, UseClaim, Used, VoteVerdict } from "./facts.ts";
import { LEASE_MS, retryAfter } from "./limits.ts";
import { castVote, consented, expire, OPEN, pipelineKey, use, withdraw } from "./machine.ts";
import { ApprovalStore, type Debtor } from "./store.ts";
import { viewOf } from "./view.ts";

export abstract class ApprovalObject extends DurableObject<Env> {
  readonly #store: ApprovalStore;
  #facts: ApprovalFacts | null = null;
  #record: ApprovalRecord = OPEN;
  /** Openings come one after the other: a request that is repeated while the first is under way finds its work done. */
  #opening: Promise<unknown> = Promise.resolve();

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#store = new ApprovalStore(ctx.storage.sql);
    this.#load();
  }

  /** The active bundle's word on channels, times and people; `voters`: of whom revocation is looked up. Throws without a bundle. */
  protected abstract charter(heldBy: number, voters: readonly string[]): Promise<Charter>;

  /** Tells one channel. Never throws. */
  protected abstract announce(notice: Notice, approval: Approval, gateway: string): Promise<Told>;

  /**
   * Opens it, or finds it open: the same id with the same digest of the same session and agent is the same approval.
   * Throws when the bundle or D1 cannot be read; trying again is safe.
   */
  async open(request: ApprovalRequest, asker: Asker): Promise<Opened> {
    const opening = this.#opening.catch(() => undefined).then(() => this.#open(request, asker));
    this.#opening = opening;
    return opening;
  }

  /** null: there is no such approval. */
  async vote(ballot: Ballot): Promise<VoteVerdict | null> {
    const facts = this.#facts;
    if (facts === null) return null;
    const charter = await this.charter(facts.request.bundle, this.#people(ballot.voter.kind === "unmapped" ? [] : [ballot.voter.name]));
    // From here to the store is one synchronous step: whoever comes second finds the outcome.
    const { record, verdict } = castVote(facts, this.#record, ballot, charter, Date.now());
    this.#become(facts, record);
    return verdict;
  }

  /** Nobody waits for it any more. False: there is no such approval. Repeatable; an outcome that is there stays. */
  withdraw(reason: string): boolean {
    if (this.#facts === null) return false;
    this.#become(this.#facts, withdraw(this.#facts, this.#record, reason, Date.now()));
    return true;
  }

  /** Uses the consent, once; `by`: who gave it. Repeatable by the one that used it. */
  async use(claim: UseClaim): Promise<Used> {
    const facts = this.#facts;
    if (facts === null) return { ok: false };
    const charter = await this.charter(facts.request.bundle, this.#people([]));
    const { record, by } = use(facts, this.#record, claim, charter, Date.now());
    if (record !== this.#record) this.#store.owe("index", Date.now());
    this.#become(facts, record);
    return by === null ? { ok: false } : { ok: true, by: [...by] };
  }

  /** null: there is no such approval. */
  read(): Approval | null {
    const facts = this.#facts;
    if (facts === null) return null;
    this.#become(facts, expire(facts, this.#record, Date.now()));
    return viewOf(facts, this.#record, this.#store.notices());
  }

  /** Retention: nothing is left of it. */
  async forget(): Promise<void> {
    this.#facts = null;
    this.#record = OPEN;
    await this.ctx.storage.deleteAlarm();
    await this.ctx.storage.deleteAll();
  }

  override async alarm(): Promise<void> {
    const facts = this.#facts;
    if (facts === null) return;
    this.#become(facts, expire(facts, this.#record, Date.now()));
    await this.#work(facts);
  }

  // ── opening ──

  #load(): void {
    const stored = this.#store.load();
    this.#facts = stored?.facts ?? null;
    this.#record = stored?.record ?? OPEN;
  }

  async #open(request: ApprovalRequest, asker: Asker): Promise<Opened> {
    const known = this.#facts;
    if (known !== null) return this.#again(known, request, asker);
    const json = new TextEncoder().encode(JSON.stringify(request)).length;
    if (json > MAX_APPROVAL_BYTES)
      return refused("too_large", `The command is ${json} bytes as a request for approval; the limit is ${MAX_APPROVAL_BYTES}.`);
    if ((await digestOf(request)) !== request.digest) return refused("bad_request", "The digest is not the command's.");
    const charter = await this.charter(request.bundle, []);
    const now = Date.now();
    const facts: ApprovalFacts = { request, asker, requested_at: now, expires_at: now + Math.min(request.ttl, charter.ttlMax) };
    const earlier = request.subject.kind === "command" ? await this.#earlierConsent(facts) : null;
    const record = earlier === null ? OPEN : consented(facts, earlier.approval, earlier.by, Date.now());
    const { identity, site, agent } = asker;
    // What runs by an earlier consent asks nobody, so it counts against no quota.
    const none = Number.MAX_SAFE_INTEGER;
    const quotas =
      earlier === null
        ? { perIdentity: APPROVALS_PER_IDENTITY, perSession: APPROVALS_PER_SESSION }
        : { perIdentity: none, perSession: none };
    if (!(await insertApproval(this.env.DB, { request, identity, site, agent, requested_at: now, expires_at: facts.expires_at }, quotas))) {
      return refused(
        "too_many",
        `Too many approvals are open: at most ${APPROVALS_PER_SESSION} of a session, ${APPROVALS_PER_IDENTITY} of an identity.`,
      );
    }
    this.#store.create(facts, record);
    this.#facts = facts;
    this.#record = record;
    if (record.outcome === null) {
      for (const channel of channelsOf(charter, request)) this.#store.addNotice(channel, "requested", now);
    } else this.#store.owe("index", now);
    logInfo("approval_opened", {
      approval: request.approval,
      session: request.session,
      identity,
      target: request.subject.target,
      consent_of: earlier?.approval,
    });
    this.#start(facts);
    return this.#opened(facts);
  }

  #again(facts: ApprovalFacts, request: ApprovalRequest, asker: Asker): Opened {
    const same =
      facts.request.digest === request.digest &&
      facts.request.session === request.session &&
      facts.asker.agent === asker.agent &&
      facts.asker.identity === asker.identity;
    if (!same) return refused("conflict", "This id belongs to another request.");
    this.#become(facts, expire(facts, this.#record, Date.now()));
    return this.#opened(facts);
  }

  #opened({ request, asker, expires_at }: ApprovalFacts): Opened {
    const { outcome, consentOf } = this.#record;
    return { ok: true, expires_at, url: `${asker.gateway}/approvals/${request.approval}`, outcome, consumed: consentOf !== null };
  }

  /** An approved `later` request for this very command, used up now for this one. */
  async #earlierConsent({ request, asker, requested_at }: ApprovalFacts): Promise<{ approval: string; by: readonly string[] } | null> {
    const { identity, workload } = asker;
    const { digest, subject, needs } = request;
    const claim: UseClaim = { by: request.approval, identity, pipeline: pipelineKey(workload), target: subject.target, digest, needs };
    for (const approval of await findConsents(this.env.DB, { identity, target: subject.target, digest, now: requested_at })) {
      if (approval === request.approval) continue;
      const used = await this.env.APPROVALS.getByName(approval).use(claim);
      if (used.ok) return { approval, by: used.by };
    }
    return null;
  }

  // ── what follows ──

  #people(more: readonly string[]): string[] {
    return [...new Set([...more, ...this.#record.votes.filter(({ refused }) => refused === undefined).map(({ voter }) => voter)])];
  }

  /** Stores the change; an outcome that is new is told to all who must hear of it. */
  #become(facts: ApprovalFacts, record: ApprovalRecord): void {
    const before = this.#record;
    if (record === before) return;
    this.#record = record;
    this.#store.save(record);
    if (before.outcome === null && record.outcome !== null) {
      const now = Date.now();
      // A session that was refused at once does not wait.
      if (facts.asker.tell === "site" && facts.request.mode === "wait") this.#store.owe("site", now);
      this.#store.owe("index", now);
      for (const { n, channel, event, state, ...notice } of this.#store.notices()) {
        if (event !== "requested" || state === "failed") continue;
        // Slack's message is settled where it stands; a webhook hears both events, in order.
        if (state === "due" && channel.kind === "slack") this.#store.putNotice(n, { ...notice, state: "skipped" }, null);
        if (state === "sent" || channel.kind === "webhook") this.#store.addNotice(channel, "settled", now);
      }
      logInfo("approval_settled", { approval: facts.request.approval, state: record.outcome.state, at: record.outcome.at });
    }
    this.#start(facts);
  }

  /** Sets the alarm, so that a crash is followed up, and does what is due at once. */
  #start(facts: ApprovalFacts): void {
    this.ctx.waitUntil(this.#work(facts));
  }

  async #work(facts: ApprovalFacts): Promise<void> {
    const now = Date.now();
    const owed = this.#store.takeOwed(now, now + LEASE_MS);
    const notices = this.#store.takeNotices(now, now + LEASE_MS);
    await Promise.all([this.#schedule(), ...owed.map(({ who, attempts }) => this.#pay(facts, who, attempts)), this.#tell(facts, notices)]);
    await this.#schedule();
  }

  async #schedule(): Promise<void> {
    const expires = this.#facts !== null && this.#record.outcome === null ? this.#facts.expires_at : null;
    const due = this.#facts === null ? null : this.#store.firstDue();
    const times = [expires, due].filter((at) => at !== null);
    if (times.length === 0) await this.ctx.storage.deleteAlarm();
    else await this.ctx.storage.setAlarm(Math.min(...times));
  }

  async #pay({ request, asker }: ApprovalFacts, who: Debtor, attempts: number): Promise<void> {
    const { outcome, use: used } = this.#record;
    if (outcome === null) return;
    try {
      switch (who) {
        case "site":
          await this.env.SITES.getByName(asker.site).approvalSettled(request.approval, request.session, outcome);
          break;
        case "index":
          await settleApproval(this.env.DB, request.approval, outcome, used);
          break;
        default:
          unreachable(who);
      }
      // What was used while the row was written is owed anew.
      if (used === this.#record.use) this.#store.paid(who);
    } catch (thrown) {
      logWarning("approval_not_told", { approval: request.approval, who, attempts, reason: reasonOf(thrown) });
      this.#store.putOff(who, attempts + 1, Date.now() + retryAfter(attempts + 1));
    }
  }

  /** One after the other: of one channel the second event may need the first one's receipt. */
  async #tell(facts: ApprovalFacts, notices: readonly Notice[]): Promise<void> {
    for (const notice of notices) {
      // The object may have been forgotten, or the notice settled, meanwhile.
      const current = this.#facts === null ? undefined : this.#store.notices().find(({ n }) => n === notice.n);
      if (current?.state !== "due") continue;
      if (notice.event === "settled" && this.#requestOf(notice)?.state === "due") {
        this.#store.putNotice(notice.n, current, Date.now() + retryAfter(1));
        continue;
      }
      const receipt = notice.event === "settled" ? (this.#requestOf(notice)?.receipt ?? null) : notice.receipt;
      const told = await this.announce({ ...notice, receipt }, viewOf(facts, this.#record, []), facts.asker.gateway);
      if (this.#facts === null) return;
      this.#conclude(facts, notice, told);
    }
  }

  #conclude(facts: ApprovalFacts, notice: Notice, told: Told): void {
    const attempts = notice.attempts + 1;
    if (told.ok) {
      this.#store.putNotice(notice.n, { state: "sent", attempts, error: null, receipt: told.receipt }, null);
      const settled = this.#store.notices().some(({ event, channel }) => event === "settled" && sameChannel(channel, notice.channel));
      // It ended while its message was on the way.
      if (notice.event === "requested" && this.#record.outcome !== null && !settled) {
        this.#store.addNotice(notice.channel, "settled", Date.now());
        this.#start(facts);
      }
      return;
    }
    const over = !told.retry || attempts >= CHAT_ATTEMPTS;
    const due = over ? null : Date.now() + Math.max(retryAfter(attempts), told.after ?? 0);
    this.#store.putNotice(
      notice.n,
      { state: over ? "failed" : "due", attempts, error: told.error.slice(0, 512), receipt: notice.receipt },
      due,
    );
    logWarning("approval_notice_failed", { approval: facts.request.approval, event: notice.event, attempts, over, reason: told.error });
  }

  #requestOf({ channel }: Notice): Notice | undefined {
    return this.#store.notices().find((each) => each.event === "requested" && sameChannel(each.channel, channel));
  }
}

const refused = (code: ErrorCode, message: string = ERRORS[code].sentence): Opened => ({ ok: false, code, message });

async function digestOf({ subject }: ApprovalRequest): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(approvalDigestText(subject)));
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Two groups may share a channel: it is told once. */
const placeOf = ({ kind, channel, url, secret }: Notice["channel"]): string => JSON.stringify([kind, channel, url, secret]);
const sameChannel = (a: Notice["channel"], b: Notice["channel"]): boolean => placeOf(a) === placeOf(b);

function channelsOf({ channels }: Charter, { needs }: ApprovalRequest): Notice["channel"][] {
  const asked = channels.filter(({ group }) => needs.some((need) => need.group === group));
  return [...new Map(asked.map((channel) => [placeOf(channel), channel])).values()];
}
