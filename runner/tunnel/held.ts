/**
 * Commands that policy holds for an approval, as the connector sees them: whether this job waits for approvals
 * (SALLYPORT_HOLD), what its user is told, and whether something was refused until it is approved, which decides the
 * exit status of `sallyport run`.
 */
import type { ApprovalNotice } from "../../protocol/stream/control.ts";
import { CommandFailed, EXIT } from "../exit.ts";
import type { Environment } from "../identity/types.ts";
import type { Reporter } from "../reporter.ts";

export type HoldMode = "wait" | "fail";

/** Undefined: as the identity's declaration says. @throws CommandFailed */
export function holdMode(env: Environment): HoldMode | undefined {
  const text = env["SALLYPORT_HOLD"];
  if (text === undefined || text === "") return undefined;
  if (text === "wait" || text === "fail") return text;
  throw new CommandFailed(
    EXIT.usage,
    `SALLYPORT_HOLD is ${JSON.stringify(text)}: write wait (a held command waits for its approval) or fail (it is refused at once, to be run again once approved)`,
  );
}

/** Approvals of one run, over all its targets. */
export class HeldCommands {
  readonly #report: Reporter;
  readonly #refused = new Set<string>();

  constructor(report: Reporter) {
    this.#report = report;
  }

  /** What the agent of `target` says. */
  heard(target: string, { approval, state, message }: ApprovalNotice): void {
    const text = `${target}: ${message}`;
    const facts = { target, approval, state };
    switch (state) {
      case "refused":
        this.#refused.add(approval);
        this.#report.warn("approval", text, facts);
        return;
      case "waiting":
      case "approved":
        this.#report.info("approval", text, facts);
        return;
      case "denied":
      case "expired":
      case "withdrawn":
        this.#report.warn("approval", text, facts);
    }
  }

  /** The status to exit with: a command that failed because something of it needs an approval may be run again later. */
  status(command: number): number {
    return command !== EXIT.ok && this.#refused.size > 0 ? EXIT.tempfail : command;
  }
}
