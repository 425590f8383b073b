/**
 * A target's posture as findings: the masking level it has and why, and what the agent's logins may do beyond their task.
 * What was looked for and not found is one line, so that what was found stands out.
 */
import { PostureAnswer, type PostureFinding } from "../../protocol/posture.ts";
import { CommandFailed } from "../exit.ts";
import { GatewayRefused } from "../ask.ts";
import type { GatewayClient } from "../gateway.ts";
import type { Finding } from "./finding.ts";

const LEVEL = {
  A: "A: the database itself withholds classified columns from the ordinary login",
  B: "B: statements that touch a classified column are refused unless proven a bare projection",
  C: "C: best effort, never protection",
  none: "none: no data class names a column",
} as const;

/** Asks the agent now. Never throws for what the gateway or the agent refuses: that is a finding. */
export async function* examinePosture(gateway: GatewayClient, target: string): AsyncGenerator<Finding> {
  const check = `posture ${target}`;
  let answer: PostureAnswer;
  try {
    answer = await gateway.request(`/v1/targets/${encodeURIComponent(target)}/posture`, PostureAnswer);
  } catch (error) {
    if (!(error instanceof CommandFailed)) throw error;
    const none = error instanceof GatewayRefused && error.problem.code === "bad_request";
    yield { check, status: none ? "skip" : "fail", message: error.message };
    return;
  }
  if (answer.detail === "level") {
    yield {
      check,
      status: "ok",
      message: `masking level ${LEVEL[answer.level]}; what the agent's logins may do is shown to who has target:inspect`,
    };
    return;
  }
  const { level, why, findings, server_version, database } = answer.posture;
  const status = level === "C" ? "warn" : "ok";
  yield { check, status, message: `masking level ${LEVEL[level]}. ${why} (PostgreSQL ${server_version}, database ${database})` };
  for (const finding of findings) if (finding.status !== "ok") yield found(target, finding);
  const fine = [...new Set(findings.filter((finding) => finding.status === "ok").map((finding) => finding.check))];
  const excess = new Set(findings.filter((finding) => finding.status !== "ok").map((finding) => finding.check));
  const clean = fine.filter((name) => !excess.has(name));
  if (clean.length > 0) yield { check, status: "ok", message: `nothing to say of ${clean.join(", ")}` };
}

function found(target: string, { check, status, login, message, sql }: PostureFinding): Finding {
  return { check: `posture ${target} ${check}`, status, message: login === undefined ? message : `${login}: ${message}`, sql };
}
