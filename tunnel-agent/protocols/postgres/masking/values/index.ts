/**
 * The masker of one column: by its type, its format and its class's strategy. docs/masking.md has the whole table.
 */
import type { ColumnMask } from "../types.ts";
import { createKeyedHash } from "../keyed.ts";
import { bounded, each, NULL, type MaskOf, type ValueMask } from "./mask.ts";
import { FAMILIES } from "./types.ts";

export type { MaskOf, ValueMask } from "./mask.ts";

/** Values that are remembered at once, and the longest of them, bytes. */
const REMEMBERED = 2048;
const MAX_REMEMBERED = 64;

/** Columns that are hashed hold the same values again and again: keys, e-mail addresses of orders. */
function remembering(of: MaskOf): MaskOf {
  const known = new Map<string, Buffer | null>();
  return (value) => {
    if (value.length > MAX_REMEMBERED) return of(value);
    const text = value.toString("latin1");
    const before = known.get(text);
    if (before !== undefined) return before;
    const masked = of(value);
    if (known.size >= REMEMBERED) known.clear();
    known.set(text, masked);
    return masked;
  };
}

export function createValueMask(mask: ColumnMask, key: Uint8Array): ValueMask {
  const family = FAMILIES.get(mask.typeOid);
  if (family === undefined) return NULL;
  const { class: name, strategy, paths, format } = mask;
  const made = family({ class: name, strategy, paths, format, hash: createKeyedHash(key, name) });
  if (made.kind === "constant") return made;
  return each(bounded(strategy.kind === "hash" && paths.length === 0 ? remembering(made.of) : made.of));
}
