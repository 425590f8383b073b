/**
 * The masker of one column: by its type, its format and its class's strategy. docs/masking.md has the whole table.
 */
import type { ColumnMask } from "../types.ts";
import { createKeyedHash } from "../keyed.ts";
import { NULL, type ValueMask } from "./mask.ts";
import { FAMILIES } from "./types.ts";

export type { MaskOf, ValueMask } from "./mask.ts";

export function createValueMask(mask: ColumnMask, key: Uint8Array): ValueMask {
  const family = FAMILIES.get(mask.typeOid);
  if (family === undefined) return NULL;
  const { class: name, strategy, paths, format } = mask;
  return family({ class: name, strategy, paths, format, hash: createKeyedHash(key, name) });
}
