/**
 * Questions from the gateway that need no session (posture, plans): finds the target's room, gives it the policy that
 * is active now, bounds how many are answered at once, for how long and how large the answers are.
 *
 * Guarantees: exactly one answer to each question; what a room throws reaches the gateway only as `AskRefused` words
 * it, everything else as `internal`, with the reason in this agent's log.
 */
import type { Logger } from "pino";
import type { AgentToEdge, EdgeToAgent, Question } from "../protocol/agent-control.ts";
import type { ErrorCode } from "../protocol/errors.ts";
import { ASK_TIMEOUT_MS, MAX_AGENT_CONTROL } from "../protocol/limits.ts";
import { describeFault } from "./fault-domain.ts";
import { denied, targetFactsOf } from "./facts.ts";
import type { PolicyHolder } from "./policy-holder.ts";
import { AskRefused, type AskContext } from "./session.ts";
import type { ServedTarget } from "./sessions.ts";

type Ask = Extract<EdgeToAgent, { type: "ask" }>;
type Answer = Extract<AgentToEdge, { type: "answer" }>["answer"];

/** Questions answered at once: each may open a connection to its target. */
const MAX_ANSWERING = 4;
/** The gateway has given up a little later. ms */
const GIVE_UP_MS = ASK_TIMEOUT_MS - 1_000;
/** Characters of an `answer` message around its value. */
const ENVELOPE = 256;

export interface QuestionsOptions {
  readonly targets: ReadonlyMap<string, ServedTarget>;
  readonly policy: Pick<PolicyHolder, "standing" | "version" | "masking">;
  readonly maskText: (text: string) => string;
  readonly log: Logger;
  readonly now: () => number;
  /** ms; default a little less than ASK_TIMEOUT_MS. */
  readonly giveUpMs?: number;
}

const failed = (code: ErrorCode, message: string): Answer => ({ ok: false, code, message: message.slice(0, 1024) });

export class Questions {
  readonly #o: QuestionsOptions;
  #answering = 0;

  constructor(options: QuestionsOptions) {
    this.#o = options;
  }

  /** Never rejects. */
  async answer({ question }: Ask): Promise<Answer> {
    const target = this.#o.targets.get(question.target);
    if (target === undefined) return failed("target_unknown", "The agent does not serve this target.");
    const { server, announcement } = target;
    if (server.ask === undefined) return failed("bad_request", `A ${announcement.protocol} target has no answer to this.`);
    if (this.#answering >= MAX_ANSWERING) return failed("agent_unready", "The agent is answering other questions: try again.");
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(new Error("nobody waits for the answer any more")), this.#o.giveUpMs ?? GIVE_UP_MS);
    const gaveUp = new Promise<never>((_, reject) =>
      late.signal.addEventListener("abort", () => reject(late.signal.reason as Error), { once: true }),
    );
    this.#answering += 1;
    const free = (): void => void (this.#answering -= 1);
    try {
      const asked = server.ask(question, this.#context(question, target, late.signal));
      // A room that goes on after it was told to stop keeps its place.
      asked.then(free, free);
      const value = await Promise.race([asked, gaveUp]);
      const size = JSON.stringify(value).length;
      if (size <= MAX_AGENT_CONTROL - ENVELOPE) return { ok: true, value };
      return failed("too_large", `The answer would be ${size} characters long, over the limit of ${MAX_AGENT_CONTROL}: ask about less.`);
    } catch (error) {
      const log = this.#o.log.child({ target: question.target, question: question.kind });
      if (error instanceof AskRefused) {
        log.warn({ code: error.code, reason: error.message }, "a question was not answered");
        return failed(error.code, error.message);
      }
      if (late.signal.aborted) return failed("agent_unready", "The target did not answer in time.");
      log.error(describeFault(error), "a question failed inside the agent");
      return failed("internal", "The agent failed to answer; its log says why.");
    } finally {
      clearTimeout(timer);
    }
  }

  #context(question: Question, { announcement }: ServedTarget, signal: AbortSignal): AskContext {
    const { policy, maskText, log, now } = this.#o;
    const facts = targetFactsOf(announcement);
    return {
      decideAll: (needs, approvals = []) => {
        const standing = policy.standing();
        if (standing.kind === "none") return denied(standing.reason);
        if (question.kind !== "plan") return denied("The question names no identity.");
        const { identity, workload } = question;
        const context = { approvals, workload, now: now() };
        return standing.policy.decideAll(
          needs.map(({ action, resource }) => ({ identity, action, resource, context })),
          facts,
        );
      },
      masking: () => policy.masking(question.target),
      maskText,
      policyVersion: policy.version,
      log: log.child({ target: question.target }),
      signal,
    };
  }
}
