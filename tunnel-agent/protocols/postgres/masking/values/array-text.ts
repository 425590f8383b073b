/**
 * Arrays in text (manual section 8.15.6): optional dimensions with lower bounds, braces, elements that are quoted where
 * they must be. Structure stays as it is, elements are replaced.
 */

/** MAXDIM of utils/array.h. */
const MAX_DIMENSIONS = 6;
const BOUNDS = /^(?:\[-?\d{1,10}:-?\d{1,10}\]){1,6}=/;
/** What array_out quotes; its spaces are ASCII's. */
const SPECIAL = /["\\{}, \t\n\v\f\r]/;

function quoted(text: string): string {
  if (text !== "" && !SPECIAL.test(text) && text.toUpperCase() !== "NULL") return text;
  return `"${text.replace(/["\\]/g, "\\$&")}"`;
}

/** Null when it has not the form that array_out gives. `replace`: null is NULL; NULLs are not shown to it. */
export function rewriteArrayText(text: string, replace: (element: string) => string | null): string | null {
  const bounds = BOUNDS.exec(text)?.[0] ?? "";
  let at = bounds.length;
  let out = bounds;
  let depth = 0;
  /** Whether an element or an inner array may come next, or has just ended. */
  let expected: "item" | "first" | "end" = "item";
  while (at < text.length) {
    const character = text[at];
    if (character === "{") {
      if (expected === "end" || depth >= MAX_DIMENSIONS || (depth === 0 && at !== bounds.length)) return null;
      depth++;
      expected = "first";
      out += character;
      at++;
    } else if (character === "}") {
      if (expected === "item" || depth === 0) return null;
      depth--;
      expected = "end";
      out += character;
      at++;
      if (depth === 0) return at === text.length ? out : null;
    } else if (character === ",") {
      if (expected !== "end") return null;
      expected = "item";
      out += character;
      at++;
    } else {
      if (expected === "end" || depth === 0) return null;
      const element = readElement(text, at);
      if (element === null) return null;
      const replaced = element.value === null ? null : replace(element.value);
      out += replaced === null ? "NULL" : quoted(replaced);
      at = element.end;
      expected = "end";
    }
  }
  return null;
}

interface Element {
  /** Null is NULL. */
  readonly value: string | null;
  readonly end: number;
}

function readElement(text: string, start: number): Element | null {
  if (text[start] !== '"') {
    let end = start;
    while (end < text.length && !SPECIAL.test(text[end] ?? "")) end++;
    if (end === start) return null;
    const value = text.slice(start, end);
    return { value: value === "NULL" ? null : value, end };
  }
  let value = "";
  let from = start + 1;
  for (let at = from; at < text.length; at++) {
    const character = text[at];
    if (character === "\\") {
      value += text.slice(from, at);
      from = at + 1;
      at++;
    } else if (character === '"') {
      return { value: value + text.slice(from, at), end: at + 1 };
    }
  }
  return null;
}
