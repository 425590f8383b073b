/**
 * Code that a statement runs: functions, operators and casts. Those of PostgreSQL itself that are known to be harmless
 * have no effect of their own; some have a meaning that policy has a word for; a few are refused whatever policy
 * says; everything else is `pg:call` on that function (PG-35, PG-36).
 *
 * Does not see: code that runs because data is touched (triggers, defaults, domain checks, rules, row security, views).
 * Somebody's function of one row written as a column (`t.f`) only the target's catalogue tells from a column.
 */
import type { ActionName } from "../../../../policy/actions.ts";
import { listed } from "./builtins/lookup.ts";
import { constantText, parseName } from "./constants.ts";
import { functionObject, qualified, relationEffect, strings, type QualifiedName } from "./names.ts";
import { applySetConfig } from "./settings.ts";
import { listOf, nodeOf, textOf, type Fields } from "./tree.ts";
import type { Walk } from "./walk.ts";

interface Special {
  readonly names: RegExp;
  readonly hazard?: string;
  readonly sentence?: string;
  readonly action?: ActionName;
}

/** By name in any schema: extensions put theirs where they like, and no other function should carry such a name. */
const FORBIDDEN: readonly (Special & { hazard: string; sentence: string })[] = [
  {
    names:
      /^(pg_read_(binary_)?file(_old|_all|_off_len.*)?|pg_ls_.*|pg_stat_file|pg_file_(write|rename|unlink|sync|read|length)|pg_logdir_ls|pg_logfile_.*|lo_(import|export))$/,
    hazard: "PG-22",
    sentence: "It reads or writes files of the database server.",
  },
  {
    names:
      /^(pg_.*_slot|pg_logical_slot_.*|pg_logical_emit_message|pg_replication_.*|pg_sync_replication_slots|pg_replication_slot_advance)$/,
    hazard: "PG-24",
    sentence: "It works on replication slots, which return whole rows and hold back the log.",
  },
  { names: /^pg_(terminate|cancel)_backend$/, hazard: "PG-40", sentence: "It signals other sessions." },
];

/** Functions of pg_catalog that act on the server as a whole. */
const SYSTEM =
  /^(pg_(reload_conf|rotate_logfile(_old)?|promote|switch_wal|create_restore_point|backup_(start|stop)|wal_replay_(pause|resume)|log_(backend_memory_contexts|standby_snapshot)|import_system_collations|stat_reset.*|(restore|clear)_(attribute|relation)_stats|nextoid|stop_making_pinned_objects)|binary_upgrade_.*)$/;

const ADVICE_CONSTANT = "Its arguments must be constants, so that the gateway sees what it sets.";

/** A FuncCall node. */
export function functionCall(fields: Fields, walk: Walk): void {
  walk.children("FuncCall", fields, "funcname");
  const args = listOf(fields, "args");
  call(qualified(fields["funcname"]), args, walk);
}

/** What calling a function by this name does; `args` undefined where only its name is known. */
export function call({ schema, name }: QualifiedName, args: readonly unknown[] | undefined, walk: Walk): void {
  const { facts } = walk;
  const barred = FORBIDDEN.find(({ names }) => names.test(name));
  if (barred !== undefined) facts.forbid(barred.hazard, barred.sentence);
  if (name.startsWith("dblink")) facts.secret("literals");

  if (schema === "information_schema" && listed("informationFunctions", name, walk.serverMajor) === "yes") return;
  const builtin = schema === undefined || schema === "pg_catalog";
  if (!builtin) {
    facts.effect("pg:call", functionObject({ schema, name }));
    return;
  }
  const harmless = listed("harmless", name, walk.serverMajor);
  facts.builtin("function", name, schema !== undefined);
  if (harmless === "yes") return;
  if (special(name, args, walk)) return;
  const own = schema === "pg_catalog" || harmless !== "no" || listed("guarded", name, walk.serverMajor) !== "no";
  if (own) facts.effect("pg:call", { type: "function", schema: "pg_catalog", name });
  // A name that only other versions have is somebody's own function here.
  if (schema === undefined && listed("guarded", name, walk.serverMajor) !== "yes") facts.effect("pg:call", { type: "function", name });
}

/** Functions with a meaning of their own. False: an ordinary one. */
function special(name: string, args: readonly unknown[] | undefined, walk: Walk): boolean {
  const { facts } = walk;
  switch (name) {
    case "set_config":
      if (args === undefined || !applySetConfig(args, walk)) {
        facts.effect("pg:set");
        facts.forbid("PG-28", `set_config is refused. ${ADVICE_CONSTANT}`);
      }
      return true;
    case "pg_notify":
      facts.effect("pg:notify");
      return true;
    case "lastval":
      return true;
    case "nextval":
    case "setval":
    case "currval": {
      const sequence = args?.[0] === undefined ? undefined : parseName(constantText(args[0]));
      if (sequence === undefined) return false;
      relationEffect(walk, name === "currval" ? "pg:select" : "pg:update", sequence);
      return true;
    }
    default:
      if (!SYSTEM.test(name)) return false;
      facts.effect("pg:system");
      return true;
  }
}

/** An operator's name: one string, or OPERATOR(schema.name). */
export function operator(list: unknown, walk: Walk): void {
  const { schema, name } = qualified(list);
  if (name === "") return;
  const builtin = schema === undefined || schema === "pg_catalog";
  if (builtin && listed("operators", name, walk.serverMajor) === "yes") {
    walk.facts.builtin("operator", name, schema !== undefined);
    return;
  }
  walk.facts.effect("pg:call", functionObject({ schema, name }));
}

/** A_Expr: the kinds that name an operator, and BETWEEN, which names none. */
export function operatorExpression(fields: Fields, walk: Walk): void {
  walk.children("A_Expr", fields, "name");
  const kind = textOf(fields, "kind") ?? "";
  const between = BETWEEN.get(kind);
  if (between === undefined) operator(fields["name"], walk);
  else for (const name of between) walk.facts.builtin("operator", name, false);
}

/** What the server looks up for them, by these names and the search_path (transformAExprBetween, parse_expr.c). */
const BETWEEN: ReadonlyMap<string, readonly string[]> = new Map([
  ["AEXPR_BETWEEN", [">=", "<="]],
  ["AEXPR_NOT_BETWEEN", ["<", ">"]],
  ["AEXPR_BETWEEN_SYM", [">=", "<="]],
  ["AEXPR_NOT_BETWEEN_SYM", ["<", ">"]],
]);

/** Syntax that looks `=` up by its name: CASE with an operand, JOIN with USING or NATURAL, IN with a subquery. */
export function equality(walk: Walk): void {
  walk.facts.builtin("operator", "=", false);
}

/** Grammar's own spellings of types that pg_type knows by another name need none here: the parser translates them. */
export function typeUse(fields: Fields, walk: Walk): void {
  walk.children("TypeName", fields, "names");
  const names = strings(fields["names"]);
  if (names.length === 0) return;
  if (fields["pct_type"] === true) return;
  const { schema, name } = qualified(fields["names"]);
  if ((schema === undefined || schema === "pg_catalog") && listed("types", name, walk.serverMajor) === "yes") {
    walk.facts.builtin("cast", name, schema !== undefined);
    return;
  }
  if (schema === "information_schema" && listed("informationTypes", name, walk.serverMajor) === "yes") return;
  walk.facts.effect("pg:call", functionObject({ schema, name }));
}

/**
 * `(expression).name` is a field of a composite, or a call of name(expression): `('/etc/passwd').pg_read_file`.
 * Names that are fields of the catalogues' own rows are taken for fields.
 */
export function indirection(fields: Fields, walk: Walk): void {
  walk.children("A_Indirection", fields);
  const list = listOf(fields, "indirection");
  for (const item of list) {
    const node = nodeOf(item);
    if (node?.[0] !== "String") continue;
    const name = textOf(node[1], "sval") ?? "";
    walk.facts.field(name);
    if (listed("fields", name, walk.serverMajor) === "yes" && listed("guarded", name, walk.serverMajor) === "no") continue;
    call({ name }, undefined, walk);
  }
}

/** TABLESAMPLE's methods are functions that nothing else can call, and one of them has the name of many a column. */
const METHODS = new Set(["system", "bernoulli"]);

/**
 * `t.f` calls f(t) where t has no column f. A function of the server's own that is not harmless gives its name to no column;
 * whether one of somebody else's may be meant, the catalogue says (session/effects.ts).
 */
export function columnReference(fields: Fields, walk: Walk): void {
  const names = strings(fields["fields"]);
  const name = names.at(-1);
  if (names.length < 2 || name === undefined) return;
  walk.facts.field(name);
  const barred = FORBIDDEN.find(({ names }) => names.test(name));
  if (barred !== undefined) walk.facts.forbid(barred.hazard, barred.sentence);
  const guarded = listed("guarded", name, walk.serverMajor) !== "no" && listed("fields", name, walk.serverMajor) === "no";
  if (guarded && !METHODS.has(name)) call({ name }, undefined, walk);
}

/**
 * Expressions with a syntax of their own that came with one version: on an older server the same text is a call of
 * an ordinary function.
 */
export function sinceVersion(
  kind: string,
  major: number,
  name: string | ((fields: Fields) => string),
): (fields: Fields, walk: Walk) => void {
  return (fields, walk) => {
    walk.children(kind, fields);
    if (walk.serverMajor !== undefined && walk.serverMajor >= major) return;
    walk.facts.effect("pg:call", { type: "function", name: typeof name === "string" ? name : name(fields) });
  };
}

/** JSON_EXISTS, JSON_QUERY or JSON_VALUE. */
export const jsonFunctionName = (fields: Fields): string => (textOf(fields, "op") ?? "JSON_VALUE_OP").replace(/_OP$/, "").toLowerCase();
