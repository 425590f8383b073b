/**
 * What each mask makes of a text, whatever protocol it came by. Types with a form of their own are built on these in the
 * rooms of their protocols.
 *
 * Guarantees: redact, null and zero do not depend on the value, nor on its length; hash shows 128 bits of an HMAC;
 * partial shows what it was told to keep, and never more than two characters for each one that it hides; a text that
 * does not have the form which partial or generalise needs is redacted. All characters are code points.
 * Does not: hide whether a value is NULL, or which values are equal under hash.
 */
import type { MaskStrategy } from "../../policy/types.ts";
import { unreachable } from "../../protocol/result.ts";
import { generaliseText } from "./generalise.ts";
import { textToken, type KeyedHash } from "./keyed-hash.ts";

/** Stands for what partial hides, however long that was. */
export const HIDDEN = "****";

/** What replaces a value of this class. */
export const marker = (name: string): string => `[${name}]`;

type Keep = Extract<MaskStrategy, { kind: "partial" }>["keep"];

const DOMAIN = /^(?=.{1,253}$)[\p{L}\p{N}_](?:[\p{L}\p{N}_.-]*[\p{L}\p{N}_])?\.[\p{L}][\p{L}\p{N}-]*$/u;

/**
 * `****@example.com` of an address; `****1111` of a number whose last four are kept. Where less than half as many
 * characters would be hidden as are shown, or there is no domain of the form of one, all is hidden.
 */
export function partialText(text: string, keep: Keep): string {
  if (keep === "domain") {
    const at = text.lastIndexOf("@");
    const domain = text.slice(at + 1);
    return at > 0 && DOMAIN.test(domain) ? `${HIDDEN}@${domain}` : HIDDEN;
  }
  const { first, last } = keep;
  const shown = first + last;
  if (!Number.isSafeInteger(first) || !Number.isSafeInteger(last) || first < 0 || last < 0) return HIDDEN;
  // Code units are at least as many as code points: what is too short in them needs no counting.
  if (text.length < shown + Math.max(1, shown / 2)) return HIDDEN;
  const characters = countCodePoints(text);
  if (characters - shown < Math.max(1, shown / 2)) return HIDDEN;
  return text.slice(0, forward(text, first)) + HIDDEN + text.slice(backward(text, last));
}

function countCodePoints(text: string): number {
  let count = 0;
  for (let at = 0; at < text.length; at += (text.codePointAt(at) ?? 0) > 0xffff ? 2 : 1) count++;
  return count;
}

/** The index after so many code points. */
function forward(text: string, points: number): number {
  let at = 0;
  for (let i = 0; i < points; i++) at += (text.codePointAt(at) ?? 0) > 0xffff ? 2 : 1;
  return at;
}

/** The index before the last so many code points. */
function backward(text: string, points: number): number {
  let at = text.length;
  for (let i = 0; i < points; i++) at -= at >= 2 && (text.codePointAt(at - 2) ?? 0) > 0xffff ? 2 : 1;
  return at;
}

/** A text as this strategy shows it; null where it is nothing at all. */
export function maskedText(text: string, name: string, strategy: MaskStrategy, hash: KeyedHash): string | null {
  switch (strategy.kind) {
    case "redact":
      return marker(name);
    case "partial":
      return partialText(text, strategy.keep);
    case "hash":
      return textToken(hash, text);
    case "null":
      return null;
    case "zero":
      return "";
    case "generalise":
      return generaliseText(text, strategy.to) ?? marker(name);
    default:
      return unreachable(strategy);
  }
}
