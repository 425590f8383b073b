/**
 * A catalogue of what was loaded and the rules of the moment. Pure; its lookups are maps.
 */
import type { MaskingRules } from "../../../../policy/types.ts";
import { close, columnKey, named } from "./classify.ts";
import type { RawCatalogue, RawCode, ViewDefinition } from "./raw.ts";
import type { Catalogue, Classified, Relation, ShadowKind } from "./types.ts";

export interface CatalogueParts {
  readonly version: number;
  readonly raw: RawCatalogue;
  /** Of the target: `rulesFor` (policy/masking.ts) gives them. */
  readonly rules: MaskingRules;
  readonly definitions: ReadonlyMap<number, ViewDefinition>;
  /** What was classified before, by `columnKey`: a column that gets another name keeps its class. */
  readonly remembered: ReadonlyMap<string, Classified>;
}

const TEMPORARY = /^pg_temp(_\d+)?$/;

const SHADOWED = { function: "function", operator: "operator" } as const;

export function createCatalogue({
  version,
  raw,
  rules,
  definitions,
  remembered,
}: CatalogueParts): Catalogue & { readonly remember: ReadonlyMap<string, Classified> } {
  const classes = named(raw.relations, rules, remembered);
  const filtered = close(classes, raw, definitions);

  const byOid = new Map(raw.relations.map((relation) => [relation.oid, relation]));
  const remember = new Map<string, Classified>();
  for (const [oid, columns] of classes) {
    // A view may be given another query under its OID; a table's column keeps its values.
    if (byOid.get(oid)?.kind === "v") continue;
    for (const [attnum, classified] of columns) remember.set(columnKey(oid, attnum), classified);
  }
  const byName = new Map<string, Relation[]>();
  const bySchema = new Map<string, Relation[]>();
  for (const relation of raw.relations) {
    append(byName, relation.name, relation);
    append(bySchema, relation.schema, relation);
  }
  const code = new Map<string, RawCode[]>();
  for (const one of raw.code) append(code, one.name, one);
  const drifted = new Set(raw.drifted.map(({ kind, name }) => `${kind} ${name}`));
  const casts = new Map<string, { schema: string }[]>();
  for (const cast of raw.casts) append(casts, cast.target, cast);

  const candidates = (schema: string | undefined, name: string, searchPath: readonly string[]): readonly Relation[] => {
    const found = byName.get(name) ?? [];
    // Another session's temporary tables cannot be told from this one's; all of them are candidates.
    if (schema !== undefined) return found.filter((one) => one.schema === schema || (schema === "pg_temp" && TEMPORARY.test(one.schema)));
    return found.filter((one) => one.schema === "pg_catalog" || searchPath.includes(one.schema) || TEMPORARY.test(one.schema));
  };

  return {
    version,
    remember,
    hasClasses: classes.size > 0,
    relation: (oid) => byOid.get(oid),
    candidates,
    resolve(schema, name, searchPath) {
      const found = candidates(schema, name, searchPath);
      for (const place of ["pg_catalog", ...searchPath]) {
        const here = found.find((one) => one.schema === place);
        if (here !== undefined) return here;
      }
      return found[0];
    },
    relationsIn: (schema) => bySchema.get(schema) ?? [],
    classified: (oid, attnum) => classes.get(oid)?.get(attnum),
    withClasses: () => raw.relations.filter(({ oid }) => classes.has(oid) || (filtered.get(oid) ?? []).length > 0),
    filteredBy: (oid) => filtered.get(oid) ?? [],
    touchesClasses: (oid) => classes.has(oid),
    shadows(kind: ShadowKind, name: string, searchPath: readonly string[]): readonly string[] {
      const isHere = (schema: string): boolean => searchPath.includes(schema);
      // A type by this name may be found first, whatever the casts are.
      if (kind === "cast") {
        const types = (code.get(name) ?? []).filter((one) => one.kind === "type" && isHere(one.schema));
        return unique([...(casts.get(name) ?? []), ...types]);
      }
      // pg_temp is never searched for functions and operators.
      const others = (code.get(name) ?? []).filter((one) => one.kind === SHADOWED[kind] && !one.sealed && isHere(one.schema));
      return drifted.has(`${kind} ${name}`) ? ["pg_catalog", ...unique(others)] : unique(others);
    },
    rowFunctions(name, ofFunctions, searchPath) {
      const found = (code.get(name) ?? []).filter(
        (one) => !one.sealed && (one.takesRow || (ofFunctions && one.takesValue)) && searchPath.includes(one.schema),
      );
      return unique(found);
    },
    seesOnlyArguments(schema, name, searchPath) {
      const found = (code.get(name) ?? []).filter((one) =>
        schema === undefined ? searchPath.includes(one.schema) : one.schema === schema,
      );
      return found.length > 0 && found.every(({ sealed }) => sealed);
    },
  };
}

function append<T>(map: Map<string, T[]>, key: string, value: T): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}

const unique = (found: readonly { readonly schema: string }[]): string[] => [...new Set(found.map(({ schema }) => schema))];
