/**
 * What masking.yaml says of one target and of one column. Pure lookups in the rules that bundle/masking.ts read; whether
 * a statement reaches a column, and what its values become, is the agent's work.
 */
import { matchesPattern } from "./pattern.ts";
import type { ColumnPattern, DataClass, MaskingRules } from "./types.ts";

/** A column of one target, by the names that its catalogue has. */
export interface ColumnName {
  readonly schema: string;
  readonly table: string;
  readonly column: string;
}

const speaksOf = (dataClass: DataClass, target: string): boolean =>
  dataClass.targets.length === 0 || dataClass.targets.some((pattern) => matchesPattern(pattern, target));

const isColumn = (pattern: ColumnPattern, { schema, table, column }: ColumnName): boolean =>
  matchesPattern(pattern.schema, schema) && matchesPattern(pattern.table, table) && matchesPattern(pattern.column, column);

/**
 * The classes that concern one target, each without what speaks of others: `columns` of this target alone, `names` and
 * `detectors` only where `targets` admits it. Order is kept; a class of which nothing is left is left out.
 */
export function rulesFor(rules: MaskingRules, target: string): MaskingRules {
  const classes = rules.classes.flatMap((dataClass): DataClass[] => {
    const columns = dataClass.columns.filter((pattern) => matchesPattern(pattern.target, target));
    const spoken = speaksOf(dataClass, target);
    const names = spoken ? dataClass.names : [];
    const detectors = spoken ? dataClass.detectors : [];
    return columns.length + names.length + detectors.length === 0 ? [] : [{ ...dataClass, columns, names, detectors }];
  });
  return { classes };
}

/**
 * The class that a column belongs to by `columns` or `names`, of the rules of its target (`rulesFor`): the first in the
 * file's order. `paths` are those that its json values are masked at; empty: the whole value, which is always so where
 * only `names` found it. Names are compared without regard to case: a column called "cardNumber" is found by
 * `*number`.
 */
export function classOfColumn(
  rules: MaskingRules,
  column: ColumnName,
): { readonly dataClass: DataClass; readonly paths: DataClass["paths"] } | undefined {
  const folded = column.column.toLowerCase();
  for (const dataClass of rules.classes) {
    if (dataClass.columns.some((pattern) => isColumn(pattern, column))) return { dataClass, paths: dataClass.paths };
    if (dataClass.names.some((pattern) => matchesPattern(pattern, folded))) return { dataClass, paths: [] };
  }
  return undefined;
}
