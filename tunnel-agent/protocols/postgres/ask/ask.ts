/** Questions that a Postgres target answers without a session: its posture. */
import type { Question } from "../../../../protocol/agent-control.ts";
import { unreachable } from "../../../../protocol/result.ts";
import { AskRefused, type AskContext } from "../../../session.ts";
import type { Reachable } from "../target/reach.ts";
import { posture } from "./posture.ts";
import { withSideConnection } from "./side.ts";

export async function answerQuestion(
  target: Reachable & { readonly name: string },
  question: Question,
  context: AskContext,
): Promise<unknown> {
  switch (question.kind) {
    case "posture": {
      const settings = {
        target: target.name,
        ordinary: target.config.user,
        unmasked: target.config.classified_login?.user,
        masking: target.config.masking,
      } as const;
      const log = (reason: string): void => context.log.warn(`target not reached: ${context.maskText(reason)}`);
      return withSideConnection(target, context.signal, log, (run) => posture(run, context.masking(), settings, context.policyVersion));
    }
    case "plan":
      throw new AskRefused("bad_request", "This agent cannot plan yet.");
    default:
      return unreachable(question);
  }
}
