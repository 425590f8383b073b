/** Words of this room: what is known of a column when its masker is made, and what a masker is. */
import type { JsonPath } from "../../../../../policy/json-path.ts";
import type { MaskStrategy } from "../../../../../policy/types.ts";
import { MAX_MASKED_VALUE } from "../../../../../protocol/limits.ts";
import type { KeyedHash } from "../../../../masking/keyed-hash.ts";

/** PostgreSQL's format codes: 0 text, 1 binary. */
export type Format = 0 | 1;

export interface MaskContext {
  readonly class: string;
  readonly strategy: MaskStrategy;
  readonly paths: readonly JsonPath[];
  readonly format: Format;
  readonly hash: KeyedHash;
}

/**
 * Makes of a value's bytes, in the column's format, the masked ones; null is NULL. Never throws. What does not have the
 * form of the type becomes NULL. Returns the very buffer that it was given where nothing of it is to be masked.
 */
export type MaskOf = (value: Buffer) => Buffer | null;

/** The same for every value, so that no value is looked at; or made from each. */
export type ValueMask = { readonly kind: "constant"; readonly bytes: Buffer | null } | { readonly kind: "value"; readonly of: MaskOf };

export const NULL: ValueMask = { kind: "constant", bytes: null };
export const constant = (bytes: Buffer | string): ValueMask => ({ kind: "constant", bytes: Buffer.from(bytes) });
export const each = (of: MaskOf): ValueMask => ({ kind: "value", of });

/** What is too long to be read in one go becomes NULL. */
export const bounded =
  (of: MaskOf): MaskOf =>
  (value) =>
    value.length > MAX_MASKED_VALUE ? null : of(value);

/** What each strategy makes of a family of types. */
export type Family = (context: MaskContext) => ValueMask;
