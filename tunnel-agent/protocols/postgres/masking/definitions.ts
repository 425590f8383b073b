/**
 * Definition statements: what they would do with classified columns. `Lineage` collects what is found.
 */
import type { Catalogue } from "../catalogue/types.ts";
import type { Definition } from "../sql/sketch/types.ts";
import { classesOf, printed, type Lineage } from "./lineage.ts";

export function definitionTouches(
  { concerns, within, added, schemas, everything }: Definition,
  lineage: Lineage,
  catalogue: Catalogue,
  searchPath: readonly string[],
  fresh: boolean,
): void {
  if (everything !== undefined)
    lineage.touches.push({ hazard: "PG-29", sentence: `uses every table, and ${everything}`, classes: [], output: null });
  for (const schema of schemas) {
    const found = catalogue.relationsIn(schema).find(({ oid }) => catalogue.touchesClasses(oid));
    if (found === undefined) continue;
    const sentence = `uses the schema ${schema}, which has classified columns (${found.name}), and rules for masking go by names`;
    lineage.touches.push({ hazard: "PG-32", sentence, classes: [], output: null });
  }
  const isNew = new Set(added);
  for (const { relation, columns, what } of concerns) {
    const found = catalogue.candidates(relation.schema, relation.name, searchPath);
    if (found.length === 0 && !fresh) lineage.unknown.push(`the relation ${printed(relation)}`);
    for (const { oid, attributes } of found) {
      const all = [...attributes.values()];
      const named = columns === null ? all : all.filter(({ name }) => columns.includes(name));
      const missing = columns?.find((name) => !isNew.has(name) && !all.some((attribute) => attribute.name === name));
      if (missing !== undefined && !fresh) lineage.unknown.push(`the column ${missing} of ${printed(relation)}`);
      for (const { attnum, name } of named) {
        const taint = catalogue.classified(oid, attnum);
        if (taint === undefined) continue;
        const classes = classesOf(taint);
        lineage.touches.push({
          hazard: "PG-29",
          sentence: `uses the column ${name} (class ${classes.join(", ")}): ${what}`,
          classes,
          output: null,
        });
        break;
      }
    }
  }
  for (const { relation, reads } of within) lineage.within(relation, added, reads, "PG-34");
}
