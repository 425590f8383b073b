/**
 * Generalising a text that is a date, a number or an address as a whole: `1987-03-05T10:00:00Z` to `1987`, `37` to
 * `30`, `10.1.2.3` to `10.1.2.0/24`. A text of any other form has no general form: null.
 */
import type { MaskStrategy } from "../../policy/types.ts";
import { generaliseNetwork, parseNetwork, printNetwork } from "./address.ts";
import { parseDate, parseOffset, parseTime } from "./calendar.ts";
import { floorTo, parseDecimal, printDecimal } from "./decimal.ts";

export type Generalisation = Extract<MaskStrategy, { kind: "generalise" }>["to"];

const DIGITS_SHOWN = { year: 4, month: 7, day: 10 } as const;

/** Longest text that is looked at: no date or address is longer, and numbers that are have other types. */
const MAX_TEXT = 1024;

function isDateTime(text: string): boolean {
  if (parseDate(text.slice(0, 10)) === null) return false;
  if (text.length === 10) return true;
  const match = /^[T ](\d\d:\d\d:\d\d(?:\.\d{1,6})?)\d*(Z|[+-][\d:]+)?$/.exec(text.slice(10));
  return match !== null && parseTime(match[1] ?? "") !== null && (match[2] === undefined || parseOffset(match[2]) !== null);
}

export function generaliseText(text: string, to: Generalisation): string | null {
  if (text.length > MAX_TEXT) return null;
  if (to === "network") {
    const network = parseNetwork(text);
    return network === null ? null : printNetwork(generaliseNetwork(network), true);
  }
  if (typeof to === "string") return isDateTime(text) ? text.slice(0, DIGITS_SHOWN[to]) : null;
  // Exponents would let a short text become a long one.
  const decimal = /^-?[\d.]+$/.test(text) ? parseDecimal(text) : null;
  const floored = decimal === null ? null : floorTo(decimal, to.step);
  return floored === null ? null : printDecimal(floored);
}
