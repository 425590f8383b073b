/** What the recording and the connector are told of a hold's end. A command that then runs has a record of its own. */
import type { ApprovalOutcome } from "../../../../../protocol/approval.ts";
import type { Asked } from "./phase.ts";
import * as words from "./words.ts";
import type { MachineOptions } from "../types.ts";

type Session = MachineOptions["session"];

/** The approval's end: recorded, and told. */
export function settled(
  session: Session,
  asked: Asked,
  state: ApprovalOutcome["state"],
  by: readonly string[],
  reason: string | undefined,
): void {
  recordState(session, asked, state, by, reason);
  session.approvals.tell(asked.approval, state, words.settled(asked.approval, state, by, reason));
}

/** @throws RecordingUnavailable */
export function recordState(
  { recorder, maskText }: Session,
  { approval, number }: Asked,
  state: ApprovalOutcome["state"],
  by: readonly string[],
  reason: string | undefined,
): void {
  const why = reason === undefined ? {} : { reason: maskText(reason) };
  recorder.approval({ approval, command: number, state, ...(by.length === 0 ? {} : { by: [...by] }), ...why });
}

/** What became of the command as it was held. */
export function closed(session: Session, asked: Asked | null, status: "ok" | "refused" | "cancelled", code: string | undefined): void {
  if (asked === null) return;
  const ms = Math.max(0, Math.round(session.monotonic() - asked.since));
  session.recorder.outcome({ command: asked.number, status, ...(code === undefined ? {} : { code }), ms });
}
