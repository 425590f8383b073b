/**
 * json and jsonb, whole or by path. jsonb's binary form (jsonb_send) is a version byte, 1, and the text; json's is the text.
 *
 * A masked value is a JSON string in most cases: JSON has no types that a client could not tell. JSON's null stays null.
 */
import { unreachable } from "../../../../../protocol/result.ts";
import { floorTo, parseDecimal, printDecimal } from "../../../../masking/decimal.ts";
import { generaliseText } from "../../../../masking/generalise.ts";
import { decodeJsonString, rewriteJson, type JsonKind } from "../../../../masking/json.ts";
import { textToken } from "../../../../masking/keyed-hash.ts";
import { marker, partialText } from "../../../../masking/strategies.ts";
import { constant, each, NULL, type Family, type MaskContext } from "./mask.ts";
import { decodeText } from "./text.ts";

const JSONB_VERSION = 1;

const ZERO: Readonly<Record<JsonKind, string>> = { string: '""', number: "0", boolean: "false", null: "null", object: "{}", array: "[]" };

/** Floors of numbers are written out: a lexeme such as 1e400000 must not become a long text. */
const MAX_NUMBER = 64;

function generalised(kind: JsonKind, raw: string, to: Parameters<typeof generaliseText>[1]): string | null {
  if (kind === "string") {
    const general = generaliseText(decodeJsonString(raw), to);
    return general === null ? null : JSON.stringify(general);
  }
  if (kind !== "number" || typeof to === "string" || raw.length > MAX_NUMBER || /[eE][+-]?\d{3}/.test(raw)) return null;
  const decimal = parseDecimal(raw);
  const floored = decimal === null ? null : floorTo(decimal, to.step);
  return floored === null ? null : printDecimal(floored);
}

/** What replaces one value: JSON text. */
function replacement({ class: name, strategy, hash }: MaskContext): (kind: JsonKind, raw: string) => string {
  const redacted = JSON.stringify(marker(name));
  return (kind, raw) => {
    if (kind === "null") return raw;
    const written = kind === "string" ? decodeJsonString : (text: string) => text;
    switch (strategy.kind) {
      case "redact":
        return redacted;
      case "null":
        return "null";
      case "zero":
        return ZERO[kind];
      case "hash":
        return JSON.stringify(textToken(hash, written(raw)));
      case "partial":
        return kind === "string" || kind === "number" ? JSON.stringify(partialText(written(raw), strategy.keep)) : redacted;
      case "generalise":
        return generalised(kind, raw, strategy.to) ?? redacted;
      default:
        return unreachable(strategy);
    }
  };
}

/** The text of a value; null when it has not the type's form. `version`: whether a version byte is before it. */
export function readJson(value: Buffer, version: boolean): string | null {
  if (!version) return decodeText(value);
  return value[0] === JSONB_VERSION ? decodeText(value.subarray(1)) : null;
}

export const writeJson = (text: string, version: boolean): Buffer => Buffer.from(version ? `\u0001${text}` : text, "utf8");

const family =
  (binary: boolean): Family =>
  (context) => {
    const { strategy, paths, format } = context;
    const version = binary && format === 1;
    if (paths.length === 0 && strategy.kind === "null") return NULL;
    if (paths.length === 0 && strategy.kind === "redact") return constant(writeJson(JSON.stringify(marker(context.class)), version));
    const rewriting = { paths, replace: replacement(context) };
    return each((value) => {
      const text = readJson(value, version);
      const masked = text === null ? null : rewriteJson(text, rewriting);
      if (masked === null) return null;
      return masked === text ? unchanged(value, paths.length === 0) : writeJson(masked, version);
    });
  };

/** Nothing is at the paths: the value stays. A value that is masked whole and looks as before is still a masked one. */
const unchanged = (value: Buffer, whole: boolean): Buffer => (whole ? Buffer.from(value) : value);

export const json = family(false);
export const jsonb = family(true);
