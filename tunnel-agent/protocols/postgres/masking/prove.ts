/**
 * May this statement's output be masked, and does it need to be? From its sketch, the catalogue and the schemas that
 * unqualified names may mean (docs/limits.md, "Masking"; THREATS, "what is provable").
 *
 * Guarantees: `untouched` means that nothing the statement returns or writes depends on a classified value, but for what
 * the threat model leaves open (numbers of rows, physical order, time, an existing key refused); `projection` means that
 * every output is a bare column of the origin given, or was computed without classified columns. Everything else is
 * `unknown` or `unprovable`. It is half of a proof: the other half is the server's own RowDescription of the very portal.
 */
import { unreachable } from "../../../../protocol/result.ts";
import type { Catalogue, Relation } from "../catalogue/types.ts";
import { printed, Lineage, type Outputs, type Relations, type Touch, classesOf } from "./lineage.ts";
import { definitionTouches } from "./definitions.ts";
import { opaqueCode } from "./opaque.ts";
import type { QualifiedName } from "../sql/names.ts";
import type { Query, Sketch } from "../sql/sketch/types.ts";
import type { Statement } from "../sql/types.ts";
import type { ExpectedColumn, MaskingVerdict } from "./types.ts";

export interface ProveOptions {
  /**
   * The catalogue was loaded after this statement came. What it still lacks was made in this session's own open
   * transaction, out of what was proven untouched, or is not there: it may be written and defined, but not read.
   */
  readonly fresh?: boolean;
}

const UNTOUCHED: MaskingVerdict = { kind: "untouched" };

/** The server's limit is 1,664 columns; a deeper nesting than the analysis admits does not come here. */
export function prove(
  statement: Pick<Statement, "sketch" | "effects" | "builtins" | "fields">,
  catalogue: Catalogue,
  searchPath: readonly string[],
  options: ProveOptions = {},
): MaskingVerdict {
  if (!catalogue.hasClasses) return UNTOUCHED;
  const code = opaqueCode(statement, catalogue, searchPath);
  if (code !== undefined) return unprovable("PG-36", `${code} may read classified columns where the gateway cannot see it`, []);
  const prover = new Prover(catalogue, searchPath, options.fresh === true);
  return prover.sketch(statement.sketch);
}

function unprovable(hazard: string, sentence: string, classes: readonly string[]): MaskingVerdict {
  return { kind: "unprovable", hazard, sentence, classes: [...new Set(classes)] };
}

class Prover implements Relations {
  readonly #catalogue: Catalogue;
  readonly #searchPath: readonly string[];
  readonly #fresh: boolean;

  constructor(catalogue: Catalogue, searchPath: readonly string[], fresh: boolean) {
    this.#catalogue = catalogue;
    this.#searchPath = searchPath;
    this.#fresh = fresh;
  }

  candidates({ schema, name }: QualifiedName): readonly Relation[] {
    return this.#catalogue.candidates(schema, name, this.#searchPath);
  }

  classified(oid: number, attnum: number): ReturnType<Catalogue["classified"]> {
    return this.#catalogue.classified(oid, attnum);
  }

  filteredBy(oid: number): readonly string[] {
    return this.#catalogue.filteredBy(oid);
  }

  sketch(sketch: Sketch): MaskingVerdict {
    switch (sketch.kind) {
      case "plain":
        return UNTOUCHED;
      case "query":
      case "copy-query":
        return this.#query(sketch.query);
      case "copy-table":
        return this.#copyTable(sketch);
      case "explain":
        return this.#explain(sketch);
      case "copies":
        return this.#copies(sketch.what, sketch.query);
      case "definition": {
        const lineage = new Lineage(this, this.#fresh);
        definitionTouches(sketch.definition, lineage, this.#catalogue, this.#searchPath, this.#fresh);
        return this.#failure(lineage) ?? UNTOUCHED;
      }
      case "several":
        return this.#several(sketch.parts);
      case "opaque":
        return unprovable("PG-37", sketch.sentence, []);
      default:
        return unreachable(sketch);
    }
  }

  #query(query: Query): MaskingVerdict {
    const lineage = new Lineage(this, this.#fresh);
    const outputs = lineage.top(query);
    return this.#failure(lineage) ?? projection(outputs);
  }

  #failure({ unknown, touches }: Lineage): MaskingVerdict | undefined {
    const [missing] = unknown;
    if (missing !== undefined) return { kind: "unknown", what: missing };
    const [first] = touches;
    return first === undefined
      ? undefined
      : unprovable(
          first.hazard,
          sentenceOf(first),
          touches.flatMap(({ classes }) => classes),
        );
  }

  /** COPY t TO STDOUT sends its columns in their order, without generated ones; COPY t FROM STDIN sends nothing. */
  #copyTable({ relation, columns, from, where }: Sketch & { kind: "copy-table" }): MaskingVerdict {
    const found = this.candidates(relation);
    const [only, another] = found;
    if (from) {
      if (where.mentions.length + where.subqueries.length === 0) return UNTOUCHED;
      const lineage = new Lineage(this, this.#fresh);
      lineage.within(relation, [], where, "PG-34");
      return this.#failure(lineage) ?? UNTOUCHED;
    }
    if (only === undefined) return { kind: "unknown", what: `the relation ${printed(relation)}` };
    if (another !== undefined) return ambiguous(relation, found, this.#catalogue);
    const attributes = [...only.attributes.values()];
    const chosen =
      columns === null
        ? attributes.filter(({ generated }) => !generated)
        : columns.map((name) => attributes.find((attribute) => attribute.name === name));
    const outputs: Outputs["columns"][number][] = [];
    for (const attribute of chosen) {
      if (attribute === undefined) return { kind: "unknown", what: `a column of ${printed(relation)}` };
      const origin = { relation: only.oid, attnum: attribute.attnum };
      outputs.push({ name: attribute.name, taint: this.classified(only.oid, attribute.attnum), origin });
    }
    return projection({ columns: outputs, open: false });
  }

  /**
   * A plan prints the average width of what each node returns, and SERIALIZE counts the very bytes: of a table that was made
   * small before, that is the length of a value.
   */
  #explain({ inner, measures }: Sketch & { kind: "explain" }): MaskingVerdict {
    const verdict = this.sketch(inner);
    if (verdict.kind !== "projection") return verdict;
    const what = measures ? "EXPLAIN (SERIALIZE) counts the bytes" : "EXPLAIN prints the average width";
    return unprovable("PG-39", `${what} of classified columns; leave them out of what is explained`, []);
  }

  #copies(what: string, query: Query): MaskingVerdict {
    const verdict = this.#query(query);
    if (verdict.kind !== "projection") return verdict;
    const classes = verdict.columns.flatMap(({ origin }) => {
      const taint = origin === null ? undefined : this.classified(origin.relation, origin.attnum);
      return taint === undefined ? [] : classesOf(taint);
    });
    return unprovable("PG-29", `${what} puts classified values where the rules for masking do not look`, classes);
  }

  #several(parts: readonly Sketch[]): MaskingVerdict {
    for (const part of parts) {
      const verdict = this.sketch(part);
      if (verdict.kind !== "untouched") return verdict;
    }
    return UNTOUCHED;
  }
}

const sentenceOf = ({ sentence }: Touch): string => `the statement ${sentence}`;

function ambiguous(relation: QualifiedName, found: readonly Relation[], catalogue: Catalogue): MaskingVerdict {
  if (!found.some(({ oid }) => catalogue.touchesClasses(oid))) return UNTOUCHED;
  return unprovable("PG-17", `${printed(relation)} may be one of several tables; write its schema`, []);
}

/** Outputs without a touch: none classified, or all of them in fragment B. */
function projection({ columns, open }: Outputs): MaskingVerdict {
  const tainted = columns.filter(({ taint }) => taint !== undefined);
  const [first] = tainted;
  if (first === undefined) return UNTOUCHED;
  const classes = tainted.flatMap(({ taint }) => (taint === undefined ? [] : classesOf(taint)));
  const computed = tainted.find(({ taint }) => taint?.kind === "derived");
  if (computed !== undefined) return unprovable("PG-31", `the column ${computed.name} is computed from classified ones`, classes);
  if (tainted.some(({ origin }) => origin === null))
    return unprovable("PG-17", `${first.name} may be a column of several tables; write its schema`, classes);
  if (open) return unprovable("PG-31", "it is not known which columns stand beside classified ones; write their names", classes);
  return { kind: "projection", columns: columns.map(({ origin }): ExpectedColumn => ({ origin })) };
}
