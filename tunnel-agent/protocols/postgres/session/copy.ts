/**
 * COPY FROM STDIN, seen from the client's side: CopyData passes in slices, counted; CopyDone and CopyFail end it.
 * Sync and Flush in between are ignored as the server ignores them (PG-21). Copy messages outside of a copy are
 * dropped, as the server drops them: the client had not yet heard that its copy failed.
 */
import { writeBare, writeCopyFail } from "../codec/frontend.ts";
import { SQLSTATE, type Refusal } from "../refusal.ts";
import type { Core } from "./core.ts";

/** Bytes of the client's reason for giving up that reach the target's log. */
const MAX_REASON = 256;

/** The backend asks for data: the client may go on, with nothing but that. */
export function beginCopyIn(core: Core): void {
  core.copyIn = "open";
  core.copyInBytes = 0;
  core.barrier = null;
}

/** A CopyData of `length` bytes begins. */
export function onCopyData(core: Core, length: number): "stream" | "skip" {
  if (core.copyIn !== "open") return "skip";
  core.copyInBytes += length;
  const limit = core.options.limits.copy_in_bytes;
  if (limit === undefined || core.copyInBytes <= limit) return "stream";
  // The backend fails the copy; the client hears why, and what it sends until then is dropped.
  core.copyIn = "overrun";
  core.instead = { refusal: over(limit), until: Number.POSITIVE_INFINITY, dropping: false };
  endCopy(core, (writer) => writeCopyFail(writer, "sallyport: over the limit"));
  return "skip";
}

function over(limit: number): Refusal {
  return { code: SQLSTATE.program_limit_exceeded, message: `sallyport: COPY FROM STDIN is limited to ${limit} bytes` };
}

function endCopy(core: Core, write: Parameters<Core["tell"]>[0]): void {
  const { front } = core;
  core.tell(write);
  if (front === undefined || !("phase" in front)) return;
  front.phase = "copy-done";
  front.command.bytes += core.copyInBytes;
  // The server would keep the answer to an Execute back until Sync, and Sync waits here for that answer.
  if (front.kind === "execute") core.tell((writer) => writeBare(writer, "Flush"));
}

/** CopyDone, or CopyFail with its reason. */
export function onCopyEnd(core: Core, failure: string | null): void {
  if (core.copyIn === null) return;
  const overrun = core.copyIn === "overrun";
  core.copyIn = null;
  core.barrier = core.front ?? null;
  if (overrun) return;
  endCopy(core, (writer) => {
    if (failure === null) writeBare(writer, "CopyDone");
    else writeCopyFail(writer, failure.slice(0, MAX_REASON));
  });
}

/** The copy ended from the backend's side: what the client still sends of it is dropped. */
export function copyFailed(core: Core): void {
  core.copyIn = null;
}
