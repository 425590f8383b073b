/**
 * Our lexer against libpg-query's scanner: the corpus and random text. Where libpg-query differs from the server itself
 * (a string that goes on after a comment), the text is refused, and the last tests say so.
 */
import * as fc from "fast-check";
import createModule, { type PgQueryModule } from "libpg-query/wasm/libpg-query.js";
import { beforeAll, describe, expect, it } from "vitest";
import { loadSqlParser } from "../../../tunnel-agent/protocols/postgres/sql/analyse.ts";
import { tokenize, type TokenKind } from "../../../tunnel-agent/protocols/postgres/sql/lexer.ts";
import { allCases } from "./support.ts";

let scanner: PgQueryModule;
const kinds = new Map<number, TokenKind>();
beforeAll(async () => {
  scanner = await createModule({ print: () => {}, printErr: () => {} });
  for (const [sample, kind] of SAMPLES) kinds.set(scanTokens(sample)?.[0]?.tokenType ?? -1, kind);
});

/** One text of each kind that matters to masking and measuring: the scanner names only some of its tokens. */
const SAMPLES: readonly (readonly [string, TokenKind])[] = [
  ["'a'", "string"],
  ["U&'a'", "string"],
  ["b'0'", "string"],
  ["x'0'", "string"],
  ["1", "number"],
  ["1.5", "number"],
  ["$1", "parameter"],
  ["-- a", "comment"],
  ["/* a */", "comment"],
];

interface ScannedToken {
  readonly start: number;
  readonly end: number;
  readonly tokenType: number;
}

function scanTokens(sql: string): readonly ScannedToken[] | undefined {
  const size = scanner.lengthBytesUTF8(sql) + 1;
  const pointer = scanner._malloc(size);
  scanner.stringToUTF8(sql, pointer, size);
  const result = scanner._wasm_scan(pointer);
  const json = scanner.UTF8ToString(result);
  scanner._wasm_free_string(result);
  scanner._free(pointer);
  return json.startsWith("{") ? (JSON.parse(json) as { tokens: ScannedToken[] }).tokens : undefined;
}

/** The tokens of those kinds; undefined for text that the scanner refuses. */
function scan(sql: string): { kind: TokenKind; text: string }[] | undefined {
  const bytes = new TextEncoder().encode(sql);
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  return scanTokens(sql)?.flatMap(({ start, end, tokenType }) => {
    const kind = kinds.get(tokenType);
    return kind === undefined ? [] : [{ kind, text: decoder.decode(bytes.slice(start, end)) }];
  });
}

const ours = (sql: string): { kind: TokenKind; text: string }[] =>
  tokenize(sql)
    .filter(({ kind }) => ["string", "number", "parameter", "comment"].includes(kind))
    .map(({ kind, start, end }) => ({ kind, text: sql.slice(start, end) }));

const spliced = (sql: string): boolean => tokenize(sql).some(({ kind }) => kind === "spliced-string");

describe("tokens", () => {
  it("are the scanner's, over the corpus", () => {
    for (const { sql } of allCases) {
      if (sql.includes("\0") || spliced(sql)) continue;
      const theirs = scan(sql);
      if (theirs !== undefined) expect({ sql, tokens: ours(sql) }).toEqual({ sql, tokens: theirs });
    }
  });

  it("are the scanner's, over random text", () => {
    const atom = fc.constantFrom(
      ..."' ' ' E' e' \\ \\' -- /* */ $$ $a$ $a ; \" \" U&' U&\" a n' b'0' x' 1 12 .5 1e5 1. 0x1f 1_0 + - @ * / $1 || :: ( ) é uescape not".split(
        " ",
      ),
      " ",
      "\n",
      "\r",
      "\t",
      "''",
      "'\n'",
      "-- c\n",
      "/* c */",
    );
    fc.assert(
      fc.property(fc.array(atom, { maxLength: 16 }), (atoms) => {
        const sql = atoms.join("");
        const theirs = spliced(sql) ? undefined : scan(sql);
        if (theirs !== undefined) expect(ours(sql)).toEqual(theirs);
      }),
      { numRuns: 3000 },
    );
  });

  it("cover any text, in order and without overlaps", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 60 }), (sql) => {
        let before = 0;
        for (const { start, end } of tokenize(sql)) {
          expect(start).toBeGreaterThanOrEqual(before);
          expect(end).toBeGreaterThan(start);
          expect(sql.slice(before, start).trim()).toBe("");
          before = end;
        }
        expect(before).toBeLessThanOrEqual(sql.length);
      }),
    );
  });
});

describe("where libpg-query and the server would read different strings", () => {
  it("a statement behind a string that goes on after a comment is not hidden", async () => {
    const analyse = await loadSqlParser();
    // The server runs two statements; libpg-query sees one DO with three strings.
    const hidden = "DO E'a' -- x\n'b\\' '; DROP TABLE t; --'";
    expect(scan(hidden)?.filter(({ kind }) => kind === "string")).toHaveLength(3);
    expect(tokenize(hidden).filter(({ kind }) => kind === "spliced-string")).toHaveLength(1);
    expect(analyse(hidden)).toMatchObject({ ok: false, error: { reason: "unparsable" } });
  });
});
