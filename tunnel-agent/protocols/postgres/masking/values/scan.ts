/**
 * Detectors inside a value: what they find is masked by its class's strategy, the rest of the value stays. Best effort, and
 * never a reason to let anything through (PG-33).
 */
import { findSensitive } from "../../../../masking/detectors.ts";
import { maskedText } from "../../../../masking/strategies.ts";
import { createKeyedHash } from "../keyed.ts";
import type { ColumnScan, MaskCounts } from "../types.ts";
import type { MaskOf } from "./mask.ts";
import { decodeText } from "./text.ts";

/** Null when the column's type holds no text that detectors could read. */
export function createScan(column: ColumnScan, key: Uint8Array, counts: MaskCounts): MaskOf | null {
  const rules = new Map(
    column.scan.map(({ detector, class: name, strategy }) => [detector, { name, strategy, hash: createKeyedHash(key, name) }]),
  );
  if (rules.size === 0) return null;
  const wanted = new Set(column.scan.map(({ detector }) => detector));

  const maskInside = (text: string): string => {
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

  return (value) => {
    const text = decodeText(value);
    if (text === null) return value;
    const masked = maskInside(text);
    return masked === text ? value : Buffer.from(masked, "utf8");
  };
}
