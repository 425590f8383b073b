/** Questions that a Postgres target answers without a session: its posture, and plans. */
import type { Question } from "../../../../protocol/agent-control.ts";
import { unreachable } from "../../../../protocol/result.ts";
import type { AskContext } from "../../../session.ts";
import type { AnalysisCache } from "../analysis.ts";
import type { Reachable } from "../target/reach.ts";
import { plan } from "./plan.ts";
import { posture } from "./posture.ts";
import { withSideConnection } from "./side.ts";

export async function answerQuestion(
  target: Reachable & { readonly name: string; readonly analysis: AnalysisCache },
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
      return plan(
        question.text,
        (sql) => target.analysis.analyse(sql, target.analysis.serverMajor),
        { target: target.name, database: target.config.database, user: target.config.user, searchPath: target.config.search_path },
        context,
      );
    default:
      return unreachable(question);
  }
}
