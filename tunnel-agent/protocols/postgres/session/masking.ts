/**
 * What masking makes of each statement of one session, under the rules and the catalogue of this moment: passes, is
 * refused, or must wait until the catalogue is loaded. Where no class concerns the target, it costs one comparison.
 *
 * What is proven of a statement is kept for as long as catalogue, rules, unmasked classes and schemas stay the same. A
 * statement that only names another (EXECUTE, FETCH) is proven by that one.
 *
 * Does not touch results (results.ts) and loads nothing: the shell does, when it is asked to.
 */
import type { DataClass, MaskingRules } from "../../../../policy/types.ts";
import type { SessionContext } from "../../../session.ts";
import type { Catalogue } from "../catalogue/types.ts";
import { FIRST_USER_OID, type PlanOptions, type Unprovable } from "../masking/plan.ts";
import { prove } from "../masking/prove.ts";
import type { MaskingVerdict } from "../masking/types.ts";
import { withoutClasses } from "../masking/unmasked.ts";
import { catalogueMissing, notCopied, notInCatalogue, notProvable, type Refusal } from "../refusal.ts";
import type { Effect, Statement } from "../sql/types.ts";
import type { Names } from "./names.ts";

/** Where the session's catalogue comes from. */
export interface CatalogueSource {
  /** The newest snapshot, classified by these rules; undefined: there is none, or something has changed since. */
  current(rules: MaskingRules): Catalogue | undefined;
  /** A statement may have changed what a snapshot holds. */
  changed(): void;
}

/** `load`: a newer one is needed. `confirm`: it has to be seen that it still holds. */
export type CatalogueNeed = "load" | "confirm";

export interface MaskingOptions {
  readonly source: CatalogueSource;
  /** What is done where nothing can be proven, with this catalogue as the session has it. */
  unprovable(catalogue: Catalogue | null): Unprovable;
}

/** What is known of one subject's results, for as long as its command runs. */
export interface SubjectMasking extends PlanOptions {
  /** Statement by statement, what may be said of its result; several where a name may stand for several statements. */
  readonly verdicts: readonly (readonly MaskingVerdict[])[];
  /** It reads, writes or calls what could put classified values into a message (PG-26). */
  readonly touches: boolean;
}

/** How this session sees the target's data: one object for as long as nothing about it changes. */
export interface View {
  readonly rules: MaskingRules;
  /** Null: no class has columns, so only detectors are at work. */
  readonly catalogue: Catalogue | null;
}

/** What was proven of one statement. */
interface Proof {
  readonly view: View;
  readonly schemas: number;
  readonly verdict: MaskingVerdict;
  /** Monotonic ms. */
  readonly until: number;
}

/** ms for which it counts as just loaded for a statement: its Bind and Execute follow its Parse. */
const FRESH_MS = 2000;
/** ms for which an `unmask` is repeated without asking again. */
const UNMASK_TTL_MS = 1000;

/** Statements that may do anything, so that nothing is known of the catalogue after them. */
const OPAQUE = new Set(["CallStmt", "DoStmt"]);
const DDL = /^pg:(?:create|alter|drop|import|comment|grant|revoke|load)/;

export class SessionMasking {
  readonly #options: MaskingOptions | undefined;
  readonly #session: Pick<SessionContext, "masking" | "decideAll" | "policyVersion" | "monotonic">;
  readonly #target: string;
  readonly #names: Names;
  #policyVersion = -1;
  #rules: MaskingRules = { classes: [] };
  #printed = "[]";
  #classed = false;
  #unmasked: { readonly until: number; readonly classes: ReadonlySet<string>; readonly key: string } | null = null;
  #view: { readonly view: View; readonly of: Catalogue | null; readonly key: string } | null = null;
  readonly #proofs = new WeakMap<Statement, Proof>();
  /** The catalogue was loaded just now, for the statement that is being decided. */
  #fresh = false;
  /** Definitions changed in the open transaction: nobody else sees it before its end. */
  #redefined = false;
  /** Grows with every change of the rules: what was opened under other rules is not read under these (PG-19). */
  epoch = 0;
  /** Since the transaction began, a statement touched what is classified: its errors say no more than their kind. */
  touched = false;

  constructor(
    options: MaskingOptions | undefined,
    session: Pick<SessionContext, "masking" | "decideAll" | "policyVersion" | "monotonic">,
    target: string,
    names: Names,
  ) {
    this.#options = options;
    this.#session = session;
    this.#target = target;
    this.#names = names;
  }

  /** Whether any rule concerns this target now. */
  get active(): boolean {
    if (this.#options === undefined) return false;
    const version = this.#session.policyVersion();
    if (version !== this.#policyVersion) this.#read(version);
    return this.#rules.classes.length > 0;
  }

  #read(version: number): void {
    this.#policyVersion = version;
    const rules = this.#session.masking();
    this.#unmasked = null;
    this.#rules = rules;
    const printed = JSON.stringify(rules.classes);
    if (printed === this.#printed) return;
    this.#printed = printed;
    this.#classed = rules.classes.some(hasColumns);
    this.#view = null;
    this.epoch++;
  }

  /** Null: nothing is masked here. Undefined: the catalogue must be loaded first. */
  view(): View | null | undefined {
    const options = this.#options;
    if (options === undefined || !this.active) return null;
    const { classes, key } = this.#unmask();
    const whole = this.#rules.classes.some((rule) => hasColumns(rule) && !classes.has(rule.name))
      ? options.source.current(this.#rules)
      : null;
    if (whole === undefined) return undefined;
    if (this.#view?.of === whole && this.#view.key === key) return this.#view.view;
    const rules = { classes: this.#rules.classes.filter(({ name }) => !classes.has(name)) };
    if (rules.classes.length === 0) return null;
    const view: View = { rules, catalogue: whole === null ? null : withoutClasses(whole, classes) };
    this.#view = { view, of: whole, key };
    return view;
  }

  /** Classes that this identity may read as they are. What would need an approval stays masked. */
  #unmask(): { readonly classes: ReadonlySet<string>; readonly key: string } {
    const now = this.#session.monotonic();
    if (this.#unmasked !== null && now < this.#unmasked.until) return this.#unmasked;
    const allowed = this.#rules.classes
      .map(({ name }) => name)
      .filter((name) => {
        const resource = { type: "class", target: this.#target, name } as const;
        return this.#session.decideAll([{ action: "unmask", resource }]).outcome === "allow";
      });
    this.#unmasked = { until: now + UNMASK_TTL_MS, classes: new Set(allowed), key: JSON.stringify(allowed) };
    return this.#unmasked;
  }

  /** Whether deciding these statements has to wait for the catalogue, and what of it. `schemas` as in `decide`; `planned`: they are planned now. */
  mustLoad(statements: readonly Statement[], schemas: Schemas, planned: boolean): CatalogueNeed | null {
    const view = this.view();
    if (view === null || view?.catalogue === null) return null;
    if (view === undefined) return "load";
    const { catalogue } = view;
    const unknown = this.#verdicts(statements, view, catalogue, schemas).some((some) => some.some(({ kind }) => kind === "unknown"));
    if (unknown) return "load";
    return planned && catalogue.hasClasses && this.#readsViews(statements, catalogue, schemas) ? "confirm" : null;
  }

  /** What these statements come to; null where nothing is masked. */
  decide(
    statements: readonly Statement[],
    schemas: Schemas,
  ): { readonly masking: SubjectMasking | null; readonly refusal: Refusal | null } {
    const options = this.#options;
    const view = this.view();
    if (options === undefined || view === null) return { masking: null, refusal: null };
    if (view === undefined) return { masking: null, refusal: catalogueMissing };
    const { rules, catalogue } = view;
    const unprovable = options.unprovable(catalogue);
    if (catalogue === null) {
      return { masking: { rules, catalogue, unprovable, verdicts: statements.map(() => []), touches: false }, refusal: null };
    }
    const verdicts = this.#verdicts(statements, view, catalogue, schemas);
    const touches = verdicts.some((some) => some.some(({ kind }) => kind !== "untouched")) || this.#touches(statements, catalogue, schemas);
    const masking = { rules, catalogue, unprovable, verdicts, touches };
    if (unprovable === "leave") return { masking, refusal: null };
    const copy = statements.find((statement, i) => statement.copy === "out" && !maskable(statement, verdicts[i] ?? []));
    if (copy !== undefined && unprovable === "mask") return { masking, refusal: notCopied };
    for (const verdict of verdicts.flat()) {
      if (verdict.kind === "unknown" && unprovable === "refuse") return { masking, refusal: notInCatalogue(verdict.what) };
      if (verdict.kind === "unprovable" && unprovable === "refuse") return { masking, refusal: notProvable(verdict) };
    }
    if (copy !== undefined) return { masking, refusal: notCopied };
    return { masking, refusal: null };
  }

  #verdicts(statements: readonly Statement[], view: View, catalogue: Catalogue, schemas: Schemas): readonly (readonly MaskingVerdict[])[] {
    const prepared = new Map<string, Statement>();
    const declared = new Map<string, Statement>();
    const prove = (statement: Statement): MaskingVerdict => this.#prove(statement, view, catalogue, schemas);
    return statements.map((statement) => {
      const verdicts = [prove(statement)];
      for (const effect of statement.session) {
        if (effect.kind === "prepare") prepared.set(effect.name, statement);
        else if (effect.kind === "declare-cursor") declared.set(effect.name, statement);
        else if (effect.kind === "execute") {
          const before = this.#names.statements.get(effect.name)?.subject.statements ?? [];
          return withOwn(statement, verdicts, named(prepared.get(effect.name), before, prove, verdicts));
        } else if (effect.kind === "use-cursor") {
          const portal = this.#names.portals.get(effect.name);
          if (portal !== undefined && portal.epoch !== this.epoch) return [rulesChanged];
          return withOwn(
            statement,
            verdicts,
            named(declared.get(effect.name), portal?.statement.subject.statements ?? [], prove, verdicts),
          );
        }
      }
      return verdicts;
    });
  }

  /**
   * Whether any of these statements is planned now and reads a view: its definition may have been replaced past the
   * gateway, and neither names nor origins of its columns would show that (PG-17).
   */
  #readsViews(statements: readonly Statement[], catalogue: Catalogue, schemas: Schemas): boolean {
    return statements.some(({ effects, session }) => {
      const executed = session.flatMap((effect) =>
        effect.kind === "execute" ? (this.#names.statements.get(effect.name)?.subject.statements ?? []) : [],
      );
      return [...effects, ...executed.flatMap((statement) => statement.effects)].some(
        ({ object }) =>
          object.type === "table" &&
          catalogue.candidates(object.schema, object.name, schemas.path).some(({ kind, oid }) => kind === "v" && oid >= FIRST_USER_OID),
      );
    });
  }

  #prove(statement: Statement, view: View, catalogue: Catalogue, schemas: Schemas): MaskingVerdict {
    const before = this.#proofs.get(statement);
    const now = this.#session.monotonic();
    const kept = before !== undefined && before.view === view && before.schemas === schemas.version && now < before.until;
    if (kept && !(this.#fresh && before.verdict.kind === "unknown")) return before.verdict;
    const verdict = prove(statement, catalogue, schemas.path, { fresh: this.#fresh });
    this.#proofs.set(statement, {
      view,
      schemas: schemas.version,
      verdict,
      until: this.#fresh ? now + FRESH_MS : Number.POSITIVE_INFINITY,
    });
    return verdict;
  }

  /** Decides what waited for the catalogue, which was loaded for it. */
  freshly(decide: () => void): void {
    this.#fresh = true;
    try {
      decide();
    } finally {
      this.#fresh = false;
    }
  }

  /**
   * Whether a result of this statement may be recorded as the client sees it: what only this identity may see is shown to
   * it and kept nowhere.
   */
  recordable(statement: Statement | undefined, schemas: Schemas): boolean {
    if (this.#options === undefined || !this.active) return true;
    const { classes } = this.#unmask();
    if (!this.#rules.classes.some((rule) => hasColumns(rule) && classes.has(rule.name))) return true;
    const whole = this.#options.source.current(this.#rules);
    if (whole === undefined || statement === undefined) return false;
    if (statement.session.some(({ kind }) => kind === "execute" || kind === "use-cursor")) return false;
    return prove(statement, whole, schemas.path).kind === "untouched";
  }

  /** Whether what these statements say beside their results could hold classified values. */
  #touches(statements: readonly Statement[], catalogue: Catalogue, schemas: Schemas): boolean {
    return statements.some(({ effects, session }) => {
      if (session.some(({ kind }) => kind === "execute" || kind === "use-cursor")) return true;
      return effects.some((effect) => this.#reaches(effect, catalogue, schemas));
    });
  }

  #reaches({ object, action }: Effect, catalogue: Catalogue, schemas: Schemas): boolean {
    if (action === "pg:call" || action === "pg:do") return true;
    if (object.type !== "table") return false;
    return placesOf(object.schema, schemas).some((schema) => {
      const relation = catalogue.resolve(schema, object.name, schemas.path);
      return relation !== undefined && catalogue.touchesClasses(relation.oid);
    });
  }

  /** Whether what the target says now has to be cut to its kind. */
  get quiet(): boolean {
    return this.touched && this.#classed;
  }

  /** Whether a name that a message holds is one of the catalogue's. */
  knows(schema: string, table: string, column: string | undefined): boolean {
    const relation = this.view()?.catalogue?.resolve(schema, table, []);
    if (relation === undefined) return false;
    return column === undefined || [...relation.attributes.values()].some(({ name }) => name === column);
  }

  /** A statement completed. */
  completed(statement: Statement): void {
    // Where no class has columns, the catalogue holds no relations: only other definitions change it.
    const isKept = ({ action, object }: Effect): boolean => DDL.test(action) && (this.#classed || object.type !== "table");
    if (OPAQUE.has(statement.node) || statement.effects.some(isKept)) this.#redefined = true;
  }

  /** No transaction is open: what was changed is there for all to see. */
  transactionEnded(): void {
    this.touched = false;
    if (!this.#redefined) return;
    this.#redefined = false;
    this.#options?.source.changed();
  }
}

/** Copy data have no origins to go by, and only text and CSV can be masked (PG-20). */
const maskable = ({ copyFormat }: Statement, verdicts: readonly MaskingVerdict[]): boolean =>
  verdicts.every(
    ({ kind }) => kind === "untouched" || (kind === "projection" && copyFormat !== undefined && copyFormat.format !== "binary"),
  );

const hasColumns = ({ columns, names }: DataClass): boolean => columns.length + names.length > 0;

/** The schemas that an unqualified name may mean: what the search_path has been, newest last. */
export interface Schemas {
  readonly path: readonly string[];
  readonly version: number;
}

const placesOf = (schema: string | undefined, schemas: Schemas): readonly string[] => (schema === undefined ? schemas.path : [schema]);

const rulesChanged: MaskingVerdict = {
  kind: "unprovable",
  hazard: "PG-19",
  sentence: "The masking rules have changed since this cursor was opened: open it again.",
  classes: [],
};

/** They hand on the rows of what they name, and do nothing with them. */
const HAND_ON = new Set(["ExecuteStmt", "FetchStmt"]);
/** WHERE CURRENT OF: they take the cursor's place, and none of its values. */
const POSITIONED = new Set(["UpdateStmt", "DeleteStmt"]);

/**
 * What is said of the statement that names others, beside what is said of those: its arguments may read on their own
 * account, and CREATE TABLE AS EXECUTE keeps the rows (PG-29).
 */
function withOwn(statement: Statement, own: readonly MaskingVerdict[], theirs: readonly MaskingVerdict[]): readonly MaskingVerdict[] {
  const against = own.filter(({ kind }) => kind === "unprovable" || kind === "unknown");
  if (HAND_ON.has(statement.node)) return against.length === 0 ? theirs : against;
  if (POSITIONED.has(statement.node)) return own;
  return theirs.some(({ kind }) => kind !== "untouched") ? [...against, byName] : [...own];
}

const byName: MaskingVerdict = {
  kind: "unprovable",
  hazard: "PG-29",
  sentence: "The statement does more than hand on the rows of what it runs by name, and those may be classified",
  classes: [],
};

/** What is said of a name's statements: the one made by this very text, and those from before, in case the text's own fails. */
function named(
  here: Statement | undefined,
  before: readonly Statement[],
  prove: (statement: Statement) => MaskingVerdict,
  otherwise: readonly MaskingVerdict[],
): readonly MaskingVerdict[] {
  const statements = here === undefined ? before : [here, ...before];
  return statements.length === 0 ? otherwise : statements.map(prove);
}
