/**
 * Ranges and multiranges: masked bounds would not keep their order, so only zero stays in kind: the empty one. Binary
 * forms: range_send begins with a byte of flags, 1 for an empty range; multirange_send with Int32 number of ranges.
 */
import { constant, NULL, type Family } from "./mask.ts";

export const range: Family = ({ strategy, format }) => (strategy.kind === "zero" ? constant(format === 0 ? "empty" : Buffer.of(1)) : NULL);

export const multirange: Family = ({ strategy, format }) =>
  strategy.kind === "zero" ? constant(format === 0 ? "{}" : Buffer.alloc(4)) : NULL;
