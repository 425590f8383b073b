/**
 * Exit statuses of the `sallyport` command, after BSD's sysexits where one fits. `run` exits with its command's own
 * status once that has run; 128 + n when it ended by signal n.
 */
import type { ErrorCode } from "../protocol/errors.ts";

export const EXIT = {
  ok: 0,
  /** A check found something wrong: lint, test, verify, doctor; `can` of what is not allowed. */
  failed: 1,
  /** `plan` and `can`: an approval is needed. */
  approval: 3,
  /** `plan`: policy or people refused, or its time is over. */
  refused: 4,
  /** The command line or a file of yours is wrong. */
  usage: 64,
  /** The gateway, an agent or a target cannot be reached. */
  unavailable: 69,
  /** A fault of ours. */
  software: 70,
  /** Try again later: quota, approval pending. */
  tempfail: 75,
  /** The gateway answered what is not its protocol. */
  protocol: 76,
  /** Identity or policy refused. */
  denied: 77,
} as const;

/** One place turns the gateway's stable codes into exit statuses. */
export function exitOf(code: ErrorCode, status: number): number {
  if (code === "approval_required" || code === "too_many") return EXIT.tempfail;
  if (code === "bundle_invalid" || code === "bad_request" || code === "conflict" || code === "approval_over" || code === "too_large")
    return EXIT.failed;
  if (code === "protocol_violation" || code === "upgrade_required") return EXIT.protocol;
  if (code === "plan_unusable" || status === 401 || status === 403) return EXIT.denied;
  if (code === "not_found" || code === "target_unknown") return EXIT.failed;
  return EXIT.unavailable;
}

/** An expected failure: its message is for the person, its status for the shell. */
export class CommandFailed extends Error {
  override name = "CommandFailed";
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}
