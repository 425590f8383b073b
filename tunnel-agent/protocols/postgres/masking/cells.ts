/** A column plan made ready: what is done with each cell of a row, worked out once for all rows. */
import type { ColumnPlan, MaskCounts } from "./types.ts";
import { createScan } from "./values/scan.ts";
import { createValueMask } from "./values/index.ts";
import type { Format, ValueMask } from "./values/mask.ts";

export interface CellOptions {
  /** The site's masking key. */
  readonly key: Uint8Array;
  /** Added to as values are masked, by class. */
  readonly counts: MaskCounts;
}

export interface Cell {
  readonly column: number;
  /** Whom a masked value counts for; empty for a scan, whose findings count themselves. */
  readonly class: string;
  readonly mask: ValueMask;
}

/** One entry a column; `undefined`: it passes. `format`: instead of the columns' own, where rows have one for all. */
export function compilePlan(plan: ColumnPlan, { key, counts }: CellOptions, format?: Format): readonly (Cell | undefined)[] {
  return plan.map((entry, column): Cell | undefined => {
    if (entry === null) return undefined;
    const written = format === undefined ? entry : { ...entry, format };
    if ("scan" in written) {
      const of = createScan(written, key, counts);
      return of === null ? undefined : { column, class: "", mask: { kind: "value", of } };
    }
    return { column, class: written.class, mask: createValueMask(written, key) };
  });
}

export function count(counts: MaskCounts, { class: name }: Cell): void {
  if (name !== "") counts.set(name, (counts.get(name) ?? 0) + 1);
}
