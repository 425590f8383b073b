/**
 * Every case of the corpus, exactly; and again with its white space, comments and keywords' case changed.
 */
import { beforeAll, describe, expect, it } from "vitest";
import { loadSqlParser } from "../../../tunnel-agent/protocols/postgres/sql/analyse.ts";
import { tokenize } from "../../../tunnel-agent/protocols/postgres/sql/lexer.ts";
import type { AnalyseSql } from "../../../tunnel-agent/protocols/postgres/sql/types.ts";
import { allCases, corpus, written } from "./support.ts";

let analyse: AnalyseSql;
beforeAll(async () => {
  analyse = await loadSqlParser();
});

describe.each(corpus)("$name ($hazard)", ({ cases }) => {
  it.each(cases)("$sql", ({ sql, expected, serverMajor }) => {
    expect(written(analyse(sql, serverMajor))).toEqual(expected);
  });
});

/** Tokens with other things between them. Continued strings and U&'…' UESCAPE keep their line breaks: strings stay whole. */
function rewrite(sql: string, between: string, fold: (name: string) => string): string {
  let out = "";
  let before = 0;
  for (const { kind, start, end } of tokenize(sql)) {
    // A line comment needs the line break that ends it; white space in the text becomes what is asked for.
    out += start > before ? between : "";
    const token = sql.slice(start, end);
    out += kind === "name" ? fold(token) : kind === "comment" ? between : token;
    before = end;
  }
  return out + sql.slice(before);
}

const upper = (name: string): string => name.replaceAll(/[a-z]/g, (letter) => letter.toUpperCase());
const lower = (name: string): string => name.replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase());

describe("the same text in other clothes", () => {
  const variants: readonly [string, string, (name: string) => string][] = [
    ["comments", "/* ' \" $$ /* ; */ */", (name) => name],
    ["line comments", " -- ' \" $$ ; drop table x\n", (name) => name],
    ["tabs and line feeds in capitals", "\t\r\n\f ", upper],
    ["small letters", " ", lower],
  ];
  it.each(variants)("%s", (_name, between, fold) => {
    for (const { sql, expected, serverMajor } of allCases) {
      if (expected.some((fact) => fact.startsWith("refused"))) continue;
      // libpg-query does not look past a comment for UESCAPE: such a text is refused.
      if (/UESCAPE/i.test(sql) && between.trim() !== "") continue;
      expect({ sql, facts: written(analyse(rewrite(sql, between, fold), serverMajor)) }).toEqual({ sql, facts: expected });
    }
  });
});
