/**
 * What became of every recorded command. Outcomes are written when the backend is ready again (PG-12): only then is it
 * known that an implicit transaction was not undone by an error after the command's own completion. A command whose
 * answer never comes is `unknown` (PG-52).
 */
import type { SessionContext } from "../../../session.ts";
import type { TransactionStatus } from "../codec/backend.ts";
import { rowsOfTag } from "../output.ts";
import { SQLSTATE } from "../refusal.ts";
import type { Command } from "./types.ts";

/** Commands of one pipeline whose outcomes wait; beyond it they are written as they stand. */
const MAX_WAITING = 1000;
/** Tags recorded of one simple Query. */
const MAX_TAGS = 20;

export class Outcomes {
  readonly #session: Pick<SessionContext, "recorder" | "monotonic">;
  /** Forwarded, and not yet written. */
  readonly #open = new Set<Command>();
  #completed: Command[] = [];
  #failed: string | null = null;
  #controlled = false;

  constructor(session: Pick<SessionContext, "recorder" | "monotonic">) {
    this.#session = session;
  }

  began(number: number, controlsTransaction: boolean): Command {
    return {
      number,
      startedAt: this.#session.monotonic(),
      endedAt: null,
      status: null,
      code: undefined,
      tags: [],
      rows: undefined,
      bytes: 0,
      notices: 0,
      masked: new Map(),
      listed: false,
      controlsTransaction,
    };
  }

  /** It is on its way to the target. */
  forwarded(command: Command): void {
    this.#open.add(command);
  }

  /** Refused: nothing was forwarded. */
  refused(command: Command, code: string): void {
    this.#session.recorder.outcome({ command: command.number, status: "refused", code });
  }

  /** One statement of it completed. */
  tagged(command: Command, tag: string): void {
    if (command.tags.length < MAX_TAGS) command.tags.push(tag);
    const rows = rowsOfTag(tag);
    if (rows !== undefined) command.rows = (command.rows ?? 0) + rows;
  }

  completed(command: Command): void {
    this.#finish(command, "ok", undefined);
    if (command.controlsTransaction) this.#controlled = true;
  }

  failed(command: Command, code: string): void {
    this.#finish(command, code === SQLSTATE.query_canceled ? "cancelled" : "error", code);
  }

  /** Its Bind was carried out; if nothing executes it before Sync, that was all. */
  bound(command: Command): void {
    if (command.listed) return;
    command.listed = true;
    command.endedAt = this.#session.monotonic();
    this.#completed.push(command);
  }

  /** The backend skipped it: an earlier command of its pipeline had failed with `code`. */
  skipped(command: Command, code: string): void {
    if (command.status === null) this.#finish(command, "cancelled", code);
  }

  /** An error anywhere since the last ReadyForQuery, perhaps of no command's own (a constraint checked at commit). */
  pipelineFailed(code: string): void {
    this.#failed ??= code;
  }

  #finish(command: Command, status: "ok" | "error" | "cancelled", code: string | undefined): void {
    command.status = status;
    command.code = code;
    command.endedAt = this.#session.monotonic();
    if (command.listed) return;
    command.listed = true;
    this.#completed.push(command);
    if (this.#completed.length >= MAX_WAITING) this.#write(false);
  }

  /** The backend is ready: everything forwarded before its Sync is decided. */
  ready(before: TransactionStatus, after: TransactionStatus): void {
    if (this.#failed !== null && before === "I" && after === "I" && !this.#controlled) {
      // Completed, and then undone with the implicit transaction it was in.
      for (const command of this.#completed) {
        if (command.status !== "ok") continue;
        command.status = "error";
        command.code = this.#failed;
      }
    }
    this.#write(true);
    this.#failed = null;
    this.#controlled = false;
  }

  /** `decided`: the pipeline is over, so that a Bind without an Execute stays one. */
  #write(decided: boolean): void {
    const open: Command[] = [];
    for (const command of this.#completed) {
      if (command.status === null && !decided) {
        open.push(command);
        continue;
      }
      if (command.status === null) command.tags = ["BIND"];
      this.#open.delete(command);
      this.#session.recorder.outcome({
        command: command.number,
        status: command.status ?? "ok",
        ...(command.code === undefined ? {} : { code: command.code }),
        ...(command.tags.length === 0 ? {} : { tag: command.tags.join("; ") }),
        ...(command.rows === undefined ? {} : { rows: command.rows }),
        ...(command.bytes === 0 ? {} : { bytes: command.bytes }),
        ...(command.masked.size === 0 ? {} : { masked: Object.fromEntries(command.masked) }),
        ms: elapsed(command),
      });
    }
    this.#completed = open;
  }

  /** The conversation ends: what has no certain outcome gets `unknown`. Never throws: there is nobody left to tell. */
  abandon(): void {
    try {
      for (const command of this.#open) {
        const failed = command.status === "error" || command.status === "cancelled";
        this.#session.recorder.outcome({
          command: command.number,
          status: failed ? (command.status ?? "unknown") : "unknown",
          ...(command.code === undefined ? {} : { code: command.code }),
          ...(command.tags.length === 0 ? {} : { tag: command.tags.join("; ") }),
          ...(command.masked.size === 0 ? {} : { masked: Object.fromEntries(command.masked) }),
          ms: command.endedAt === null ? Math.max(0, this.#session.monotonic() - command.startedAt) : elapsed(command),
        });
      }
    } catch {
      // The log says so itself: a command without an outcome.
    }
    this.#open.clear();
    this.#completed = [];
  }
}

function elapsed(command: Command): number {
  return command.endedAt === null ? 0 : Math.max(0, Math.round((command.endedAt - command.startedAt) * 1000) / 1000);
}
