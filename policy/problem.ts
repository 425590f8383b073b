/**
 * Making `Problem`s: where, which rule, and what to write instead. Nothing here judges; the readers and the linter do.
 */
import type { Rule } from "./rules.ts";
import type { Problem } from "./types.ts";

export interface Place {
  readonly line: number;
  readonly column: number;
}

export function problem(severity: Problem["severity"], rule: Rule, file: string, message: string, place?: Place): Problem {
  return place === undefined
    ? { file, severity, rule, message }
    : { file, line: place.line, column: place.column, severity, rule, message };
}

export const failed = (problems: readonly Problem[]): boolean => problems.some((each) => each.severity === "error");

/** Reports go through the files from top to bottom. */
export function byPlace(a: Problem, b: Problem): number {
  return (a.file < b.file ? -1 : a.file > b.file ? 1 : 0) || (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0);
}

/** Place of an offset in UTF-16 units, counting from 1. */
export function placeAt(text: string, offset: number): Place {
  const before = text.slice(0, Math.max(0, offset));
  const newline = before.lastIndexOf("\n");
  return { line: before.split("\n").length, column: before.length - newline };
}

/** Edit distance, bounded: enough for a suggestion. */
function distance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitute = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(substitute, (previous[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1));
    }
    previous = row;
  }
  return previous[b.length] ?? 0;
}

/** The nearest of `known` when it is near enough to be a slip of the pen. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  if (word.length > 64) return undefined;
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(word.length / 3)) + 1;
  for (const candidate of known) {
    const d = distance(word.toLowerCase(), candidate.toLowerCase());
    if (d < bestDistance) [best, bestDistance] = [candidate, d];
  }
  return best;
}

/** ` Did you mean …?`, or the list of what exists when it is short, or nothing. */
export function suggestion(word: string, known: readonly string[]): string {
  const near = nearest(word, known);
  if (near !== undefined) return `: did you mean ${near}?`;
  return known.length > 0 && known.length <= 24 ? `: known here are ${known.join(", ")}` : "";
}
