/**
 * What the agent does at its start with spool files that an earlier process left: finds their segments, and closes
 * a log without a seal honestly. Commands without an outcome get `unknown` (PG-52: nobody knows whether the target
 * ran them), a `gap` says that the process ended, then come session.end and seal.
 *
 * A torn last line (the process died inside a write) is cut off, and the gap says so. A line that does not fit the
 * chain was changed on disk: the file as found is kept as `<session>.damaged`, the log ends before that line, and the
 * gap says so.
 */
import { createHash } from "node:crypto";
import { closeSync, copyFileSync, openSync, readSync, statSync, truncateSync, unlinkSync } from "node:fs";
import { FIRST_PREV, RecordingEvent } from "../../protocol/recording/event.ts";
import type { SessionEnd } from "../../link/types.ts";
import { EventChain, type Sign } from "./chain.ts";
import type { Segment } from "./recording.ts";
import type { Spool } from "./spool.ts";

export interface Recovered {
  readonly session: string;
  readonly segments: readonly Segment[];
  /** How the session ended. */
  readonly end: SessionEnd;
  /** False when the file was already sealed. */
  readonly repaired: boolean;
  /** Bytes that did not fit the chain; the file as found is beside it. */
  readonly damaged: number;
}

const ENDED: SessionEnd = { code: "session_lost", message: "The agent's process ended before the session did." };

interface Scan {
  readonly seq: number;
  readonly prev: string;
  /** Bytes of good lines. */
  readonly good: number;
  /** Ends of the segments. */
  readonly cuts: readonly number[];
  readonly open: ReadonlyMap<number, "unknown" | "refused">;
  readonly end: SessionEnd | undefined;
  readonly sealed: boolean;
  /** What follows the good lines is not just a torn line. */
  readonly altered: boolean;
}

const HASH = /,"hash":"([0-9a-f]{64})"\}$/;

/** The event of one line, when it is the one that belongs at this place. */
function eventAt(line: string, session: string, seq: number, prev: string): RecordingEvent | undefined {
  const match = HASH.exec(line);
  if (match === null || createHash("sha256").update(line.slice(0, match.index)).digest("hex") !== match[1]) return undefined;
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch {
    return undefined;
  }
  const event = RecordingEvent.safeParse(json).data;
  if (event === undefined) return undefined;
  return event.session === session && event.seq === seq && event.prev === prev ? event : undefined;
}

const CHUNK = 1024 * 1024;

/** Whole lines of a file, with the offset after each one's newline; one chunk and one line are in memory at a time. */
function* wholeLines(fd: number): Generator<{ readonly text: string; readonly end: number }> {
  let rest = Buffer.alloc(0);
  let offset = 0;
  for (;;) {
    const chunk = Buffer.allocUnsafe(CHUNK);
    const length = readSync(fd, chunk, 0, CHUNK, offset + rest.length);
    if (length === 0) return;
    rest = Buffer.concat([rest, chunk.subarray(0, length)]);
    let from = 0;
    for (let newline = rest.indexOf(10); newline >= 0; newline = rest.indexOf(10, from)) {
      yield { text: rest.toString("utf8", from, newline), end: offset + newline + 1 };
      from = newline + 1;
    }
    rest = rest.subarray(from);
    offset += from;
  }
}

function scan(fd: number, session: string): Scan {
  const open = new Map<number, "unknown" | "refused">();
  const cuts: number[] = [];
  let seq = 0;
  let prev = FIRST_PREV;
  let good = 0;
  let end: SessionEnd | undefined;
  for (const line of wholeLines(fd)) {
    const event = eventAt(line.text, session, seq, prev);
    // A whole line that does not belong: it was whole once and has been changed.
    if (event === undefined) return { seq, prev, good, cuts, open, end, sealed: false, altered: true };
    seq += 1;
    prev = event.hash;
    good = line.end;
    if (event.type === "command") open.set(event.command, event.decision === "allow" ? "unknown" : "refused");
    else if (event.type === "outcome") open.delete(event.command);
    else if (event.type === "session.end") end = { code: event.code, message: event.message };
    else if (event.type === "checkpoint") cuts.push(good);
    else if (event.type === "seal") return { seq, prev, good, cuts: [...cuts, good], open, end, sealed: true, altered: false };
  }
  return { seq, prev, good, cuts, open, end, sealed: false, altered: false };
}

function gapNote(torn: number, damaged: number): string {
  const what = "The agent's process ended without closing this recording; what happened after the last event is not known.";
  if (damaged > 0) return `${what} ${damaged} bytes of the spool file did not fit the chain and were set aside at the agent.`;
  return torn > 0 ? `${what} A torn last line of ${torn} bytes was cut off.` : what;
}

/** @throws RecordingUnavailable when the disk is full: the file stays as it is, for a later start. */
export function recover(
  spool: Spool,
  session: string,
  o: { readonly agent: string; readonly sign: Sign; readonly now: () => number },
): Recovered | null {
  const path = spool.path(session);
  const total = statSync(path).size;
  const fd = openSync(path, "r");
  let found: Scan;
  try {
    found = scan(fd, session);
  } finally {
    closeSync(fd);
  }
  const rest = total - found.good;
  const damaged = found.altered || (found.sealed && rest > 0) ? rest : 0;
  if (damaged > 0) {
    // The whole file is kept as it was found: it is evidence.
    copyFileSync(path, `${path.slice(0, -".ndjson".length)}.damaged`);
    spool.adjust(total);
  }
  if (found.good === 0) {
    // Not even session.start: no command can have run.
    unlinkSync(path);
    spool.adjust(-total);
    return null;
  }
  if (rest > 0) {
    truncateSync(path, found.good);
    spool.adjust(-rest);
  }
  const cuts = [...found.cuts];
  let size = found.good;
  if (!found.sealed) {
    const file = spool.reopen(session, size);
    try {
      const chain = new EventChain(session, found.seq, found.prev);
      const append = (line: ReturnType<EventChain["line"]>): void => {
        file.append(line.bytes, "closing", true);
        chain.accept(line);
      };
      if (found.end === undefined) {
        for (const [command, status] of found.open) append(chain.line({ type: "outcome", command, status }, o.now()));
        append(chain.line({ type: "gap", note: gapNote(rest, damaged) }, o.now()));
        append(chain.line({ type: "session.end", ...ENDED }, o.now()));
      }
      append(chain.signed("seal", o.agent, o.sign, o.now()));
      size = file.size;
    } finally {
      file.close();
    }
    cuts.push(size);
  }
  const segments = cuts.map((to, number) => ({ session, number, from: cuts[number - 1] ?? 0, to, last: number === cuts.length - 1 }));
  return { session, segments, end: found.end ?? ENDED, repaired: !found.sealed, damaged };
}
