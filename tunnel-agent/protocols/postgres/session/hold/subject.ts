/**
 * The exact command that people consent to (PG-48): its full text and parameters, and whatever gives them their meaning:
 * database, role, search_path, types of parameters, the text behind a name that it runs. Nothing of it is masked or cut;
 * a secret that the text must hold (PASSWORD '…') is left out, said to be, and bound by a keyed digest instead.
 */
import type { ApprovalParameter, ApprovalSubject } from "../../../../../protocol/approval.ts";
import { err, ok, type Result } from "../../../../../protocol/result.ts";
import type { Bind } from "../../codec/frontend.ts";
import type { Refusal } from "../../refusal.ts";
import type { Authoriser, KnownSql, Subject } from "../authorise.ts";
import type { Definition } from "./types.ts";
import { tooLong } from "./words.ts";
import type { Names } from "../names.ts";
import type { MachineOptions } from "../types.ts";

/** Characters of one value of an approval's environment (protocol/approval.ts). */
const MAX_VALUE = 4096;
/** Statements whose plan may be asked for: those that run nothing but listed functions when they are planned (PG-39). */
const PLANNED = new Set(["SelectStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"]);

export interface Exact {
  readonly text: string;
  readonly parameters: readonly ApprovalParameter[] | undefined;
  readonly environment: Readonly<Record<string, string>>;
  /** The statement, where the target may be asked for its plan by another connection. */
  readonly estimable: string | null;
}

/** One text and what stands around it. */
export interface HeldText {
  readonly known: KnownSql;
  readonly subject: Subject;
  /** Bind's, decoded; undefined for simple Query. */
  readonly parameters?: readonly ApprovalParameter[] | undefined;
  /** Type OIDs of parameters as Parse gave them. */
  readonly parameterTypes?: readonly number[] | undefined;
  /** The name of what it runs, where the text that it comes from may hold several. */
  readonly runs?: string | undefined;
}

export interface Around {
  readonly options: MachineOptions;
  readonly names: Names;
  readonly authoriser: Authoriser;
}

export function exactOf({ options, names, authoriser }: Around, held: HeldText): Result<Exact, Refusal> {
  const { known, subject, parameters, parameterTypes, runs } = held;
  const { session } = options;
  const { redacted } = known.analysed;
  const environment: Record<string, string> = {
    database: options.database,
    role: options.user,
    search_path: authoriser.searchPath,
  };
  // The other of a target's two logins: what the role may do differs.
  if (options.lane?.login !== undefined) environment["login"] = options.lane.login;
  if (parameterTypes?.some((oid) => oid !== 0) === true) environment["parameter types"] = parameterTypes.join(", ");
  if (runs !== undefined) environment["runs"] = runs;
  if (redacted !== known.sql) environment["not shown"] = `a secret in the text; HMAC-SHA-256 of the whole: ${session.digest(known.sql)}`;
  if (subject.statements.some(({ copy }) => copy === "in"))
    environment["rows"] = "sent by the client afterwards; not part of what is approved";
  let count = 0;
  for (const { session: effects } of subject.statements) {
    for (const effect of effects) {
      if (effect.kind !== "execute" && effect.kind !== "use-cursor") continue;
      const behind = effect.kind === "execute" ? names.statements.get(effect.name) : names.portals.get(effect.name)?.statement;
      // A name that this very text makes is in the text.
      if (behind === undefined) continue;
      count += 1;
      environment[`named ${count}`] = `${effect.name} = ${behind.known.analysed.redacted}`;
    }
  }
  for (const [key, value] of Object.entries(environment)) if (value.length > MAX_VALUE) return err(tooLong(key, MAX_VALUE));
  const [only] = subject.statements;
  const plain =
    subject.statements.length === 1 &&
    only !== undefined &&
    PLANNED.has(only.node) &&
    only.session.length === 0 &&
    only.effects.every(({ action }) => action !== "pg:call");
  const estimable = plain && runs === undefined && (parameters?.length ?? 0) === 0 && redacted === known.sql && !authoriser.pathMoved;
  return ok({ text: redacted, parameters, environment, estimable: estimable ? known.sql : null });
}

export function subjectOfHeld(target: string, exact: Exact, objects: readonly Definition[]): ApprovalSubject {
  const { text, parameters, environment } = exact;
  return {
    kind: "command",
    target,
    protocol: "postgres",
    statements: [{ text, ...(parameters === undefined ? {} : { parameters: [...parameters] }) }],
    environment: { ...environment },
    objects: objects.map(({ name, definition }) => ({ name, definition })),
  };
}

/** Whether nothing that the command depends on has changed. */
export function sameDefinitions(before: Exact, then: readonly Definition[], after: Exact, now: readonly Definition[]): boolean {
  const print = (exact: Exact, objects: readonly Definition[]): string =>
    JSON.stringify([
      Object.entries(exact.environment)
        .map(([key, value]) => `${key} ${value}`)
        .toSorted(),
      objects.map(({ name, definition }) => `${definition} ${name}`).toSorted(),
    ]);
  return print(before, then) === print(after, now);
}

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Bind's parameters as people see them: text as it is, anything else in hex. */
export function approvalParameters({ parameters, parameterFormats }: Bind): readonly ApprovalParameter[] {
  return parameters.map((parameter, i) => {
    if (parameter === null) return null;
    const format = parameterFormats.length === 1 ? parameterFormats[0] : (parameterFormats[i] ?? 0);
    if (format !== 0) return { hex: parameter.toString("hex") };
    try {
      return UTF8.decode(parameter);
    } catch {
      return { hex: parameter.toString("hex") };
    }
  });
}
