/**
 * The recorder a protocol room writes to. Every call is synchronous and durable against the death of the
 * process: when it returns, the event is in the spool file (an outcome a moment later, before any other event). If it
 * cannot be, it throws RecordingUnavailable and the command must not run (GW-20).
 */
import type { NewEvent } from "../../protocol/recording/event.ts";

export class RecordingUnavailable extends Error {
  override name = "RecordingUnavailable";
}

export type EventOf<T extends NewEvent["type"]> = Omit<Extract<NewEvent, { type: T }>, "type">;

export interface SessionRecorder {
  streamOpen(event: EventOf<"stream.open">): void;
  streamClose(event: EventOf<"stream.close">): void;
  /** Before the command reaches the target, or instead of it. Returns the number that `outcome` refers to. */
  command(event: Omit<EventOf<"command">, "command" | "bundle">): number;
  outcome(event: EventOf<"outcome">): void;
  approval(event: EventOf<"approval">): void;
  /** May be dropped where the spool is short of space: it is a view for people, not the evidence that a command ran. */
  result(event: EventOf<"result">): void;
}
