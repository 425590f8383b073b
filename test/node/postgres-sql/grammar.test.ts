/**
 * The node table and the table of concrete fields against the grammar's own list of nodes, as @pgsql/types has it.
 */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { NODES } from "../../../tunnel-agent/protocols/postgres/sql/nodes.ts";
import { concreteFields } from "../../../tunnel-agent/protocols/postgres/sql/tree.ts";

const declarations = readFileSync(new URL("../../../node_modules/@pgsql/types/types.d.ts", import.meta.url), "utf8");
const nodes = new Map<string, Map<string, string>>();
for (const [, name = "", body = ""] of declarations.matchAll(/export interface (\w+) \{(.*?)\n\}/gs)) {
  nodes.set(name, new Map([...body.matchAll(/(\w+)\??: ([^;]+);/g)].map(([, field = "", type = ""]) => [field, type])));
}

/** Made after parsing (analysis, planning), by PL/pgSQL's own parser, or not nodes at all: the raw parser never makes them. */
const NEVER_RAW = new Set(
  `ParseResult ScanResult ScanToken SummaryResult Table Function FilterColumn RawStmt OidList IntList
  TableFunc Var Param Aggref WindowFunc WindowFuncRunCondition SubscriptingRef FuncExpr OpExpr DistinctExpr NullIfExpr
  ScalarArrayOpExpr SubPlan AlternativeSubPlan FieldSelect FieldStore RelabelType CoerceViaIO ArrayCoerceExpr ConvertRowtypeExpr
  CollateExpr CaseTestExpr ArrayExpr RowCompareExpr JsonConstructorExpr JsonExpr JsonTablePath JsonTablePathScan JsonTableSiblingJoin
  MergeAction CoerceToDomain CoerceToDomainValue NextValueExpr InferenceElem ReturningExpr TargetEntry RangeTblRef FromExpr
  OnConflictExpr Query RangeTblEntry RTEPermissionInfo RangeTblFunction TableSampleClause WithCheckOption SortGroupClause WindowClause
  RowMarkClause SetOperationStmt PLAssignStmt InlineCodeBlock CallContext`.split(/\s+/),
);

describe("PostgreSQL 18's grammar", () => {
  it("has no raw node without a handler", () => {
    expect(nodes.size).toBeGreaterThan(250);
    expect([...nodes.keys()].filter((name) => !NODES.has(name) && !NEVER_RAW.has(name))).toEqual([]);
  });

  it("has every node that the table names", () => {
    expect([...NODES.keys()].filter((name) => !nodes.has(name))).toEqual([]);
    expect([...NODES.keys()].filter((name) => NEVER_RAW.has(name))).toEqual([]);
  });

  it("has the concrete fields that the tree table holds, and no other in raw nodes", () => {
    const declared = new Map<string, string>();
    for (const [name, fields] of nodes) {
      if (!NODES.has(name)) continue;
      for (const [field, type] of fields) if (NODES.has(type)) declared.set(`${name}.${field}`, type);
    }
    expect(new Map(concreteFields())).toEqual(declared);
  });

  it("hides no node below a leaf", () => {
    for (const [name, handler] of NODES) {
      if (handler !== "leaf") continue;
      const below = [...(nodes.get(name) ?? [])]
        .filter(([field, type]) => field !== "xpr" && /^Node(\[\])?$/.test(type))
        .map(([field]) => `${name}.${field}`);
      // Names of functions and their arguments' types, columns of a privilege or a lock: nothing that runs.
      const names = new Set([
        "Alias.colnames",
        "AccessPriv.cols",
        "ObjectWithArgs.objname",
        "ObjectWithArgs.objargs",
        "ObjectWithArgs.objfuncargs",
        "CTESearchClause.search_col_list",
        "LockingClause.lockedRels",
      ]);
      expect(below.filter((field) => !names.has(field))).toEqual([]);
    }
  });
});
