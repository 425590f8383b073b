/**
 * The shape of libpg-query's JSON tree, apart from what any node means. A field whose C type is `Node *` holds
 * `{ "SelectStmt": {…} }`; a field of a concrete type holds the bare object, so its kind follows from where it stands.
 */

/** The fields of one node. */
export type Fields = Readonly<Record<string, unknown>>;

/** Concrete types by `Kind.field`, as in PostgreSQL 18's parsenodes.h and primnodes.h. What is not here is unknown. */
const CONCRETE: ReadonlyMap<string, string> = new Map(
  `A_Const.ival=Integer A_Const.fval=Float A_Const.boolval=Boolean A_Const.sval=String A_Const.bsval=BitString
  RangeVar.alias=Alias JoinExpr.join_using_alias=Alias JoinExpr.alias=Alias RangeSubselect.alias=Alias
  RangeFunction.alias=Alias RangeTableFunc.alias=Alias JsonTable.alias=Alias
  IntoClause.rel=RangeVar TableLikeClause.relation=RangeVar PartitionCmd.name=RangeVar Constraint.pktable=RangeVar
  ColumnDef.identitySequence=RangeVar VacuumRelation.relation=RangeVar PublicationTable.relation=RangeVar
  PublicationObjSpec.pubtable=PublicationTable PartitionCmd.bound=PartitionBoundSpec
  TypeCast.typeName=TypeName RangeTableFuncCol.typeName=TypeName ColumnDef.typeName=TypeName XmlSerialize.typeName=TypeName
  JsonOutput.typeName=TypeName JsonTableColumn.typeName=TypeName FunctionParameter.argType=TypeName
  CreateOpClassItem.storedtype=TypeName CreateOpClassItem.name=ObjectWithArgs
  ColumnDef.collClause=CollateClause FuncCall.over=WindowDef
  JsonValueExpr.format=JsonFormat JsonIsPredicate.format=JsonFormat JsonReturning.format=JsonFormat JsonOutput.returning=JsonReturning
  JsonArgument.val=JsonValueExpr JsonFuncExpr.context_item=JsonValueExpr JsonFuncExpr.output=JsonOutput
  JsonFuncExpr.on_empty=JsonBehavior JsonFuncExpr.on_error=JsonBehavior
  JsonTable.context_item=JsonValueExpr JsonTable.pathspec=JsonTablePathSpec JsonTable.on_error=JsonBehavior
  JsonTableColumn.pathspec=JsonTablePathSpec JsonTableColumn.format=JsonFormat JsonTableColumn.on_empty=JsonBehavior
  JsonTableColumn.on_error=JsonBehavior JsonKeyValue.value=JsonValueExpr
  JsonParseExpr.expr=JsonValueExpr JsonParseExpr.output=JsonOutput JsonScalarExpr.output=JsonOutput
  JsonSerializeExpr.expr=JsonValueExpr JsonSerializeExpr.output=JsonOutput JsonObjectConstructor.output=JsonOutput
  JsonArrayConstructor.output=JsonOutput JsonArrayQueryConstructor.output=JsonOutput JsonArrayQueryConstructor.format=JsonFormat
  JsonAggConstructor.output=JsonOutput JsonAggConstructor.over=WindowDef JsonObjectAgg.constructor=JsonAggConstructor
  JsonObjectAgg.arg=JsonKeyValue JsonArrayAgg.constructor=JsonAggConstructor JsonArrayAgg.arg=JsonValueExpr
  CommonTableExpr.search_clause=CTESearchClause CommonTableExpr.cycle_clause=CTECycleClause OnConflictClause.infer=InferClause
  SelectStmt.intoClause=IntoClause SelectStmt.withClause=WithClause SelectStmt.larg=SelectStmt SelectStmt.rarg=SelectStmt
  InsertStmt.relation=RangeVar InsertStmt.onConflictClause=OnConflictClause InsertStmt.returningClause=ReturningClause
  InsertStmt.withClause=WithClause DeleteStmt.relation=RangeVar DeleteStmt.returningClause=ReturningClause
  DeleteStmt.withClause=WithClause UpdateStmt.relation=RangeVar UpdateStmt.returningClause=ReturningClause
  UpdateStmt.withClause=WithClause MergeStmt.relation=RangeVar MergeStmt.returningClause=ReturningClause MergeStmt.withClause=WithClause
  CreateSchemaStmt.authrole=RoleSpec AlterTableStmt.relation=RangeVar AlterTableCmd.newowner=RoleSpec
  GrantStmt.grantor=RoleSpec GrantRoleStmt.grantor=RoleSpec AlterDefaultPrivilegesStmt.action=GrantStmt
  CopyStmt.relation=RangeVar CreateStmt.relation=RangeVar CreateStmt.partbound=PartitionBoundSpec
  CreateStmt.partspec=PartitionSpec CreateStmt.ofTypename=TypeName CreateTableSpaceStmt.owner=RoleSpec
  CreateForeignTableStmt.base=CreateStmt CreateUserMappingStmt.user=RoleSpec AlterUserMappingStmt.user=RoleSpec
  DropUserMappingStmt.user=RoleSpec CreatePolicyStmt.table=RangeVar AlterPolicyStmt.table=RangeVar
  CreateTrigStmt.relation=RangeVar CreateTrigStmt.constrrel=RangeVar AlterRoleStmt.role=RoleSpec
  AlterRoleSetStmt.role=RoleSpec AlterRoleSetStmt.setstmt=VariableSetStmt CreateSeqStmt.sequence=RangeVar
  AlterSeqStmt.sequence=RangeVar CreateDomainStmt.typeName=TypeName CreateDomainStmt.collClause=CollateClause
  CreateOpClassStmt.datatype=TypeName IndexStmt.relation=RangeVar CreateFunctionStmt.returnType=TypeName
  AlterFunctionStmt.func=ObjectWithArgs CallStmt.funccall=FuncCall RenameStmt.relation=RangeVar
  AlterObjectDependsStmt.relation=RangeVar AlterObjectDependsStmt.extname=String AlterObjectSchemaStmt.relation=RangeVar
  AlterOwnerStmt.relation=RangeVar AlterOwnerStmt.newowner=RoleSpec AlterOperatorStmt.opername=ObjectWithArgs
  RuleStmt.relation=RangeVar CompositeTypeStmt.typevar=RangeVar ViewStmt.view=RangeVar AlterDatabaseSetStmt.setstmt=VariableSetStmt
  AlterSystemStmt.setstmt=VariableSetStmt ClusterStmt.relation=RangeVar CreateTableAsStmt.into=IntoClause
  RefreshMatViewStmt.relation=RangeVar ReindexStmt.relation=RangeVar CreateCastStmt.sourcetype=TypeName
  CreateCastStmt.targettype=TypeName CreateCastStmt.func=ObjectWithArgs CreateTransformStmt.type_name=TypeName
  CreateTransformStmt.fromsql=ObjectWithArgs CreateTransformStmt.tosql=ObjectWithArgs ReassignOwnedStmt.newrole=RoleSpec`
    .split(/\s+/)
    .map((entry) => entry.split("=") as [string, string]),
);

export const concreteKind = (parent: string, field: string): string | undefined => CONCRETE.get(`${parent}.${field}`);

/** Every `Kind.field` with a concrete type, for the test that compares them with the grammar's own list. */
export const concreteFields = (): ReadonlyMap<string, string> => CONCRETE;

/** `[kind, fields]` of `{ "SelectStmt": {…} }`; undefined for a bare object. Kinds are capitalised, fields never are. */
export function unwrap(value: object): [string, Fields] | undefined {
  for (const key in value) {
    const first = key.charCodeAt(0);
    if (first < 0x41 || first > 0x5a) return undefined;
    return [key, (value as Record<string, Fields>)[key] ?? {}];
  }
  return undefined;
}

/** `[kind, fields]` of a wrapped node; undefined for anything else. */
export const nodeOf = (value: unknown): [string, Fields] | undefined =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? unwrap(value) : undefined;

/** A field that holds a list; empty when it is absent. */
export function listOf(fields: Fields | undefined, field: string): readonly unknown[] {
  const value = fields?.[field];
  return Array.isArray(value) ? (value as unknown[]) : [];
}

/** A field that holds text, an enum's word included; undefined when it is absent or empty. */
export function textOf(fields: Fields | undefined, field: string): string | undefined {
  const value = fields?.[field];
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** A field that holds a bare object, e.g. `relation`. */
export function fieldsOf(fields: Fields | undefined, field: string): Fields | undefined {
  const value = fields?.[field];
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : undefined;
}

/** Objects on the longest path from the root, without recursion; stops counting beyond `limit`. */
export function depthOf(root: unknown, limit: number): number {
  let level: unknown[] = [root];
  for (let depth = 0; ; depth++) {
    const next: unknown[] = [];
    for (const value of level) {
      if (typeof value !== "object" || value === null) continue;
      for (const child of Object.values(value)) {
        // A list is no level of its own.
        if (Array.isArray(child)) {
          for (const item of child) if (typeof item === "object" && item !== null) next.push(item);
        } else if (typeof child === "object" && child !== null) next.push(child);
      }
    }
    if (next.length === 0 || depth > limit) return depth;
    level = next;
  }
}
