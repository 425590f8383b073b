/**
 * Words of the masking room: what may be read of one statement, and what happens to each column of one result.
 *
 *     sql/sketch.ts      text → what a statement reads, without a catalogue          (cached with the analysis)
 *     masking/prove.ts   sketch + catalogue → verdict                                (cached by catalogue and policy)
 *     masking/plan.ts    verdict + RowDescription → what to do with each column      (kept with the portal)
 *     masking/rows.ts    plan + DataRow or COPY data → masked bytes                  (touches only what changes)
 */
import type { MaskStrategy } from "../../../../policy/types.ts";
import type { DetectorClass } from "../../../../policy/detectors.ts";
import type { JsonPath } from "../../../../policy/json-path.ts";

/** Where one result column must come from, if the backend agrees. */
export interface ExpectedColumn {
  /** A bare column of this origin; null: an expression over unclassified columns only. */
  readonly origin: { readonly relation: number; readonly attnum: number } | null;
}

/** What may be said of a statement before it is sent. */
export type MaskingVerdict =
  /** No classified column can be in what it reads, writes, filters by or reveals. `columns` null: returns no rows, or nothing is known of them. */
  | { readonly kind: "untouched" }
  /** Fragment B: classified columns appear as bare columns of the one projection and nowhere else. */
  | { readonly kind: "projection"; readonly columns: readonly ExpectedColumn[] }
  /** Something it names is not in the catalogue: load it anew and ask again; if it still is not, refuse. */
  | { readonly kind: "unknown"; readonly what: string }
  /** It touches a classified column in a way that cannot be proven harmless. `hazard`: row of THREATS. */
  | { readonly kind: "unprovable"; readonly hazard: string; readonly sentence: string; readonly classes: readonly string[] };

/** How one result column is masked. */
export interface ColumnMask {
  readonly class: string;
  readonly strategy: MaskStrategy;
  /** For json and jsonb: only the values at these paths; empty: the whole value. */
  readonly paths: readonly JsonPath[];
  /** Base type. */
  readonly typeOid: number;
  /** As the portal will send it: 0 text, 1 binary (PG-46). */
  readonly format: 0 | 1;
}

/** A column that detectors look through, where its type holds text; what they find is masked inside the value. */
export interface ColumnScan {
  /** Base type, and the format as the portal will send it: JSON stays JSON, an array stays an array. */
  readonly typeOid: number;
  readonly format: 0 | 1;
  readonly scan: readonly { readonly detector: DetectorClass; readonly class: string; readonly strategy: MaskStrategy }[];
}

/** One entry a column; null: passes untouched. A plan of nulls only is no plan: rows stream by unread. */
export type ColumnPlan = readonly (ColumnMask | ColumnScan | null)[];

/** Values masked so far, by class. */
export type MaskCounts = Map<string, number>;
