/**
 * The sessions that a site gave to its agents, and the ends that are owed to their SessionDOs: kept in the store until
 * taken, tried again by the site's alarm. An agent's word counts only for sessions that were given to it.
 */
import type { AgentToEdge, EdgeToAgent } from "../../protocol/agent-control.ts";
import type { ErrorCode } from "../../protocol/errors.ts";
import { RESUME_WINDOW_MS } from "../../protocol/limits.ts";
import type { Env } from "../env.ts";
import { logAlarm, logWarning, reasonOf } from "../log.ts";
import { retryAfter } from "./limits.ts";
import { lostEnd, reconcile, type OwedEnd, type SiteSession } from "./machine.ts";
import type { SiteStore } from "./store.ts";

/** Ends delivered by one alarm; the rest by the next. */
const ENDS_AT_ONCE = 100;

interface Surroundings {
  /** False: the agent has no connection. */
  send(agent: string, message: EdgeToAgent): boolean;
  /** What is owed, or when, has changed: the alarm must be set anew. */
  changed(): void;
  /** The session is over and forgotten here. */
  ended(session: string): void;
}

export class SiteSessions {
  readonly #store: SiteStore;
  readonly #objects: Env["SESSIONS"];
  readonly #around: Surroundings;

  constructor(store: SiteStore, objects: Env["SESSIONS"], around: Surroundings) {
    this.#store = store;
    this.#objects = objects;
    this.#around = around;
  }

  async reported(agent: string, report: Extract<AgentToEdge, { type: "ended" | "refused" }>): Promise<void> {
    const session = this.#store.session(report.session);
    if (session === null) return;
    if (session.agent !== agent) return logAlarm("session_not_of_agent", { agent, session: session.id, said: report.type });
    const now = Date.now();
    const at = report.type === "ended" ? report.at : now;
    const end: OwedEnd = { by: "agent", code: report.code, message: report.message, at, due: now, attempts: 0 };
    this.#store.putSession({ ...session, end });
    this.#around.changed();
    await this.#deliver({ ...session, end }, report.type);
  }

  /** What a hello lists against what is known; decided before this first yields, so that no later dispatch is mistaken. */
  async compare(agent: string, listed: readonly string[]): Promise<void> {
    const { changed, unknown } = reconcile(this.#store.sessionsOf(agent), listed, Date.now());
    for (const session of changed) this.#store.putSession(session);
    this.#around.changed();
    for (const session of unknown) await this.#settleUnknown(agent, session);
  }

  /** The agent is gone: its sessions live on for the resume window. */
  orphan(agent: string): void {
    const now = Date.now();
    for (const session of this.#store.sessionsOf(agent)) {
      if (session.end !== null) continue;
      this.#store.putSession({ ...session, end: lostEnd("the agent did not come back in time", now, now + RESUME_WINDOW_MS) });
    }
  }

  /** Owed at once. */
  endAll(agent: string, code: ErrorCode, message: string): void {
    const now = Date.now();
    for (const session of this.#store.sessionsOf(agent)) {
      this.#store.putSession({ ...session, end: { by: "site", code, message, at: now, due: now, attempts: 0 } });
    }
  }

  async deliverDue(): Promise<void> {
    const due = this.#store.dueEnds(Date.now(), ENDS_AT_ONCE);
    await Promise.all(due.map((session) => this.#deliver(session, "ended")));
  }

  /** An agent holds a session that is not known to be its: the SessionDO knows. */
  async #settleUnknown(agent: string, session: string): Promise<void> {
    try {
      const view = await this.#objects.getByName(session).state();
      if (view.state === "active" && view.agent === agent) this.#store.putSession({ id: session, agent, end: null });
      else if (view.state === "ended") this.#around.send(agent, { type: "kill", session, code: view.code, message: view.message });
      else {
        const message = "the gateway does not know this session as this agent's";
        this.#around.send(agent, { type: "kill", session, code: "session_lost", message });
      }
    } catch (thrown) {
      logWarning("session_not_reconciled", { agent, session, reason: reasonOf(thrown) });
    }
  }

  async #deliver(session: SiteSession, as: "ended" | "refused"): Promise<void> {
    const { id, agent, end } = session;
    if (end === null) return;
    try {
      const object = this.#objects.getByName(id);
      if (end.by === "site") await object.kill(end.code, end.message);
      else if (as === "refused") await object.agentRefused(agent, end.code, end.message);
      else await object.agentEnded(agent, end.code, end.message, end.at);
      this.#store.dropSession(id);
      this.#around.ended(id);
    } catch (thrown) {
      logWarning("end_not_delivered", { session: id, agent, reason: reasonOf(thrown) });
      const attempts = end.attempts + 1;
      this.#store.putSession({ ...session, end: { ...end, attempts, due: Date.now() + retryAfter(attempts) } });
    }
    this.#around.changed();
  }
}
