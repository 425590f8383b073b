/**
 * Puts a question to an agent of a target's site, and checks the shape of its answer. What fails becomes a refusal with
 * the agent's code and sentence; an answer of another shape is the agent's fault, and is told as that.
 */
import type * as z from "zod";
import { reasonOf } from "../durable-objects/log.ts";
import type { Asked } from "../durable-objects/site/questions.ts";
import type { Question } from "../protocol/agent-control.ts";
import type { ErrorCode } from "../protocol/errors.ts";
import { ASK_TIMEOUT_MS } from "../protocol/limits.ts";
import { err, ok, type Result } from "../protocol/result.ts";
import type { Target } from "../store/targets.ts";
import type { GatewayContext } from "./env.ts";

/** `code` and `message` are for the asker, `reason` for the audit alone. */
export interface NotAnswered {
  readonly code: ErrorCode;
  readonly message: string;
  readonly reason: string;
}

export async function askAgent<T>(
  c: GatewayContext,
  target: Target,
  question: Question,
  shape: z.ZodType<T>,
): Promise<Result<{ readonly agent: string; readonly answer: T }, NotAnswered>> {
  const asked = await askSite(c, target, question);
  if (!asked.ok) return err({ code: asked.code, message: asked.message, reason: `${question.kind}: ${asked.message}` });
  const answer = shape.safeParse(JSON.parse(asked.json));
  if (answer.success) return ok({ agent: asked.agent, answer: answer.data });
  const [issue] = answer.error.issues;
  return err({
    code: "agent_unready",
    message: "The agent's answer is not of this gateway's version: upgrade the older of the two.",
    reason: `agent ${asked.agent} answered ${question.kind} in another shape: ${issue?.path.join(".")}: ${issue?.message}`,
  });
}

/** An object that was restarted meanwhile lost the question with the call. */
async function askSite(c: GatewayContext, target: Target, question: Question): Promise<Asked> {
  try {
    return await c.env.SITES.getByName(target.site).ask(question, ASK_TIMEOUT_MS);
  } catch (thrown) {
    return { ok: false, code: "agent_unready", message: `The question was lost on its way (${reasonOf(thrown)}): ask again.` };
  }
}
