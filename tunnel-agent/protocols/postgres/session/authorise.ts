/**
 * From SQL text to a decision: analysis, effects, resources, policy. Everything about a text that does not change is
 * computed once and kept; a decision is kept for as long as the policy version, the schemas in question and a second
 * of time stay the same, since a policy may also speak about the time.
 *
 * An unqualified name is decided for every schema that the session's search_path has ever had: whichever of them the
 * server picks, now or after a rollback, was asked for (PG-17). What the implicit pg_catalog may hold, the analysis
 * has already named.
 */
import { printIdentifier, printResource } from "../../../../policy/resource.ts";
import type { Decision, Resource } from "../../../../policy/types.ts";
import { err, ok, unreachable, type Result } from "../../../../protocol/result.ts";
import { approvalRequired, deniedByPolicy, forbidden, notAnalysed, type Refusal } from "../refusal.ts";
import type { AnalysedSql, Effect, PgObject, Statement } from "../sql/types.ts";
import { MAX_KEPT_TEXT } from "../analysis.ts";
import type { Catalogue } from "../catalogue/types.ts";
import { effectsOfAll, StandIns } from "./effects.ts";
import { withoutLiterals } from "./literals.ts";
import { decideByPlan, plannedDigests, useOf, type PlanUse } from "./planned.ts";
import type { CatalogueNeed, Schemas, SessionMasking, SubjectMasking, View } from "./masking.ts";
import type { Named } from "./hold/types.ts";
import type { Names } from "./names.ts";
import type { MachineOptions } from "./types.ts";

/** Texts kept per connection. */
const MAX_KNOWN = 256;
/** ms for which a decision is repeated without asking again. */
const DECISION_TTL_MS = 1000;
/** Characters of a text that a record holds; one event must fit MAX_EVENT_BYTES (protocol/limits.ts). */
const MAX_RECORDED_TEXT = 1024 * 1024;

/** Statements to decide together, and the last decision on them. */
export interface Subject {
  readonly statements: readonly Statement[];
  /** Names others (EXECUTE, FETCH): what it does depends on them, so nothing is kept. */
  readonly dynamic: boolean;
  /** Changes what names mean, or begins a copy in: nothing may be sent after it before it has ended. */
  readonly barrier: boolean;
  /** In a session that runs by a plan: what each statement is in it, and the places that its portal took (planned.ts). */
  readonly digests?: readonly (string | null)[] | undefined;
  readonly use?: PlanUse | undefined;
  kept: {
    readonly policyVersion: number;
    readonly schemas: number;
    readonly until: number;
    readonly view: View | null;
    readonly catalogue: Catalogue | null;
    readonly standIns: number;
    readonly verdict: Verdict;
  } | null;
}

/** One text of SQL as this session knows it. */
export interface KnownSql {
  /** As it came. */
  readonly sql: string;
  /** Masked, without secrets: what is recorded. */
  readonly text: string;
  readonly digest: string;
  readonly analysed: AnalysedSql;
  readonly subject: Subject;
  readonly controlsTransaction: boolean;
}

export interface EffectRecord {
  readonly action: string;
  readonly resource: string;
}

export interface Verdict {
  readonly decision: Decision;
  readonly effects: readonly EffectRecord[];
  /** Null: allowed. */
  readonly refusal: Refusal | null;
  /** For the record, where it is refused. */
  readonly reason?: string;
  /** What was proven of its results; null or absent: nothing is masked. */
  readonly masking?: SubjectMasking | null;
  /** The plan's statements that it is. */
  readonly use?: PlanUse | undefined;
}

/** A text that could not be analysed: refused, and recorded like this. */
export interface UnknownSql {
  readonly text: string;
  readonly digest: string;
  readonly verdict: Verdict;
}

/**
 * SET of the server's timeouts, which pg_dump and its like begin with. The gateway's own timers hold whatever they are
 * set to, so here it is policy's to decide (`pg:set`) and not refused outright.
 */
const OWN_TIMERS = "PG-51";

const BARRIERS = new Set(["prepare", "deallocate", "declare-cursor", "close-cursor", "discard-all"]);

/** What deciding needs of a session. */
export type AuthoriserOptions = Pick<MachineOptions, "target" | "user" | "searchPath" | "analyse" | "lane"> & {
  readonly session: Pick<MachineOptions["session"], "plan" | "decideAll" | "policyVersion" | "maskText" | "digest" | "monotonic">;
};

export class Authoriser {
  readonly #options: AuthoriserOptions;
  readonly #names: Names;
  readonly #masking: SessionMasking;
  readonly #standIns: StandIns;
  readonly #known = new Map<string, KnownSql>();
  readonly #schemas = new Set<string>();
  readonly #paths: string[] = [];
  /** Grows with every schema that is added. */
  #schemasVersion = 0;

  constructor(options: AuthoriserOptions, names: Names, masking: SessionMasking, standIns = new StandIns(null, () => ({ classes: [] }))) {
    this.#options = options;
    this.#names = names;
    this.#masking = masking;
    this.#standIns = standIns;
    this.addSchemas(options.searchPath);
  }

  know(sql: string): Result<KnownSql, UnknownSql> {
    const before = this.#known.get(sql);
    if (before !== undefined) return ok(before);
    const { session } = this.#options;
    const digest = session.digest(sql);
    const analysed = this.#options.analyse(sql);
    if (!analysed.ok) {
      const refusal = notAnalysed(analysed.error);
      const text = clip(session.maskText(withoutLiterals(sql.slice(0, MAX_RECORDED_TEXT))), sql.length);
      return err({ text, digest, verdict: denied([], refusal, `${analysed.error.reason}: ${refusal.message}`) });
    }
    const { statements, redacted } = analysed.value;
    const known: KnownSql = {
      sql,
      text: clip(session.maskText(redacted.slice(0, MAX_RECORDED_TEXT)), redacted.length),
      digest,
      analysed: analysed.value,
      subject: { ...subjectOf(statements), ...(session.plan === undefined ? {} : { digests: plannedDigests(sql, statements) }) },
      controlsTransaction: statements.some(({ session }) => session.some(({ kind }) => kind === "transaction")),
    };
    if (sql.length > MAX_KEPT_TEXT) return ok(known);
    if (this.#known.size >= MAX_KNOWN) this.#known.delete(this.#known.keys().next().value ?? "");
    this.#known.set(sql, known);
    return ok(known);
  }

  /** Decides with the policy that is active now. `approvals`: groups that consented to this very command, now. */
  decide(subject: Subject, approvals: readonly string[] = []): Verdict {
    if (approvals.length > 0) return this.#ask(subject, approvals);
    const { session } = this.#options;
    const policyVersion = session.policyVersion();
    const now = session.monotonic();
    const { kept } = subject;
    const view = this.#masking.view();
    const { catalogue } = this.#standIns;
    if (
      kept !== null &&
      kept.view === view &&
      kept.catalogue === catalogue &&
      kept.standIns === this.#standIns.version &&
      kept.policyVersion === policyVersion &&
      kept.schemas === this.#schemasVersion &&
      now < kept.until
    ) {
      return kept.verdict;
    }
    const verdict = this.#ask(subject, []);
    // Of a plan's statements one turn less is left each time.
    if (!subject.dynamic && view !== undefined && catalogue !== undefined && session.plan === undefined) {
      subject.kept = {
        policyVersion,
        schemas: this.#schemasVersion,
        until: now + DECISION_TTL_MS,
        view,
        catalogue,
        standIns: this.#standIns.version,
        verdict,
      };
    }
    return verdict;
  }

  /** What has to be known of the catalogue before this is decided; `planned`: it is planned or run right after. */
  mustLoad(subject: Subject, planned = true): CatalogueNeed | null {
    if (this.#standIns.lacking(subject.statements)) return "load";
    return this.#masking.active ? this.#masking.mustLoad(subject.statements, this.#schemasFor(subject), planned) : null;
  }

  /** Whether a result of this statement of the subject may be recorded. */
  recordable(subject: Subject, statement: number): boolean {
    return !this.#masking.active || this.#masking.recordable(subject.statements[statement], this.#schemasFor(subject));
  }

  /** The schemas that names of this subject may mean, those of its own SET search_path among them. */
  #schemasFor(subject: Subject): Schemas {
    const path = new Set(this.#schemas);
    let moved = false;
    for (const { session } of subject.statements) {
      for (const effect of session) {
        if (effect.kind !== "search-path") continue;
        moved = true;
        for (const schema of effect.schemas) path.add(this.#schemaName(schema));
      }
    }
    // Equal to no other: what is proven on the way to a new search_path is not kept.
    return { path: [...path], version: moved ? Number.NaN : this.#schemasVersion };
  }

  #schemaName(schema: string): string {
    return schema === "$user" ? this.#options.user : schema;
  }

  get schemas(): readonly string[] {
    return [...this.#schemas];
  }

  /** No transaction is open. */
  transactionEnded(): void {
    this.#standIns.transactionEnded();
  }

  /** From now on unqualified names may mean objects of these schemas too. */
  extendSearchPath(statements: readonly Statement[]): void {
    for (const statement of statements) {
      for (const effect of statement.session) if (effect.kind === "search-path") this.addSchemas(effect.schemas);
    }
  }

  /**
   * Every search_path that was in force, in order: what unqualified names mean cannot change without this changing.
   * A path that was set in a transaction and rolled back stays in it, which only makes two sessions differ that need not.
   */
  get searchPath(): string {
    return this.#paths.join("; ");
  }

  /** The session has set another search_path than it began with. */
  get pathMoved(): boolean {
    return this.#paths.length > 1;
  }

  addSchemas(schemas: readonly string[]): void {
    const path = schemas.map(printIdentifier).join(", ");
    if (path !== this.#paths.at(-1)) this.#paths.push(path);
    for (const schema of schemas) {
      const name = this.#schemaName(schema);
      if (this.#schemas.has(name)) continue;
      this.#schemas.add(name);
      this.#schemasVersion++;
    }
  }

  #ask(subject: Subject, approvals: readonly string[]): Verdict {
    const schemas = this.#schemasFor(subject);
    const paths = new Set(schemas.path);
    const effects = effectsOfAll(subject.statements, this.#names, this.#standIns, schemas.path);
    if (!effects.ok) return denied([], effects.error, effects.error.message);
    const { needs, records, ambiguous } = this.#needs(effects.value, paths);
    const barred = subject.statements.find(({ forbidden }) => forbidden !== undefined && forbidden.hazard !== OWN_TIMERS)?.forbidden;
    if (barred !== undefined) return denied(records, forbidden(barred.hazard, barred.sentence), `${barred.hazard}: ${barred.sentence}`);
    const { session } = this.#options;
    const use = session.plan === undefined ? undefined : useOf(session.plan, subject);
    if (use?.ok === false) return denied(records, use.error, use.error.message);
    const decision =
      session.plan === undefined || use === undefined
        ? session.decideAll(needs, approvals)
        : decideByPlan(session.plan, use.value, subject.statements, approvals, (statements, consented) => {
            const part = effectsOfAll(statements, this.#names, this.#standIns, schemas.path);
            return part.ok
              ? session.decideAll(this.#needs(part.value, paths).needs, consented)
              : denied([], part.error, part.error.message).decision;
          });
    const { masking, refusal } =
      decision.outcome === "deny" ? { masking: null, refusal: null } : this.#masking.decide(subject.statements, schemas);
    const elsewhere = this.#options.lane?.admits(this.#running(subject), schemas.path) ?? null;
    if (elsewhere !== null) return denied(records, elsewhere, elsewhere.message);
    // Nobody is asked to consent to what cannot be shown.
    if (refusal !== null) return denied(records, refusal, `masking: ${refusal.message}`);
    switch (decision.outcome) {
      case "allow":
        return { decision, effects: records, refusal: null, masking, use: use?.value };
      case "hold":
        return {
          decision,
          effects: records,
          refusal: approvalRequired(decision),
          reason: `approval_required: ${decision.reason}`,
          masking,
        };
      case "deny": {
        const hint =
          ambiguous === undefined ? undefined : `"${ambiguous}" is not qualified, so it was asked for in ${[...paths].join(", ")}.`;
        return { decision, effects: records, refusal: deniedByPolicy(decision, hint), reason: `denied: ${decision.reason}` };
      }
      default:
        return unreachable(decision.outcome);
    }
  }

  /** What a subject names, by its effects; those of names that are not known are left out, since it is refused. */
  named(subject: Subject): Named {
    const { path } = this.#schemasFor(subject);
    const effects = effectsOfAll(subject.statements, this.#names, this.#standIns, path);
    return { effects: effects.ok ? effects.value : [], searchPath: path };
  }

  /** The statements themselves, and what was prepared under the names that they run. */
  #running({ statements }: Subject): readonly Statement[] {
    const names = statements.flatMap(({ session }) => session.flatMap((effect) => (effect.kind === "execute" ? [effect.name] : [])));
    return [...statements, ...names.flatMap((name) => this.#names.statements.get(name)?.subject.statements ?? [])];
  }

  #needs(
    effects: readonly Effect[],
    schemas: ReadonlySet<string>,
  ): { needs: { action: string; resource: Resource }[]; records: EffectRecord[]; ambiguous: string | undefined } {
    const needs: { action: string; resource: Resource }[] = [];
    const records: EffectRecord[] = [];
    const seen = new Set<string>();
    let ambiguous: string | undefined;
    for (const { action, object } of effects) {
      const resources = this.#resources(object, schemas);
      if (resources.length > 1 && "name" in object) ambiguous ??= object.name;
      for (const resource of resources) {
        const printed = printResource(resource);
        const key = `${action} ${printed}`;
        if (seen.has(key)) continue;
        seen.add(key);
        needs.push({ action, resource });
        records.push({ action, resource: printed });
      }
    }
    return { needs, records, ambiguous };
  }

  #resources(object: PgObject, schemas: ReadonlySet<string>): Resource[] {
    const { target } = this.#options;
    switch (object.type) {
      case "target":
        return [{ type: "target", target }];
      case "schema":
        return [{ type: "schema", target, schema: object.name }];
      case "table":
        return places(object.schema, schemas).map((schema) => ({
          type: "table",
          target,
          schema,
          table: object.name,
        }));
      case "function":
        return places(object.schema, schemas).map((schema) => ({ type: "function", target, schema, name: object.name }));
      default:
        return unreachable(object);
    }
  }
}

/** With no schema to look in, a name can only be the catalogue's. */
function places(schema: string | undefined, schemas: ReadonlySet<string>): string[] {
  if (schema !== undefined) return [schema];
  return schemas.size === 0 ? ["pg_catalog"] : [...schemas];
}

export function subjectOf(statements: readonly Statement[]): Subject {
  const dynamic = statements.some(({ session }) => session.some(({ kind }) => kind === "execute" || kind === "use-cursor"));
  const barrier = statements.some(({ copy, session }) => copy === "in" || session.some(({ kind }) => BARRIERS.has(kind)));
  return { statements, dynamic, barrier, kept: null };
}

/** What EXECUTE, FETCH or Bind of a name runs: the statement's effects, without its making of the name. */
export function innerSubject(statement: Statement): Subject {
  return subjectOf([{ ...statement, session: [] }]);
}

export function denied(effects: readonly EffectRecord[], refusal: Refusal, reason: string): Verdict {
  return { decision: { outcome: "deny", policies: [], approvals: [], reason }, effects, refusal, reason };
}

function clip(text: string, whole: number): string {
  return whole > MAX_RECORDED_TEXT ? `${text}… (${whole} characters in all)` : text;
}
