/** A recorded result as `sallyport sessions replay` prints it. */
import { expect, test } from "vitest";
import type { RecordingEvent } from "../../../protocol/recording/event.ts";
import { resultTable } from "../../../runner/result-table.ts";

type ResultEvent = Extract<RecordingEvent, { type: "result" }>;

function result(rows: ResultEvent["rows"], more: Partial<ResultEvent> = {}): ResultEvent {
  const columns = [
    { name: "id", type: "integer" },
    { name: "email", type: "text", class: "email" },
  ];
  const base = { v: 1, session: "ses_x", seq: 0, at: 0, prev: "0".repeat(64), hash: "0".repeat(64) } as const;
  return { ...base, type: "result", command: 7, columns, rows, truncated: false, ...more };
}

test("names, classes, values, NULL and sizes stand in columns", () => {
  expect(
    resultTable(
      result([
        ["1", "[email]"],
        [null, { bytes: 9 }],
      ]),
    ),
  ).toBe(["   #7: 2 row(s) recorded", "   │ id   │ email [email]", "   │ 1    │ [email]", "   │ NULL │ (9 bytes)"].join("\n"));
});

test("a result that goes on says where, which one, and that something is missing", () => {
  const text = resultTable(
    result(
      Array.from({ length: 25 }, (_, i) => [String(i), "x"]),
      { result: 1, from: 1000, truncated: true },
    ),
  );
  expect(text).toContain("#7, result 2: rows from 1001, 25 row(s) recorded");
  expect(text).toContain("… 5 more recorded");
  expect(text).toContain("… what follows is not recorded");
});

test("GW-22 a value with line breaks and control characters stays in its cell, a long one is cut", () => {
  const text = resultTable(result([["1", `a\n2026 ── GAP\u001b[2J\u009b${"x".repeat(100)}`]]));
  expect(text.split("\n")).toHaveLength(3);
  expect(text).not.toMatch(/[\u001b\u009b]/);
  expect(text).toContain("…");
});
