/**
 * SessionDO: one session, named by its id. A thin shell around machine.ts: it holds the upgrades of runner and agent
 * until they are joined, carries out effects, and keeps the truth in SQLite (store.ts).
 *
 * Guarantees: one end, stored before anything is cut; secrets kept as hashes only; one alarm for deadline, loss, cut,
 * retries and cleaning up. D1 and IdentityDO are told of what happened until they have heard it, and being unable to
 * tell them never keeps a session alive.
 * It does not read what passes between runner and agent, and in `coupled` mode does not see their sockets end.
 */
import { DurableObject } from "cloudflare:workers";
import { RESUME_HEADER, SESSION_HEADER } from "../../protocol/api.ts";
import type { ErrorCode } from "../../protocol/errors.ts";
import { mintSecret } from "../../protocol/ids.ts";
import { unreachable } from "../../protocol/result.ts";
import { markSessionActive, markSessionEnded } from "../../store/sessions.ts";
import { refusal } from "../answer.ts";
import type { Env } from "../env.ts";
import { logInfo, logWarning, reasonOf } from "../log.ts";
import type { Coupling } from "./coupling.ts";
import { makeCoupling } from "./couplings.ts";
import type { SessionFacts, SessionView } from "./facts.ts";
import { TELL_AGENT_MS } from "./limits.ts";
import { nextAlarm, step } from "./machine.ts";
import { newRecord, NOBODY, type Presence, type SessionEffect, type SessionEvent, type SessionRecord } from "./record.ts";
import { hashSecret, sameHash } from "./secret.ts";
import { SessionStore } from "./store.ts";
import { parseUpgrade } from "./upgrade.ts";

/** An upgrade that waits for the other side. */
interface Held {
  readonly answer: (response: Response) => void;
  /** For a runner's first socket. */
  readonly resumeSecret: string | null;
  readonly timers: ReturnType<typeof setTimeout>[];
}

const random = (bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> => crypto.getRandomValues(bytes);
const OWED = ["active", "ended", "release"] as const;

export class SessionDO extends DurableObject<Env> {
  readonly #store: SessionStore;
  readonly #coupling: Coupling;
  readonly #held = new Map<number, Held>();
  /** Secret by hash, from minting to dispatch. */
  readonly #minted = new Map<string, string>();
  #facts: SessionFacts | null = null;
  #record: SessionRecord | null = null;
  #presence: Presence = NOBODY;
  #refs = 0;
  #alarmAt: number | null | undefined;
  #telling: Promise<void> = Promise.resolve();
  #settling: "no" | "yes" | "again" = "no";

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#store = new SessionStore(ctx.storage.sql);
    this.#coupling = makeCoupling(env.SALLYPORT_COUPLING, ctx);
    const stored = this.#store.load();
    if (stored === null) return;
    this.#facts = stored.facts;
    this.#record = stored.record;
    this.#presence = { ...NOBODY, live: this.#coupling.found() };
    if (this.#presence.live === null) this.#apply({ type: "woke" });
  }

  /** Before the runner's upgrade is sent here. Repeatable with the same facts. */
  open(facts: SessionFacts): void {
    if (this.#facts !== null) {
      if (JSON.stringify(this.#facts) === JSON.stringify(facts)) return;
      throw new Error("this session is already open with other facts");
    }
    const record = newRecord(facts.startedAt, facts.deadline);
    this.#store.create(facts, record);
    this.#facts = facts;
    this.#record = record;
    this.#schedule();
  }

  /**
   * An upgrade of `upgrade.ts`: held until the other side is there, then 101. Otherwise a refusal (`answer.ts`):
   * `not_found` (no such session, or a wrong secret), `conflict` (replaced by a newer arrival, or an old secret: come
   * again), `site_offline`, `agent_unready`, the agent's own refusal, or, once it is over, 410 with the code of the session's end.
   */
  override async fetch(request: Request): Promise<Response> {
    const upgrade = parseUpgrade(request);
    if (upgrade === null) return refusal("upgrade_required");
    if (this.#record === null || this.#facts === null) return refusal("not_found");
    switch (upgrade.kind) {
      case "connect": {
        const resumeSecret = mintSecret(random);
        return this.#runner(resumeSecret, await hashSecret(resumeSecret));
      }
      case "resume": {
        const presented = await hashSecret(upgrade.secret);
        return sameHash(presented, this.#record.resumeHash) ? this.#runner(null, null) : refusal("not_found");
      }
      case "agent": {
        if (upgrade.site !== this.#facts.site) return refusal("not_found");
        const presented = await hashSecret(upgrade.secret);
        const isDial = sameHash(presented, this.#record.dial?.hash);
        const isOffered = sameHash(presented, this.#record.offered?.hash);
        const secret = isDial ? "dial" : isOffered ? "offered" : "other";
        return this.#arrive(null, (ref) => ({ type: "agent_arrived", ref, agent: upgrade.agent, secret }));
      }
      default:
        return unreachable(upgrade);
    }
  }

  /**
   * Ends the session: stored first, then the agent is told (so that the client hears why in its own protocol), and after
   * KILL_GRACE_MS the sockets are cut. False: there is none, or it had ended before.
   */
  async kill(code: ErrorCode, message: string): Promise<boolean> {
    if (this.#record === null || this.#record.phase.kind === "ended") return false;
    this.#apply({ type: "killed", code, message });
    await this.ctx.storage.sync();
    await Promise.race([this.#telling, scheduler.wait(TELL_AGENT_MS)]);
    return true;
  }

  /** SiteDO passes on that the agent which holds this session ended it. `at`: ms since the epoch, by the agent's clock. */
  agentEnded(agent: string, code: ErrorCode, message: string, at: number): void {
    this.#apply({ type: "agent_ended", agent, code, message, at });
  }

  /** SiteDO passes on that the agent will not take this session. */
  agentRefused(agent: string, code: ErrorCode, message: string): void {
    this.#apply({ type: "agent_refused", agent, code, message });
  }

  state(): SessionView {
    if (this.#record === null || this.#facts === null) return { state: "unknown" };
    const { phase, agent } = this.#record;
    const facts = this.#facts;
    switch (phase.kind) {
      case "opening":
        return { state: "opening", facts };
      case "active":
        return { state: "active", facts, agent: phase.agent, lostAt: phase.lostAt, waiting: this.#waiting() };
      case "ended":
        return { state: "ended", facts, agent, code: phase.code, message: phase.message, at: phase.at };
      default:
        return unreachable(phase);
    }
  }

  override alarm(): void {
    this.#alarmAt = null;
    this.#apply({ type: "alarm" });
  }

  override webSocketMessage(socket: WebSocket, data: string | ArrayBuffer): void {
    this.#uncoupled(this.#coupling.message(socket, data));
  }

  override webSocketClose(socket: WebSocket, code: number, reason: string): void {
    this.#uncoupled(this.#coupling.closed(socket, code, reason));
  }

  override webSocketError(socket: WebSocket): void {
    this.#uncoupled(this.#coupling.closed(socket, 1006, ""));
  }

  #waiting(): ("runner" | "agent")[] {
    const { runner, agent } = this.#presence;
    return [...(runner === null ? [] : (["runner"] as const)), ...(agent === null ? [] : (["agent"] as const))];
  }

  #uncoupled(generation: number | null): void {
    if (generation !== null) this.#apply({ type: "uncoupled", generation });
  }

  async #runner(resumeSecret: string | null, resumeHash: string | null): Promise<Response> {
    const secret = mintSecret(random);
    const freshHash = await hashSecret(secret);
    this.#minted.set(freshHash, secret);
    const answer = this.#arrive(resumeSecret, (ref) => ({ type: "runner_arrived", ref, resumeHash, freshHash }));
    this.#minted.delete(freshHash);
    return answer;
  }

  #arrive(resumeSecret: string | null, event: (ref: number) => SessionEvent): Promise<Response> {
    this.#refs += 1;
    const ref = this.#refs;
    return new Promise((answer) => {
      this.#held.set(ref, { answer, resumeSecret, timers: [] });
      this.#apply(event(ref));
    });
  }

  #apply(event: SessionEvent): void {
    if (this.#record === null) return;
    const before = this.#record;
    const { record, presence, effects } = step(before, this.#presence, event, Date.now());
    this.#record = record;
    this.#presence = presence;
    if (record !== before) this.#store.save(record);
    this.#schedule();
    for (const effect of effects) this.#carryOut(effect);
  }

  /** One alarm for everything: the earliest. */
  #schedule(): void {
    const at = this.#record === null ? null : nextAlarm(this.#record, this.#presence);
    if (at === this.#alarmAt) return;
    this.#alarmAt = at;
    this.ctx.waitUntil(at === null ? this.ctx.storage.deleteAlarm() : this.ctx.storage.setAlarm(at));
  }

  #carryOut(effect: SessionEffect): void {
    switch (effect.type) {
      case "hold":
        return this.#after(effect.ref, effect.ms, { type: "wait_expired", ref: effect.ref });
      case "watch_alone":
        return this.#after(effect.ref, effect.ms, { type: "agent_alone", ref: effect.ref });
      case "dispatch":
        return this.ctx.waitUntil(this.#dispatch(effect.n, effect.redial));
      case "join": {
        const ends = this.#coupling.join(effect.generation);
        this.#answer(effect.runner, (held) => this.#switchingProtocols(ends.runner, held.resumeSecret));
        return this.#answer(effect.agent, () => this.#switchingProtocols(ends.agent, null));
      }
      case "refuse":
        return this.#answer(effect.ref, () => refusal(effect.code, effect.message, effect.over));
      case "drop":
        return this.ctx.waitUntil(this.#coupling.drop());
      case "cut":
        // A timer, so that neither kill() nor an alarm is torn down with the instance that the cut may end.
        return this.ctx.waitUntil(scheduler.wait(effect.ms).then(() => this.#coupling.cut(effect.code)));
      case "tell_agent":
        this.#telling = this.#tellAgent(effect.code, effect.message);
        return this.ctx.waitUntil(this.#telling);
      case "settle":
        return this.ctx.waitUntil(this.#settle());
      case "forget":
        return this.ctx.waitUntil(this.#forget());
      default:
        return unreachable(effect);
    }
  }

  #after(ref: number, ms: number, event: SessionEvent): void {
    this.#held.get(ref)?.timers.push(setTimeout(() => this.#apply(event), ms));
  }

  #answer(ref: number, response: (held: Held) => Response): void {
    const held = this.#held.get(ref);
    if (held === undefined) return;
    this.#held.delete(ref);
    for (const timer of held.timers) clearTimeout(timer);
    held.answer(response(held));
  }

  #switchingProtocols(webSocket: WebSocket, resumeSecret: string | null): Response {
    const headers = new Headers();
    if (this.#facts !== null) headers.set(SESSION_HEADER, this.#facts.id);
    if (resumeSecret !== null) headers.set(RESUME_HEADER, resumeSecret);
    return new Response(null, { status: 101, webSocket, headers });
  }

  async #dispatch(n: number, redial: boolean): Promise<void> {
    const facts = this.#facts;
    const secret = this.#minted.get(this.#record?.offered?.hash ?? "");
    if (facts === null || secret === undefined) throw new Error("bug: a dispatch without a session or its secret");
    try {
      const sent = await this.env.SITES.getByName(facts.site).dispatch({
        session: facts.id,
        target: facts.target,
        identity: facts.identity,
        workload: facts.workload,
        dial_secret: secret,
        started_at: facts.startedAt,
        deadline: facts.deadline,
        bundle: facts.bundle,
        policies: [...facts.policies],
        approvals: [...facts.approvals],
        hold: facts.hold,
        ...(facts.plan === undefined ? {} : { plan: facts.plan }),
        redial,
      });
      this.#apply(sent.ok ? { type: "dispatched", n, agent: sent.agent } : { type: "dispatch_failed", n, code: sent.code });
    } catch (thrown) {
      logWarning("dispatch_failed", { session: facts.id, site: facts.site, reason: reasonOf(thrown) });
      this.#apply({ type: "dispatch_failed", n, code: "agent_unready" });
    }
  }

  /** An agent that cannot be told now hears it when it reconnects (SiteDO) or redials (410). */
  async #tellAgent(code: ErrorCode, message: string): Promise<void> {
    const facts = this.#facts;
    if (facts === null) return;
    try {
      await this.env.SITES.getByName(facts.site).sendKill(facts.id, code, message);
    } catch (thrown) {
      logWarning("agent_not_told", { session: facts.id, site: facts.site, reason: reasonOf(thrown) });
    }
  }

  /** Tells D1 and IdentityDO what is owed, each on its own; what fails is tried again by the alarm. */
  async #settle(): Promise<void> {
    if (this.#settling !== "no") {
      this.#settling = "again";
      return;
    }
    do {
      this.#settling = "yes";
      let failed = false;
      for (const what of OWED) failed = !(await this.#pay(what)) || failed;
      if (failed) this.#apply({ type: "settle_failed" });
      // The other path sets "again" while this one awaits.
    } while ((this.#settling as string) === "again");
    this.#settling = "no";
  }

  async #pay(what: (typeof OWED)[number]): Promise<boolean> {
    const facts = this.#facts;
    const record = this.#record;
    if (facts === null || record === null || !record.owed[what]) return true;
    try {
      const { phase } = record;
      if (what === "active") await markSessionActive(this.env.DB, facts.id, record.agent ?? "");
      else if (what === "release") await this.env.IDENTITIES.getByName(facts.identity).release(facts.id);
      else if (phase.kind === "ended") {
        await markSessionEnded(this.env.DB, facts.id, phase.code, phase.message, phase.at);
        logInfo("session_ended", { session: facts.id, code: phase.code, at: phase.at });
      }
      this.#apply({ type: "settled", what });
      return true;
    } catch (thrown) {
      logWarning("settle_failed", { session: facts.id, what, reason: reasonOf(thrown) });
      return false;
    }
  }

  async #forget(): Promise<void> {
    this.#facts = null;
    this.#record = null;
    await this.ctx.storage.deleteAlarm();
    await this.ctx.storage.deleteAll();
  }
}
