/**
 * `IdentityDO`: one per identity, by its name. Single use of tokens and proofs, session credentials, the quota of live
 * sessions, and revocation. Thin: machine.ts has the rules, store.ts the rows.
 *
 * Guarantees: a key is claimed once, whoever races for it; a revocation that was answered holds for every later call, and
 * ends the sessions that were live even if this object or theirs restarts meanwhile (an alarm tries until it is done).
 * It trusts its callers, which are Workers of the same gateway: tokens and proofs are verified before.
 *
 * An agent's tokens are claimed the same way, in an object named `agent:<id>`, which no identity's name can be.
 */
import { DurableObject } from "cloudflare:workers";
import { ERRORS } from "../../protocol/errors.ts";
import { MAX_CREDENTIALS, MAX_REPLAY_KEYS } from "../../protocol/limits.ts";
import type { Env } from "../env.ts";
import { logWarning, reasonOf } from "../log.ts";
import {
  firstLife,
  isSettled,
  judgeAdmission,
  judgeCredential,
  judgeSingleUse,
  nextAlarm,
  nextLife,
  retryAt,
  SINGLE_USE_MARGIN_MS,
  type Admission,
  type EndAttempt,
  type SingleUse,
  type SingleUseVerdict,
} from "./machine.ts";
import { IdentityStore, type Revocation, type SessionToEnd } from "./store.ts";

/** What may be said of a use of the identity, beside its own answer. */
export type Objection = "revoked" | Exclude<SingleUseVerdict, "ok">;
export type Answer<T, E extends string> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: E };

export interface CredentialUse {
  /** SHA-256 of the credential's secret. */
  readonly hash: string;
  /** Thumbprint of the key that signed the proof. */
  readonly jkt: string;
  readonly proof: SingleUse;
}
export type CredentialObjection = Objection | "unknown" | "expired" | "wrong_key";

export interface UsedCredential {
  /** The claims of the job's token, as JSON. */
  readonly claims: string;
  readonly expires_at: number;
}

export interface IdentityStatus {
  readonly revoked: Revocation | null;
  readonly live_sessions: readonly string[];
  readonly last_used_at: number | null;
}

export interface Revoked {
  readonly revoked_at: number;
  /** Sessions that were live; their end is under way, and sure. */
  readonly sessions_ended: string[];
}

/** How long one attempt to end a session may take before it counts as failed and another may begin, ms. */
const END_TIMEOUT_MS = 3_000;

export class IdentityDO extends DurableObject<Env> {
  readonly #store: IdentityStore;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#store = new IdentityStore(ctx.storage.sql);
  }

  /** True the first time only, until `expiresAt`. False also when the identity is at its cap. Times in ms since the epoch. */
  async claim(key: string, expiresAt: number, now: number = Date.now()): Promise<boolean> {
    const verdict = this.#claim([{ key, until: expiresAt }], now);
    await this.#schedule(now);
    return verdict === "ok";
  }

  /** The identity's use by a job's own token. */
  async present(token: SingleUse, now: number = Date.now()): Promise<"ok" | Objection> {
    const objection = this.#use([token], now);
    await this.#schedule(now);
    return objection ?? "ok";
  }

  // ── session credentials (docs/decisions/0002) ──

  /** Trades a job's token for a credential: token and proof are claimed and the credential stored, all or nothing. */
  async issue(
    request: CredentialUse & { readonly token: SingleUse; readonly claims: string },
    now: number = Date.now(),
  ): Promise<Answer<{ expires_at: number }, Objection>> {
    const objection = this.#isFull(now) ? "too_many" : this.#use([request.token, request.proof], now);
    if (objection !== null) return { ok: false, error: objection };
    const life = firstLife(now);
    this.#store.addCredential(request.hash, { jkt: request.jkt, claims: request.claims, ...life });
    await this.#schedule(now);
    return { ok: true, value: { expires_at: life.expires_at } };
  }

  async use(use: CredentialUse, now: number = Date.now()): Promise<Answer<UsedCredential, CredentialObjection>> {
    const answer = this.#useCredential(use, now);
    await this.#schedule(now);
    return answer.ok ? { ok: true, value: { claims: answer.value.claims, expires_at: answer.value.expires_at } } : answer;
  }

  /**
   * Another credential of the same key and claims. The old one stays until its own expiry: requests under way
   * with it are not cut off, and it is worth nothing without the key. Its proof was claimed by `use`, which comes before.
   */
  async renew(hash: string, next: string, now: number = Date.now()): Promise<Answer<{ expires_at: number }, CredentialObjection>> {
    if (this.#store.revocation() !== null) return { ok: false, error: "revoked" };
    const old = this.#store.credential(hash);
    if (old === null) return { ok: false, error: "unknown" };
    const life = nextLife(old.ends_at, now);
    if (now >= old.expires_at || now >= life.expires_at) return { ok: false, error: "expired" };
    if (this.#isFull(now)) return { ok: false, error: "too_many" };
    this.#store.addCredential(next, { jkt: old.jkt, claims: old.claims, ...life });
    await this.#schedule(now);
    return { ok: true, value: { expires_at: life.expires_at } };
  }

  // ── live sessions ──

  /** Counts the session against `limit` until it is released or its deadline passes. Asking again for the same one is free. */
  async admit(session: string, limit: number, deadline: number, now: number = Date.now()): Promise<Admission> {
    const live = this.#store.liveSessions(now);
    const admission = judgeAdmission(this.#store.revocation() !== null, live.includes(session), live.length, limit);
    if (admission === "ok") this.#store.addSession(session, deadline, now);
    await this.#schedule(now);
    return admission;
  }

  /** Repeatable; unknown sessions are no error. */
  release(session: string): void {
    this.#store.dropSession(session);
  }

  /** Repeatable: keeps the first revocation's facts, and tries again to end what is still live. */
  async revoke(reason: string, by: string, now: number = Date.now()): Promise<Revoked> {
    const revocation = this.#store.revocation() ?? { at: now, by, reason };
    this.#store.setRevocation(revocation);
    this.#store.dropCredentials();
    const live = this.#store.liveSessions(now);
    this.#store.endAll(now);
    await this.#endSessions(now);
    return { revoked_at: revocation.at, sessions_ended: live };
  }

  /** Lifts a revocation. Credentials stay gone and sessions being ended still end: jobs exchange and connect again. */
  async restore(_now: number = Date.now()): Promise<void> {
    this.#store.setRevocation(null);
  }

  status(now: number = Date.now()): IdentityStatus {
    return { revoked: this.#store.revocation(), live_sessions: this.#store.liveSessions(now), last_used_at: this.#store.lastUsedAt() };
  }

  override async alarm(): Promise<void> {
    const now = Date.now();
    this.#store.dropExpired(now);
    await this.#endSessions(now);
  }

  // ── inside ──

  #claim(keys: readonly SingleUse[], now: number): SingleUseVerdict {
    const seen = keys.some(({ key }) => this.#store.hasUsed(key, now));
    let verdict = judgeSingleUse(seen, this.#store.remembered(), keys.length, MAX_REPLAY_KEYS);
    if (verdict === "too_many") {
      this.#store.dropExpired(now);
      verdict = judgeSingleUse(seen, this.#store.remembered(), keys.length, MAX_REPLAY_KEYS);
    }
    if (verdict === "ok") for (const { key, until } of keys) this.#store.remember({ key, until: until + SINGLE_USE_MARGIN_MS });
    return verdict;
  }

  /** Null: used. Nothing is claimed for a revoked identity. */
  #use(keys: readonly SingleUse[], now: number): Objection | null {
    if (this.#store.revocation() !== null) return "revoked";
    const verdict = this.#claim(keys, now);
    if (verdict !== "ok") return verdict;
    this.#store.touch(now);
    return null;
  }

  #useCredential(use: CredentialUse, now: number): Answer<UsedCredential, CredentialObjection> {
    // Revocation empties the table: say why the credential is gone.
    if (this.#store.revocation() !== null) return { ok: false, error: "revoked" };
    const found = this.#store.credential(use.hash);
    const verdict = judgeCredential(found, use.jkt, now);
    if (found === null || verdict !== "ok") return { ok: false, error: verdict === "ok" ? "unknown" : verdict };
    const objection = this.#use([use.proof], now);
    return objection === null ? { ok: true, value: found } : { ok: false, error: objection };
  }

  #isFull(now: number): boolean {
    return this.#store.liveCredentials(now) >= MAX_CREDENTIALS;
  }

  async #endSessions(now: number): Promise<void> {
    const due = this.#store.takeDue(now, now + END_TIMEOUT_MS);
    // Before the first attempt, so that a crash in the middle of it is followed up when the lease is over.
    await this.#schedule(now);
    await Promise.all(due.map((session) => this.#endSession(session, now)));
    await this.#schedule(now);
  }

  async #endSession(due: SessionToEnd, now: number): Promise<void> {
    const attempt = await this.#attempt(due.session);
    if (isSettled(attempt, due.admitted_at, now)) this.#store.dropSession(due.session);
    else this.#store.postponeEnd(due.session, due.attempts + 1, retryAt(due.attempts + 1, now));
  }

  async #attempt(session: string): Promise<EndAttempt> {
    // Ended with the attempt: a timer left behind would keep this object awake.
    const answered = new AbortController();
    try {
      const ended = this.env.SESSIONS.getByName(session).kill("identity_revoked", ERRORS.identity_revoked.sentence);
      const late = scheduler.wait(END_TIMEOUT_MS, { signal: answered.signal }).then(
        () => null,
        () => null,
      );
      const answer = await Promise.race([ended, late]);
      return answer === null ? "failed" : answer ? "ended" : "nothing";
    } catch (failure) {
      logWarning("session_not_ended_yet", { session, code: "identity_revoked", reason: reasonOf(failure) });
      return "failed";
    } finally {
      answered.abort();
    }
  }

  /** One alarm for all that is due. Left alone when it would only move a cleaning further off. */
  async #schedule(now: number): Promise<void> {
    const wanted = nextAlarm(this.#store.nextEnd(), this.#store.holdsExpiring(), now);
    const set = await this.ctx.storage.getAlarm();
    if (wanted !== null && (set === null || wanted < set)) await this.ctx.storage.setAlarm(wanted);
  }
}
