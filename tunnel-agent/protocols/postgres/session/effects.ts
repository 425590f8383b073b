/**
 * What statements do, all told: their own effects, those of the prepared statements and cursors that they name, and calls
 * of what may stand in for the server's own functions (PG-44).
 *
 * A name that the analysis took for pg_catalog's harmless function, operator or cast is looked up by the server in the
 * search_path, by types that nobody here knows. Where the catalogue has another of that name there, it may be the one: so
 * the statement needs `pg:call` on it too. And what is written as a column of a row may be a call with that row.
 */
import { err, ok, type Result } from "../../../../protocol/result.ts";
import type { MaskingRules } from "../../../../policy/types.ts";
import type { Catalogue } from "../catalogue/types.ts";
import { catalogueMissing, notByName, unknownPortal, unknownStatement, type Refusal } from "../refusal.ts";
import type { Effect, Statement } from "../sql/types.ts";
import type { CatalogueSource } from "./masking.ts";
import type { Names } from "./names.ts";

/** The catalogue that stand-ins are looked up in; null: there is none to ask, so that names are taken for what they seem. */
export class StandIns {
  readonly #source: CatalogueSource | null;
  readonly #rules: () => MaskingRules;
  /** Functions that this session has asked to make since no transaction was open: nobody else sees them before its end. */
  readonly #made = new Set<string>();
  /** It has asked for something that may have given anything a name. */
  #madeAnything = false;
  /** Changes with what was made. */
  version = 0;

  constructor(source: CatalogueSource | null, rules: () => MaskingRules) {
    this.#source = source;
    this.#rules = rules;
  }

  /** Changes when an answer may. Undefined: it has to be loaded. */
  get catalogue(): Catalogue | null | undefined {
    return this.#source === null ? null : this.#source.current(this.#rules());
  }

  /**
   * What this statement makes counts for those after it, whether they come in the same text, the same pipeline or the same
   * transaction; and if it fails or is refused, it counts until no transaction is open.
   */
  note(statement: Statement): void {
    if (this.#source === null) return;
    const before = this.#made.size;
    const anything = mayNameAnything(statement);
    for (const { action, object } of statement.effects) {
      if (action === "pg:create" && object.type === "function") this.#made.add(object.name);
    }
    if (this.#made.size > before || (anything && !this.#madeAnything)) this.version++;
    if (anything) this.#madeAnything = true;
  }

  /** No transaction is open: the next catalogue has what was made. */
  transactionEnded(): void {
    if (this.#made.size === 0 && !this.#madeAnything) return;
    this.#made.clear();
    this.#madeAnything = false;
    this.version++;
  }

  /** Whether these statements cannot be judged before the catalogue is loaded. */
  lacking(statements: readonly Statement[]): boolean {
    return this.#source !== null && statements.some(needsCatalogue) && this.catalogue === undefined;
  }

  /** The statement's effects with those calls; undefined: there is no catalogue to say. */
  effectsOf(statement: Statement, searchPath: readonly string[]): readonly Effect[] | undefined {
    const { builtins, fields } = statement;
    if (this.#source === null || builtins.length + fields.names.length === 0) return statement.effects;
    const { catalogue } = this;
    if (catalogue === undefined || catalogue === null) return undefined;
    const isMade = (name: string): boolean => this.#madeAnything || this.#made.has(name);
    const call = (schema: string | undefined, name: string): Effect => ({ action: "pg:call", object: { type: "function", schema, name } });
    const calls = [
      ...builtins.flatMap(({ kind, name, qualified }) => [
        ...catalogue.shadows(kind, name, qualified ? [] : searchPath).map((schema) => call(schema, name)),
        ...(!qualified && isMade(name) ? [call(undefined, name)] : []),
      ]),
      ...fields.names.flatMap((name) => [
        ...catalogue.rowFunctions(name, fields.ofFunctions, searchPath).map((schema) => call(schema, name)),
        ...(this.#made.has(name) ? [call(undefined, name)] : []),
      ]),
    ];
    return calls.length === 0 ? statement.effects : [...statement.effects, ...calls];
  }
}

const NAMES_ANYTHING = new Set(
  `CreateCastStmt CreateExtensionStmt AlterExtensionStmt AlterExtensionContentsStmt CreateOpClassStmt AlterOpFamilyStmt DoStmt
  CallStmt`.split(/\s+/),
);

/** It makes operators or casts, or gives functions another name or schema, under names that its effects do not hold. */
function mayNameAnything({ node, effects }: Statement): boolean {
  if (NAMES_ANYTHING.has(node)) return true;
  if (node === "DefineStmt") return effects.some(({ action, object }) => action === "pg:create" && object.type !== "function");
  return (node === "RenameStmt" || node === "AlterObjectSchemaStmt") && effects.some(({ object }) => object.type !== "table");
}

/** EXECUTE and FETCH run what has names of its own. */
const needsCatalogue = ({ builtins, fields, session }: Statement): boolean =>
  builtins.length + fields.names.length > 0 || session.some(({ kind }) => kind === "execute" || kind === "use-cursor");

/** `statements`: of one text, in order. */
export function effectsOfAll(
  statements: readonly Statement[],
  names: Names,
  standIns: StandIns,
  searchPath: readonly string[],
): Result<readonly Effect[], Refusal> {
  // What says nothing (`;`, a comment: drivers ask so whether the connection lives) needs what every statement needs.
  const all: Effect[] = statements.length === 0 ? [{ action: "pg:session", object: { type: "target" } }] : [];
  /** Named earlier in the same text: not yet in the backend, and in force by the time that a later statement runs. */
  const prepared = new Map<string, Statement>();
  const declared = new Map<string, Statement>();
  for (const statement of statements) {
    const run: Statement[] = [statement];
    for (const effect of statement.session) {
      switch (effect.kind) {
        case "prepare":
          prepared.set(effect.name, statement);
          break;
        case "declare-cursor":
          declared.set(effect.name, statement);
          break;
        case "execute": {
          const before = names.statements.get(effect.name)?.subject.statements;
          const named = statementsOf(prepared.get(effect.name), before, unknownStatement(effect.name));
          if (!named.ok) return named;
          run.push(...named.value);
          break;
        }
        case "use-cursor": {
          const before = names.portals.get(effect.name)?.statement.subject.statements;
          const named = statementsOf(declared.get(effect.name), before, unknownPortal(effect.name));
          if (!named.ok) return named;
          run.push(...named.value);
          break;
        }
        case "deallocate":
        case "close-cursor":
        case "discard-all":
        case "transaction":
        case "search-path":
          break;
      }
    }
    for (const one of run) {
      const effects = standIns.effectsOf(one, searchPath);
      if (effects === undefined) return err(catalogueMissing);
      all.push(...effects);
      standIns.note(one);
    }
  }
  return ok(all);
}

/** What a name stands for: as this text sets it, and as it was before, in case the text's own statement fails. */
function statementsOf(
  here: Statement | undefined,
  before: readonly Statement[] | undefined,
  unknown: Refusal,
): Result<readonly Statement[], Refusal> {
  if (before === undefined) return here === undefined ? err(unknown) : ok([here]);
  // Run by name, what such a statement does to the session would escape the one who reads only EXECUTE.
  if (before.some(({ session, copy }) => session.length > 0 || copy !== undefined)) return err(notByName);
  return ok(here === undefined ? before : [here, ...before]);
}
