/**
 * `mask:` of a data class → `MaskStrategy`. One word where that says all, a mapping where there is more to say:
 *
 *     mask: redact | null | zero | hash
 *     mask: { partial: domain }        mask: { partial: { first: 2, last: 4 } }
 *     mask: { generalise: year }       mask: { generalise: { step: 1000 } }
 *
 * What each does to which type of value is docs/masking.md.
 */
import { err, ok, type Result } from "../../protocol/result.ts";
import { nearest, suggestion } from "../problem.ts";
import type { MaskStrategy } from "../types.ts";

export interface MaskFault {
  /** Inside `mask:`. */
  readonly path: readonly PropertyKey[];
  readonly message: string;
}

const WORDS = ["redact", "null", "zero", "hash"] as const;
const KINDS = [...WORDS, "partial", "generalise"];
const UNITS = ["year", "month", "day", "network"] as const;
/** Characters that a partial mask may keep at one end: more would be the value. */
const MAX_KEPT = 16;

const PARTIAL = "write mask: {partial: {last: 4}}, with first:, last: or both, or mask: {partial: domain} for e-mail addresses";
const GENERALISE = `write mask: {generalise: year}, or month, day or network, or mask: {generalise: {step: 1000}} for numbers`;

const isOneOf = <T extends string>(words: readonly T[], word: unknown): word is T => (words as readonly unknown[]).includes(word);
const fault = (message: string, ...path: PropertyKey[]): Result<never, MaskFault> => err({ path, message });

const isMapping = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** A whole number from `min` to `max`, of the failsafe schema's text; undefined for anything else. */
function whole(value: unknown, min: number, max: number): number | undefined {
  if (typeof value !== "string" || !/^[0-9]{1,15}$/.test(value)) return undefined;
  const number = Number(value);
  return number >= min && number <= max ? number : undefined;
}

function readPartial(value: unknown): Result<MaskStrategy, MaskFault> {
  if (value === "domain") return ok({ kind: "partial", keep: "domain" });
  if (!isMapping(value)) return fault(PARTIAL, "partial");
  const odd = Object.keys(value).find((key) => key !== "first" && key !== "last");
  if (odd !== undefined) return fault(`unknown key ${JSON.stringify(odd)}: ${PARTIAL}`, "partial", odd);
  const kept = { first: 0, last: 0 };
  for (const key of ["first", "last"] as const) {
    if (!Object.hasOwn(value, key)) continue;
    const count = whole(value[key], 0, MAX_KEPT);
    if (count === undefined) return fault(`write how many characters stay, a whole number from 0 to ${MAX_KEPT}`, "partial", key);
    kept[key] = count;
  }
  if (kept.first + kept.last === 0) return fault(`nothing would stay: ${PARTIAL}; or mask: redact`, "partial");
  return ok({ kind: "partial", keep: kept });
}

function readGeneralise(value: unknown): Result<MaskStrategy, MaskFault> {
  if (isOneOf(UNITS, value)) return ok({ kind: "generalise", to: value });
  if (typeof value === "string") return fault(`unknown unit ${JSON.stringify(value)}${suggestion(value, UNITS)}`, "generalise");
  if (!isMapping(value)) return fault(GENERALISE, "generalise");
  const odd = Object.keys(value).find((key) => key !== "step");
  if (odd !== undefined) return fault(`unknown key ${JSON.stringify(odd)}: ${GENERALISE}`, "generalise", odd);
  const step = whole(value["step"], 2, 1_000_000_000_000);
  if (step === undefined)
    return fault("write step: with a whole number of 2 or more: numbers go down to a multiple of it", "generalise", "step");
  return ok({ kind: "generalise", to: { step } });
}

/** `undefined`: redact. */
export function readMask(value: unknown): Result<MaskStrategy, MaskFault> {
  if (value === undefined) return ok({ kind: "redact" });
  if (isOneOf(WORDS, value)) return ok({ kind: value });
  if (typeof value === "string" && value !== "") {
    const meant = nearest(value, KINDS);
    if (meant === "partial") return fault(PARTIAL);
    if (meant === "generalise") return fault(GENERALISE);
    return fault(`unknown mask ${JSON.stringify(value)}${suggestion(value, KINDS)}`);
  }
  const [key, ...more] = isMapping(value) ? Object.keys(value) : [];
  if (!isMapping(value) || key === undefined || more.length > 0) {
    return fault(`write one mask: ${WORDS.join(", ")}, {partial: {last: 4}}, {partial: domain} or {generalise: year}`);
  }
  if (key === "partial") return readPartial(value[key]);
  if (key === "generalise") return readGeneralise(value[key]);
  if (isOneOf(WORDS, key)) return fault(`${key} takes nothing: write mask: ${key}`);
  return fault(`unknown mask ${JSON.stringify(key)}${suggestion(key, KINDS)}`, key);
}
