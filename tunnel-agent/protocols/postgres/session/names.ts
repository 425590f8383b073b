/**
 * The names that exist in one backend: prepared statements and portals. SQL (PREPARE, DECLARE, DEALLOCATE, …) and the
 * protocol (Parse, Bind, Close) share both namespaces (PG-16, PG-19), so one map of each mirrors them. What is not
 * here is unknown, and unknown is refused: a stale entry only leads to the server's own error.
 */
import type { FieldDescription } from "../codec/backend.ts";
import type { ApprovalParameter } from "../../../../protocol/approval.ts";
import type { Statement } from "../sql/types.ts";
import type { KnownSql, Subject } from "./authorise.ts";
import type { Consent } from "./hold/types.ts";
import type { Command } from "./types.ts";

/** Bytes of a name; beyond it the server would cut the name, and two of the client's would be one of its. */
export const MAX_NAME_BYTES = 63;
/** Names of one kind at once. */
export const MAX_NAMES = 10_000;

export interface TrackedStatement {
  /** The text it came from, for the record. */
  readonly known: KnownSql;
  /** What running it does. */
  readonly subject: Subject;
  /** Its result's columns, once a client had it described. */
  fields: readonly FieldDescription[] | null;
  /** Type OIDs of its parameters as Parse gave them. */
  readonly parameterTypes?: readonly number[] | undefined;
}

export interface TrackedPortal {
  readonly statement: TrackedStatement;
  readonly parameters: readonly (string | null | { bytes: number })[] | undefined;
  readonly digest: string;
  /** The statement that it was bound of, or the cursor's name: one of several that a text may hold. */
  readonly source: string;
  /** Its parameters whole, where policy holds it: consent is to them. */
  readonly values?: readonly ApprovalParameter[] | undefined;
  /** Columns of its result, once described. */
  columns: number;
  /** The same in full, with the formats that its rows come in. */
  fields: readonly FieldDescription[] | null;
  /** Our own Describe of it is on its way or answered. */
  laidOut: boolean;
  /** The masking rules that it was opened under. */
  readonly epoch: number;
  /** Result format codes as Bind gave them: none, one for all, or one a column. */
  readonly formats: readonly number[];
  /** The command that its Bind recorded, for the first Execute before the next Sync. */
  bound: { readonly command: Command; readonly policyVersion: number; readonly consent: Consent | null } | null;
  /** Declared by SQL: may outlive its transaction (WITH HOLD). */
  readonly declared: boolean;
}

export class Names {
  readonly statements = new Map<string, TrackedStatement>();
  readonly portals = new Map<string, TrackedPortal>();

  setStatement(name: string, statement: TrackedStatement): () => void {
    return replace(this.statements, name, statement);
  }

  setPortal(name: string, portal: TrackedPortal): () => void {
    return replace(this.portals, name, portal);
  }

  close(space: "S" | "P", name: string): () => void {
    return space === "S" ? remove(this.statements, name) : remove(this.portals, name);
  }

  /** A simple Query drops the unnamed statement and portal (manual section 55.2.2). */
  dropUnnamed(): void {
    this.statements.delete("");
    this.portals.delete("");
  }

  /** Outside a transaction only portals that SQL declared may exist. */
  endTransaction(): void {
    for (const [name, portal] of this.portals) if (!portal.declared) this.portals.delete(name);
  }

  /** What a completed statement did to the names. */
  apply(statement: Statement, known: KnownSql, subject: (statement: Statement) => Subject, epoch: number): void {
    for (const effect of statement.session) {
      switch (effect.kind) {
        case "prepare":
          this.statements.set(effect.name, { known, subject: subject(statement), fields: null });
          break;
        case "deallocate":
          if (effect.name === null) this.statements.clear();
          else this.statements.delete(effect.name);
          break;
        case "declare-cursor":
          this.portals.set(effect.name, {
            statement: { known, subject: subject(statement), fields: null },
            parameters: undefined,
            digest: known.digest,
            columns: -1,
            fields: null,
            laidOut: false,
            epoch,
            formats: [],
            bound: null,
            source: effect.name,
            declared: true,
          });
          break;
        case "close-cursor":
          if (effect.name === null) this.portals.clear();
          else this.portals.delete(effect.name);
          break;
        case "discard-all":
          this.statements.clear();
          this.portals.clear();
          break;
        case "execute":
        case "use-cursor":
        case "transaction":
        case "search-path":
          break;
      }
    }
  }
}

function replace<T>(map: Map<string, T>, name: string, value: T): () => void {
  const undo = restore(map, name);
  map.set(name, value);
  return undo;
}

function remove<T>(map: Map<string, T>, name: string): () => void {
  const undo = restore(map, name);
  map.delete(name);
  return undo;
}

function restore<T>(map: Map<string, T>, name: string): () => void {
  const before = map.get(name);
  return () => {
    if (before === undefined) map.delete(name);
    else map.set(name, before);
  };
}
