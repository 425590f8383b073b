/**
 * Detectors inside a value: what they find is masked by its class's strategy, the rest of the value stays. Best effort, and
 * never a reason to let anything through (PG-33).
 *
 * Guarantees: a value that was masked still has its type's form: JSON is searched string by string and number by number,
 * arrays element by element. A type that is not known here is searched as text; in binary, where masking inside would break
 * its form, it becomes NULL when something is found.
 */
import type { MaskStrategy } from "../../../../../policy/types.ts";
import { findSensitive } from "../../../../masking/detectors.ts";
import { decodeJsonString, rewriteJsonScalars } from "../../../../masking/json.ts";
import type { KeyedHash } from "../../../../masking/keyed-hash.ts";
import { maskedText } from "../../../../masking/strategies.ts";
import { createKeyedHash } from "../keyed.ts";
import type { ColumnScan, MaskCounts } from "../types.ts";
import { elementwise } from "./arrays.ts";
import { readJson, writeJson } from "./json.ts";
import { bounded, type MaskOf } from "./mask.ts";
import { decodeText } from "./text.ts";
import { holdsNoText, textHolder, type TextHolder } from "./types.ts";

interface Rule {
  readonly name: string;
  readonly strategy: MaskStrategy;
  readonly hash: KeyedHash;
}

/** A text with what is found in it masked; the text itself where that is nothing. */
type MaskInside = (text: string) => string;

function createMaskInside(column: ColumnScan, key: Uint8Array, counts: MaskCounts): MaskInside {
  const rules = new Map<string, Rule>();
  for (const { detector, class: name, strategy } of column.scan) {
    // Of two classes with one detector the first has it, as with columns.
    if (!rules.has(detector)) rules.set(detector, { name, strategy, hash: createKeyedHash(key, name) });
  }
  const wanted = new Set(column.scan.map(({ detector }) => detector));
  return (text) => {
    let out = "";
    let before = 0;
    for (const finding of findSensitive(text, wanted)) {
      const rule = rules.get(finding.class);
      if (rule === undefined) continue;
      const masked = maskedText(text.slice(finding.start, finding.end), rule.name, rule.strategy, rule.hash);
      out += text.slice(before, finding.start) + (masked ?? "");
      before = finding.end;
      counts.set(rule.name, (counts.get(rule.name) ?? 0) + 1);
    }
    return before === 0 ? text : out + text.slice(before);
  };
}

function inJson(mask: MaskInside, version: boolean): MaskOf {
  const replace = (kind: "string" | "number", raw: string): string | undefined => {
    const text = kind === "string" ? decodeJsonString(raw) : raw;
    const masked = mask(text);
    return masked === text ? undefined : JSON.stringify(masked);
  };
  return (value) => {
    const text = readJson(value, version);
    const masked = text === null ? null : rewriteJsonScalars(text, replace);
    return masked === null ? null : masked === text ? value : writeJson(masked, version);
  };
}

/** In a database without an encoding a text may be no UTF-8: it is searched byte by byte, and kept whole or not at all. */
function inText(mask: MaskInside): MaskOf {
  return (value) => {
    const text = decodeText(value);
    if (text === null) return unlessFound(mask)(value);
    const masked = mask(text);
    return masked === text ? value : Buffer.from(masked, "utf8");
  };
}

const unlessFound =
  (mask: MaskInside): MaskOf =>
  (value) => {
    const text = value.toString("latin1");
    return mask(text) === text ? value : null;
  };

const inside = ({ holds }: TextHolder, mask: MaskInside, format: 0 | 1): MaskOf =>
  holds === "text" ? inText(mask) : inJson(mask, holds === "jsonb" && format === 1);

/** Null when the column's type holds no text. */
export function createScan(column: ColumnScan, key: Uint8Array, counts: MaskCounts): MaskOf | null {
  const { typeOid, format } = column;
  if (column.scan.length === 0 || holdsNoText(typeOid)) return null;
  const mask = createMaskInside(column, key, counts);
  const holder = textHolder(typeOid);
  if (holder === undefined) return bounded(format === 0 ? inText(mask) : unlessFound(mask));
  const value = inside(holder, mask, format);
  return bounded(holder.elementOid === undefined ? value : elementwise(holder.elementOid, format, value));
}
