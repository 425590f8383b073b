/**
 * SiteDO: one site, by its name. Holds the control sockets of the site's agents (they hibernate), gives sessions to
 * agents, carries kills and bundles to them and what they say of sessions to the SessionDOs.
 *
 * Guarantees: only what the schema knows is acted on; an agent speaks only for sessions that were given to it; a
 * target is served only once D1 has let the site's agent claim it (GW-14); an end that was reported reaches the
 * SessionDO even if that takes retries; a session whose agent does not come back, or no longer lists it, is ended.
 * It never sees a session's bytes, a token, or a dial secret beyond passing it on.
 */
import { DurableObject } from "cloudflare:workers";
import {
  AGENT_PING,
  AGENT_PONG,
  AgentToEdge,
  type BundleFiles,
  type Dispatch,
  type EdgeToAgent,
  type Question,
} from "../../protocol/agent-control.ts";
import type { ApprovalOutcome } from "../../protocol/approval.ts";
import { ERRORS, type ErrorCode } from "../../protocol/errors.ts";
import { ASK_TIMEOUT_MS, MAX_AGENT_CONTROL } from "../../protocol/limits.ts";
import { unreachable } from "../../protocol/result.ts";
import { refusal } from "../answer.ts";
import type { Env } from "../env.ts";
import { logAlarm, logInfo, logWarning, reasonOf } from "../log.ts";
import { SiteApprovals } from "./approvals.ts";
import { ControlSockets, type Line } from "./control-sockets.ts";
import { greet, touch } from "./greeting.ts";
import { REDIAL_WAIT_MS, RETURN_WAIT_MS } from "./limits.ts";
import { agentAlarm, chooseAgent, maySoonServe, REPLACED, stepAgent, type AgentEffect, type AgentEvent } from "./machine.ts";
import { Questions, type Asked } from "./questions.ts";
import { SiteSessions } from "./sessions.ts";
import { SiteStore, type StoredAgent } from "./store.ts";
import { parseControlUpgrade } from "./upgrade.ts";

export type DispatchOrder = Omit<Dispatch, "type">;
/** Sent to that agent; or why nobody got it. */
export type DispatchResult = { readonly ok: true; readonly agent: string } | { readonly ok: false; readonly code: ErrorCode };

export interface OnlineAgent {
  readonly id: string;
  readonly name: string;
  readonly version: string;
  readonly bundle: number;
  /** Names of the targets that it serves. */
  readonly targets: readonly string[];
  readonly draining: boolean;
  readonly sessions: number;
}

const POLICY_VIOLATION = 1008;
const MESSAGE_TOO_BIG = 1009;
/** Characters of an `ask` around its question. */
const ASK_ENVELOPE = 256;

export class SiteDO extends DurableObject<Env> {
  readonly #store: SiteStore;
  readonly #sockets: ControlSockets;
  readonly #sessions: SiteSessions;
  readonly #approvals: SiteApprovals;
  readonly #questions = new Questions();
  /** Dispatches that wait for an agent's state to change. */
  readonly #waiting = new Set<() => void>();
  #alarmAt: number | null | undefined;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#store = new SiteStore(ctx.storage.sql);
    this.#sockets = new ControlSockets(ctx);
    this.#sessions = new SiteSessions(this.#store, env.SESSIONS, {
      send: (agent, message) => this.#send(agent, message),
      changed: () => this.#schedule(),
      ended: (session) => this.#approvals.sessionEnded(session),
    });
    this.#approvals = new SiteApprovals(this.#store, env, {
      send: (agent, message) => this.#send(agent, message),
      changed: () => this.#schedule(),
    });
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair(AGENT_PING, AGENT_PONG));
    // A deploy drops sockets without an event: what storage says of them is believed only if they are there.
    for (const { id, state } of this.#store.agents()) {
      if (state.kind !== "gone" && !this.#sockets.has(id, state.connection)) {
        this.#apply(id, { type: "closed", connection: state.connection, code: 1006 });
      }
    }
  }

  /** An agent's control socket (`controlUpgrade`), already authenticated. */
  override fetch(request: Request): Response {
    const facts = parseControlUpgrade(request);
    if (facts === null) return refusal("upgrade_required");
    const connection = this.#store.nextConnection();
    const known = this.#store.agent(facts.agent);
    if (known?.name !== facts.name)
      this.#store.putAgent({ id: facts.agent, name: facts.name, state: known?.state ?? { kind: "gone", since: 0, expected: [] } });
    const client = this.#sockets.accept({
      agent: facts.agent,
      name: facts.name,
      site: facts.site,
      gateway: facts.gateway,
      connection,
      bundle: 0,
    });
    this.#apply(facts.agent, { type: "connected", connection });
    this.#send(facts.agent, { type: "welcome", agent: facts.agent, site: facts.site, gateway: facts.gateway, now: Date.now() });
    return new Response(null, { status: 101, webSocket: client });
  }

  /**
   * Sends a session to an agent: a new one to a ready agent that serves the target (`site_offline` at once when there is
   * none and none was cut off within RETURN_WAIT_MS), a redial to the agent that holds the session, waiting REDIAL_WAIT_MS for its socket if that was lost too.
   * `session_lost`: no agent holds it.
   */
  async dispatch(order: DispatchOrder): Promise<DispatchResult> {
    const given = this.#store.session(order.session);
    if (order.redial && given === null) return { ok: false, code: "session_lost" };
    // A session that is still opening may go to another agent when its first one went.
    const agent =
      given !== null && (order.redial || this.#isReady(given.agent)) ? await this.#ready(given.agent) : await this.#available(order.target);
    if (agent === null) return { ok: false, code: "site_offline" };
    // Before it is sent: an agent may answer before this returns.
    if (given?.agent !== agent) this.#store.putSession({ id: order.session, agent, end: null });
    if (this.#send(agent, { type: "dispatch", ...order })) return { ok: true, agent };
    if (given === null) this.#store.dropSession(order.session);
    return { ok: false, code: "site_offline" };
  }

  /** SessionDO ended the session: tells its agent, if connected (otherwise it hears it after its next hello), and forgets it. */
  sendKill(session: string, code: ErrorCode, message: string): void {
    const given = this.#store.session(session);
    if (given === null) return;
    this.#store.dropSession(session);
    this.#approvals.sessionEnded(session);
    this.#send(given.agent, { type: "kill", session, code, message: message.slice(0, 1024) });
  }

  /** An approval that a session waits for has its outcome: its agent is told, if connected (otherwise it asks again). */
  approvalSettled(approval: string, session: string, outcome: ApprovalOutcome): void {
    this.#approvals.settled(approval, session, outcome);
  }

  /** To every connected agent; one that already has this version or a newer one gets nothing. Returns how many were sent it. */
  pushBundle(version: number, digest: string, files: BundleFiles): number {
    let sent = 0;
    for (const { id } of this.#store.agents()) if (this.#sendBundle(id, version, digest, files)) sent += 1;
    return sent;
  }

  /**
   * Asks a ready agent that serves the question's target, and waits for its answer for `timeoutMs`, ASK_TIMEOUT_MS at most.
   * The asker has decided that it may be asked. What is answered is the agent's word, and of the shape the asker checks.
   */
  async ask(question: Question, timeoutMs: number): Promise<Asked> {
    const agent = await this.#available(question.target);
    const state = agent === null ? undefined : this.#store.agent(agent)?.state;
    if (agent === null || state === undefined || state.kind === "gone") {
      return { ok: false, code: "site_offline", message: ERRORS.site_offline.sentence };
    }
    if (JSON.stringify(question).length > MAX_AGENT_CONTROL - ASK_ENVELOPE) {
      return { ok: false, code: "too_large", message: ERRORS.too_large.sentence };
    }
    const { connection } = state;
    return this.#questions.ask(agent, connection, Math.min(timeoutMs, ASK_TIMEOUT_MS), (id) =>
      this.#sockets.sendOn(agent, connection, JSON.stringify({ type: "ask", id, question } satisfies EdgeToAgent)),
    );
  }

  /** The agent's key was revoked: its socket is closed, its sessions end. Repeatable. */
  async revokeAgent(agent: string): Promise<void> {
    this.#send(agent, { type: "bye", code: "agent_unknown", message: ERRORS.agent_unknown.sentence });
    this.#sessions.endAll(agent, "session_killed", "The agent that served the session was revoked.");
    this.#store.dropAgent(agent);
    this.#sockets.closeAll(agent, POLICY_VIOLATION, "revoked");
    this.#schedule();
    await this.#sessions.deliverDue();
  }

  /** The agents that are connected and have said hello. */
  agents(): OnlineAgent[] {
    return this.#store.agents().flatMap(({ id, name, state }) => {
      if (state.kind !== "ready") return [];
      const { version, bundle, targets, draining } = state;
      return [{ id, name, version, bundle, targets, draining, sessions: this.#store.countSessions(id) }];
    });
  }

  override async alarm(): Promise<void> {
    this.#alarmAt = null;
    for (const { id } of this.#store.agents()) this.#apply(id, { type: "alarm" });
    await Promise.all([this.#sessions.deliverDue(), this.#approvals.deliverDue()]);
    this.#schedule();
  }

  override async webSocketMessage(socket: WebSocket, data: string | ArrayBuffer): Promise<void> {
    const line = this.#sockets.line(socket);
    if (typeof data !== "string") return this.#violation(line, "a binary message");
    if (data.length > MAX_AGENT_CONTROL) return this.#violation(line, `a message of ${data.length} characters`, MESSAGE_TOO_BIG);
    const message = parseAgentMessage(data);
    if (message === null) return this.#violation(line, "a message that the schema does not know");
    const { agent, connection } = line;
    const stored = this.#store.agent(agent);
    // What a replaced connection still says is not the agent's word any more.
    if (stored === null || stored.state.kind === "gone" || stored.state.connection !== connection) return;
    switch (message.type) {
      case "hello":
        return this.#apply(agent, { type: "hello", connection, hello: message });
      case "draining":
        return this.#apply(agent, { type: "draining", connection });
      case "bundle_applied":
        if (message.error !== undefined) logAlarm("bundle_refused_by_agent", { agent, version: message.version, error: message.error });
        else this.#apply(agent, { type: "bundle_applied", connection, version: message.version });
        return;
      case "answer":
        if (!this.#questions.answered(agent, connection, message.id, message.answer))
          logInfo("answer_to_nobody", { agent, question: message.id });
        return;
      case "approval_request":
        return this.#approvals.requested(agent, line.site, line.gateway, message.request);
      case "approval_withdraw":
        return this.#approvals.withdrawn(agent, message);
      case "ended":
      case "refused":
        return this.#sessions.reported(agent, message);
      default:
        return unreachable(message);
    }
  }

  override webSocketClose(socket: WebSocket, code: number): void {
    const { agent, connection } = this.#sockets.line(socket);
    this.#apply(agent, { type: "closed", connection, code });
  }

  override webSocketError(socket: WebSocket): void {
    this.webSocketClose(socket, 1006);
  }

  // ── agents ──

  #apply(id: string, event: AgentEvent): void {
    const agent = this.#store.agent(id);
    if (event.type === "closed") this.#questions.lost(id, event.connection);
    if (agent === null) return;
    const { state, effects } = stepAgent(agent.state, event, Date.now());
    const next = { ...agent, state };
    if (state !== agent.state) this.#store.putAgent(next);
    if (state !== agent.state) for (const wake of this.#waiting) wake();
    for (const effect of effects) this.#carryOut(next, effect);
    this.#schedule();
  }

  #carryOut(agent: StoredAgent, effect: AgentEffect): void {
    const { id, name } = agent;
    switch (effect.type) {
      case "replace": {
        const message = "another connection with this agent's key took its place";
        this.#sockets.sendOn(id, effect.connection, JSON.stringify({ type: "bye", code: "conflict", message } satisfies EdgeToAgent));
        return this.#sockets.close(id, effect.connection, REPLACED, "replaced");
      }
      case "greet":
        return this.ctx.waitUntil(this.#greet(agent));
      case "touch":
        return this.ctx.waitUntil(touch(this.env.DB, agent, Date.now()));
      case "reconcile":
        this.ctx.waitUntil(this.#sessions.compare(id, effect.listed));
        return;
      case "orphan":
        logInfo("agent_gone", { agent: id, name });
        return this.#sessions.orphan(id);
      case "duplicate":
        return logAlarm("agent_duplicate", { agent: id, name, reason: "two live connections used one agent's key (GW-14)" });
      case "violation":
        return this.#violation({ agent: id, name, connection: effect.connection }, effect.reason);
      default:
        return unreachable(effect);
    }
  }

  async #greet(agent: StoredAgent): Promise<void> {
    const { id, state } = agent;
    if (state.kind !== "ready") return;
    const { connection } = state;
    const site = this.#sockets.site(id, connection);
    if (site === null) return;
    try {
      const { targets, bundle } = await greet(this.env.DB, { ...agent, site }, state.announced, Date.now());
      this.#apply(id, { type: "claimed", connection, targets });
      if (bundle !== null) this.#sendBundle(id, bundle.version, bundle.digest, bundle.files);
    } catch (thrown) {
      logWarning("claim_failed", { agent: id, site, reason: reasonOf(thrown) });
      this.#apply(id, { type: "claim_failed", connection });
    }
  }

  #choose(target: string): string | null {
    const candidates = this.#store.agents().map(({ id, state }) => ({
      id,
      state,
      sessions: this.#store.countSessions(id),
      pingedAt: state.kind === "ready" ? this.#sockets.pingedAt(id, state.connection) : null,
    }));
    return chooseAgent(candidates, target, Date.now());
  }

  #isReady(agent: string): boolean {
    return this.#store.agent(agent)?.state.kind === "ready";
  }

  /** The agent once it is ready, or null after REDIAL_WAIT_MS. */
  async #ready(agent: string): Promise<string | null> {
    await this.#until(REDIAL_WAIT_MS, () => this.#isReady(agent));
    return this.#isReady(agent) ? agent : null;
  }

  /** An agent for a new session: at once, unless one is just coming back. */
  async #available(target: string): Promise<string | null> {
    const nobodyComes = (): boolean => !this.#store.agents().some(({ state }) => maySoonServe(state, target, Date.now()));
    await this.#until(RETURN_WAIT_MS, () => this.#choose(target) !== null || nobodyComes());
    return this.#choose(target);
  }

  /** Returns once `done` holds, looking at each change of an agent's state, or after `ms`. */
  async #until(ms: number, done: () => boolean): Promise<void> {
    if (done()) return;
    await new Promise<void>((resolve) => {
      const finish = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(look);
        resolve();
      };
      const look = (): void => {
        if (done()) finish();
      };
      const timer = setTimeout(finish, ms);
      this.#waiting.add(look);
    });
  }

  /** False: the agent has no connection. */
  #send(agent: string, message: EdgeToAgent): boolean {
    const state = this.#store.agent(agent)?.state;
    return state !== undefined && state.kind !== "gone" && this.#sockets.sendOn(agent, state.connection, JSON.stringify(message));
  }

  #sendBundle(agent: string, version: number, digest: string, files: BundleFiles): boolean {
    const state = this.#store.agent(agent)?.state;
    if (state === undefined || state.kind === "gone") return false;
    const text = JSON.stringify({ type: "bundle", version, digest, files } satisfies EdgeToAgent);
    if (text.length <= MAX_AGENT_CONTROL) return this.#sockets.sendBundle(agent, state.connection, version, text);
    logAlarm("bundle_too_large", { agent, version, characters: text.length, limit: MAX_AGENT_CONTROL });
    return false;
  }

  #violation(line: Pick<Line, "agent" | "name" | "connection">, reason: string, code = POLICY_VIOLATION): void {
    logWarning("agent_violation", { agent: line.agent, name: line.name, reason });
    this.#sockets.close(line.agent, line.connection, code, reason);
    this.#apply(line.agent, { type: "closed", connection: line.connection, code });
  }

  #schedule(): void {
    const times = [this.#store.firstDue(), ...this.#store.agents().map(({ state }) => agentAlarm(state))].filter((at) => at !== null);
    const at = times.length === 0 ? null : Math.min(...times);
    if (at === this.#alarmAt) return;
    this.#alarmAt = at;
    this.ctx.waitUntil(at === null ? this.ctx.storage.deleteAlarm() : this.ctx.storage.setAlarm(at));
  }
}

function parseAgentMessage(text: string): AgentToEdge | null {
  try {
    const parsed = AgentToEdge.safeParse(JSON.parse(text));
    return parsed.success ? parsed.data : null;
  } catch {
    return null;
  }
}
