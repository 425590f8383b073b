/**
 * Questions that the site's agents are answering: each has an id, one asker, a time limit, and the connection it went
 * out on. Held in memory alone: an asker is an RPC call, which does not outlive the instance either. If the instance
 * goes, the call fails and an answer that still comes is nobody's.
 */
import type { AgentToEdge } from "../../protocol/agent-control.ts";
import type { ErrorCode } from "../../protocol/errors.ts";
import { MAX_OPEN_QUESTIONS } from "../../protocol/limits.ts";

export type Answer = Extract<AgentToEdge, { type: "answer" }>["answer"];

/** JSON text, since RPC has no type for `unknown`; or why there is no answer: a stable code, and a sentence for the asker. */
export type Asked =
  | { readonly ok: true; readonly agent: string; readonly json: string }
  | { readonly ok: false; readonly code: ErrorCode; readonly message: string };

interface Open {
  readonly agent: string;
  readonly connection: number;
  readonly settle: (asked: Asked) => void;
}

const failed = (code: ErrorCode, message: string): Asked => ({ ok: false, code, message });

export class Questions {
  readonly #open = new Map<string, Open>();

  /** `send` puts the question, by this id, on the agent's connection; false when it cannot. */
  async ask(agent: string, connection: number, timeoutMs: number, send: (id: string) => boolean): Promise<Asked> {
    if (this.#open.size >= MAX_OPEN_QUESTIONS) {
      return failed("agent_unready", `${MAX_OPEN_QUESTIONS} questions to the agents of this site are open already: try again.`);
    }
    const id = crypto.randomUUID();
    return new Promise((resolve) => {
      const settle = (asked: Asked): void => {
        clearTimeout(timer);
        this.#open.delete(id);
        resolve(asked);
      };
      const timer = setTimeout(
        () => settle(failed("agent_unready", `The agent did not answer within ${Math.round(timeoutMs / 1000)} s.`)),
        timeoutMs,
      );
      this.#open.set(id, { agent, connection, settle });
      if (!send(id)) settle(failed("site_offline", "The agent's connection was lost."));
    });
  }

  /** What an agent says on a connection. An answer to what it was not asked, or was asked elsewhere, is nobody's: false. */
  answered(agent: string, connection: number, id: string, answer: Answer): boolean {
    const open = this.#open.get(id);
    if (open?.agent !== agent || open.connection !== connection) return false;
    open.settle(answer.ok ? { ok: true, agent, json: JSON.stringify(answer.value ?? null) } : answer);
    return true;
  }

  /** The connection is gone: nothing more comes on it. */
  lost(agent: string, connection: number): void {
    for (const open of this.#open.values()) {
      if (open.agent === agent && open.connection === connection) {
        open.settle(failed("agent_unready", "The agent's connection was lost while it answered: try again."));
      }
    }
  }
}
