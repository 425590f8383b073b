/** Words of holds: what is held, what the shell is asked about it, and what consent gives. */
import type { ApprovalId } from "../../../../../protocol/ids.ts";
import type { Result } from "../../../../../protocol/result.ts";
import type { Refusal } from "../../refusal.ts";
import type { Effect } from "../../sql/types.ts";
import type { Subject, Verdict } from "../authorise.ts";
import type { RecordedSql } from "../core.ts";
import type { Exact } from "./subject.ts";
import type { Command } from "../types.ts";

/** People's consent to one exact command. */
export interface Consent {
  readonly approval: ApprovalId;
  readonly groups: readonly string[];
}

/** A command that waits, and how it goes on. */
export interface Held {
  readonly via: "simple" | "extended";
  readonly subject: Subject;
  /** As it is recorded: masked. */
  readonly record: RecordedSql;
  readonly controlsTransaction: boolean;
  /** As people see it, and as it would run now; or why it cannot be put to them. */
  readonly exact: () => Result<Exact, Refusal>;
  /** Tells the client, in the place where the command stands. */
  readonly refuse: (refusal: Refusal) => void;
  /** It is allowed by `verdict` and recorded as `command`: forwards it. `consent` null: policy has come to allow it by itself. */
  readonly run: (command: Command, verdict: Verdict, consent: Consent | null) => void;
}

/** What a command names, for looking it up: unqualified names may mean those of any schema of the path. */
export interface Named {
  readonly effects: readonly Effect[];
  readonly searchPath: readonly string[];
}

/** A definition that the target has of something that a command names. */
export interface Definition {
  readonly name: string;
  /** SHA-256, lower-case hex. */
  readonly definition: string;
}

/** What the shell found out of a held command. `ok: false`: the definitions could not be read. */
export type Inspected =
  | { readonly ok: true; readonly objects: readonly Definition[]; readonly estimate?: string | undefined }
  | { readonly ok: false };
