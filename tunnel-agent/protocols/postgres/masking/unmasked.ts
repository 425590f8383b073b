/**
 * A catalogue as one identity has it: classes that policy lets it read (`unmask`) are no classes for it. Everything that
 * proves or plans takes such a view, so that there is one place where a mask is lifted.
 */
import type { Catalogue, Classified } from "../catalogue/types.ts";

export function withoutClasses(catalogue: Catalogue, allowed: ReadonlySet<string>): Catalogue {
  if (allowed.size === 0) return catalogue;
  const still = (found: Classified | undefined): Classified | undefined => {
    if (found === undefined) return undefined;
    if (found.kind === "class") return allowed.has(found.class) ? undefined : found;
    const from = found.from.filter((name) => !allowed.has(name));
    return from.length === 0 ? undefined : { kind: "derived", from };
  };
  const classified = (oid: number, attnum: number): Classified | undefined => still(catalogue.classified(oid, attnum));
  return {
    version: catalogue.version,
    hasClasses: catalogue.hasClasses,
    relation: (oid) => catalogue.relation(oid),
    resolve: (schema, name, searchPath) => catalogue.resolve(schema, name, searchPath),
    candidates: (schema, name, searchPath) => catalogue.candidates(schema, name, searchPath),
    relationsIn: (schema) => catalogue.relationsIn(schema),
    shadows: (kind, name, searchPath) => catalogue.shadows(kind, name, searchPath),
    rowFunctions: (name, ofFunctions, searchPath) => catalogue.rowFunctions(name, ofFunctions, searchPath),
    seesOnlyArguments: (schema, name, searchPath) => catalogue.seesOnlyArguments(schema, name, searchPath),
    filteredBy: (oid) => catalogue.filteredBy(oid).filter((name) => !allowed.has(name)),
    withClasses: () => catalogue.withClasses(),
    classified,
    touchesClasses: (oid) => {
      if (!catalogue.touchesClasses(oid)) return false;
      const relation = catalogue.relation(oid);
      // What it has beyond its attributes is nobody's to allow.
      return relation === undefined || [...relation.attributes.keys()].some((attnum) => classified(oid, attnum) !== undefined);
    },
  };
}
